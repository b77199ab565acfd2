"""What studies need besides PyTorch: pydantic and PyYAML, with an error that says how to get
them."""

from diffdescent.base.errors import UserError

try:
    import yaml  # noqa: F401
    from pydantic import (
        BaseModel,
        ConfigDict,
        Field,
        ValidationError,
        field_validator,
        model_validator,
    )
except ImportError:
    raise UserError(
        "Studies need pydantic and PyYAML; install them with: pip install 'diffdescent[evaluate]'."
    ) from None

__all__ = [
    "BaseModel",
    "ConfigDict",
    "Field",
    "ValidationError",
    "field_validator",
    "model_validator",
]
