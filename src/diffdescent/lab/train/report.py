"""What a run says: a live bar on a terminal or plain lines in a file, ``log.jsonl`` next to the
checkpoint, TensorBoard when asked."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically

from .config import TrainConfig


class Report:
    """Takes a line every few steps; a resumed run first cuts the log back to the step that it
    resumes from."""

    def __init__(self, config: TrainConfig, step: int, *, show: bool, write: bool) -> None:
        self.config, self.show, self.write = config, show, write
        self.path = Path(config.out) / "log.jsonl"
        self.last_loss = float("nan")
        self._board: Any = _tensorboard(config) if write and config.run.tensorboard else None
        self._bar: Any = None
        self._task: Any = None
        self._start = step
        self._measured: set[int] = set()
        if write:
            self._cut_back(step)

    def __enter__(self) -> Report:
        if self.show:
            from rich.console import Console

            console = Console(markup=False, emoji=False)
            if console.is_terminal:
                from rich.progress import (
                    BarColumn,
                    Progress,
                    TextColumn,
                    TimeElapsedColumn,
                    TimeRemainingColumn,
                )

                columns = (
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TimeElapsedColumn(),
                    TextColumn("left"),
                    TimeRemainingColumn(),
                )
                self._bar = Progress(*columns, console=console)
                self._bar.start()
                self._task = self._bar.add_task(
                    "starting", total=self.config.run.steps, completed=self._start
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        if kind is None and self.write:
            self._rewrite(self._entries())

    def line(
        self, step: int, loss: float, norm: float, lr: float, seconds: float, steps: int
    ) -> None:
        """The mean loss and gradient norm over the last ``steps`` steps, which took ``seconds``."""
        self.last_loss = loss
        batch = self.config.run.batch
        speed = steps * batch / max(seconds, 1e-9)
        left = (self.config.run.steps - step) * batch / speed
        values = {
            "loss": round(loss, 6),
            "grad_norm": round(norm, 5),
            "lr": lr,
            "images_per_s": round(speed, 2),
        }
        self._record(step, values)
        text = f"step {step}/{self.config.run.steps}  loss {loss:.4f}  {speed:.1f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif self.show:
            print(
                f"{text}  left"
                f" {int(left // 3600)}:{int(left % 3600 // 60):02d}:{int(left % 60):02d}",
                flush=True,
            )

    def has_figures(self, step: int) -> bool:
        """Whether the figures of this step are in the log."""
        return step in self._measured

    def figures(self, step: int, values: dict[str, float]) -> None:
        """Measured figures such as accuracies."""
        self._measured.add(step)
        self._record(step, values)
        text = f"step {step}  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        if self._bar is not None:
            self._bar.console.print(text)
        elif self.show:
            print(text, flush=True)

    def picture(self, step: int, sheet: torch.Tensor) -> None:
        """A sample sheet, uint8 (C, H, W)."""
        if self._board is not None:
            self._board.add_image("samples", sheet, step)

    def _record(self, step: int, values: dict[str, float]) -> None:
        if not self.write:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"step": step, "images": step * self.config.run.batch, **values}) + "\n"
            )
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def _cut_back(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [entry for entry in self._entries() if entry["step"] <= step]
        losses = [entry["loss"] for entry in kept if isinstance(entry.get("loss"), float)]
        self.last_loss = losses[-1] if losses else self.last_loss
        self._measured |= {entry["step"] for entry in kept if "loss" not in entry}
        self._rewrite(kept)

    def _entries(self) -> list[dict[str, Any]]:
        """The lines of the log in order, each once: another process may have run the same training
        at the same time."""
        if not self.path.exists():
            return []
        texts = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        entries = [entry for entry in map(_entry, texts) if entry is not None]
        once = {(entry["step"], "loss" not in entry): entry for entry in reversed(entries)}
        return [once[key] for key in sorted(once)]

    def _rewrite(self, entries: list[dict[str, Any]]) -> None:
        write_atomically(self.path, "".join(json.dumps(e) + "\n" for e in entries).encode())


def _entry(text: str) -> dict[str, Any] | None:
    """A line of the log; None for one that a killed run left half written."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(found, dict) and isinstance(found.get("step"), int)
    return found if whole else None


def _tensorboard(config: TrainConfig) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "run.tensorboard is on but TensorBoard is not installed; pip install tensorboard, or"
            " turn it off."
        ) from error
    return SummaryWriter(str(Path(config.out) / "tensorboard"))
