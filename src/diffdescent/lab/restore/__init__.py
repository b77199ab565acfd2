"""Images restored from measurements by several methods, scored and drawn side by side."""

from .config import Cell, RestoreConfig, read_config
from .pictures import draw_all
from .table import Row, rows, write_table
from .work import Samples, Work

__all__ = [
    "Cell",
    "RestoreConfig",
    "Row",
    "Samples",
    "Work",
    "draw_all",
    "read_config",
    "rows",
    "write_table",
]
