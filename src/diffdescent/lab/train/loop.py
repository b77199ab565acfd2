"""The training loop: every step is a function of (seed, step), and a checkpoint holds everything
else.

Runs alone or under ``accelerate launch``; P processes split each batch and reach what one process
reaches, up to rounding.
"""

from __future__ import annotations

import math
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder
from diffdescent.base.image_sets import ImageSet, read_images
from diffdescent.base.images import save_png
from diffdescent.base.whole import is_whole

from .batches import Batch, Batches
from .checkpoint import check_same_run, load_checkpoint, save_checkpoint, training_store
from .compiled import compiled
from .config import TrainConfig
from .ema import EMA
from .export import export_model, model_folder
from .networks import build_network, null_class, plain_attention
from .objectives import build_objective
from .optimizer import build_optimizer, rate, set_rate
from .preview import accuracy, sample_sheet
from .report import Report

_GLANCE = 2000  # test images for an accuracy on the way; the last one is over all of them


@dataclass(frozen=True)
class Result:
    """A finished run: where the model folder is, how many steps it took and the mean loss over the
    last logged stretch."""

    folder: Path
    steps: int
    loss: float


def train(
    config: TrainConfig, *, half: bool = False, quiet: bool = False, seconds: float | None = None
) -> Result:
    """Train, or go on training, the network of a recipe.

    The run lives in ``config.out``: ``training.json``, its settings, claimed before anything else
    is written; ``checkpoint.pt``, from which it goes on; ``log.jsonl``, ``samples/`` and, at the
    end, ``model/`` with the averaged weights.

    Args:
        config: of the run, by :func:`load_config`.
        half: whether the exported weights are float16.
        quiet: whether nothing is printed.
        seconds: stop, with a checkpoint, at the first line of the log after so long; the same call
            goes on from there. None trains to the end.

    Returns:
        A :class:`Result`: the model's folder and the last loss.

    Raises:
        UserError: bad data, a folder that holds another run or other files, a full disk, or a loss
            that is not finite.
    """
    from accelerate import Accelerator

    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    # Mixed precision is ours (autocast below), the same on CPU and GPU and whatever `accelerate
    # config` says.
    accelerator = Accelerator(cpu=config.run.device == "cpu", mixed_precision="no")
    if config.run.batch % accelerator.num_processes:
        raise UserError(
            f"run.batch is {config.run.batch}, which {accelerator.num_processes} processes cannot"
            " share equally; make it a multiple."
        )
    images = read_images(config.data.path, skip_bad=config.data.skip_bad, size=config.data.size)
    if seconds is not None and not seconds > 0:
        raise UserError(f"Training for {seconds:g} seconds makes no step; give a positive number.")
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    run = _Run(config, accelerator, images, quiet)
    with run.report, run.ahead:
        run.go(deadline)
    folder = model_folder(config)
    if accelerator.is_main_process:
        export_model(run.network, run.ema.state, config, images, run.step, half)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return Result(folder, run.step, run.report.last_loss)


class _Run:
    def __init__(
        self, config: TrainConfig, accelerator: Any, images: ImageSet, quiet: bool
    ) -> None:
        self.config, self.accelerator, self.images = config, accelerator, images
        self.main: bool = accelerator.is_main_process
        self.null = null_class(config, images) if config.task == "denoiser" else None
        self.test = _read_test(config)
        check = zlib.crc32(images.images.numpy().data)
        if images.labels is not None:
            check = zlib.crc32(images.labels.numpy().data, check)
        self.data_id = f"{tuple(images.images.shape)} crc {check:08x}"
        torch.manual_seed(config.run.seed)
        layout = torch.channels_last if config.run.channels_last else torch.contiguous_format
        self.network: nn.Module = build_network(config, images)
        self.network.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        if accelerator.device.type == "cpu":
            plain_attention(self.network)
        self.ema = EMA(self.network, config.optimizer.ema)
        self.optimizer = build_optimizer(self.network, config.optimizer)
        self.step = 0
        self.path = Path(config.out) / "checkpoint.pt"
        if self.path.exists():
            self._resume()
        self.objective = build_objective(config, self.null)
        rank, world = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(images, config.data, config.run.batch, config.run.seed, rank, world)
        self.runner: nn.Module = accelerator.prepare_model(self._runner())
        if self.main:
            training_store(config, self.data_id).claim()
            make_folder(Path(config.out) / "samples")
        # One thread makes the next batch while the network works on this one; a batch depends on
        # its step alone.
        self.ahead = ThreadPoolExecutor(1)
        self.next_batch: Future[Batch] = self.ahead.submit(self.batches.at, self.step)
        self.report = Report(config, self.step, show=self.main and not quiet, write=self.main)

    def _runner(self) -> nn.Module:
        """The network as it is run: itself, or compiled."""
        if not self.config.run.compile:
            return self.network
        batch = self._placed(self.batches.at(0))
        self.network.train()
        return compiled(self.network, lambda network: self._loss(network, batch))

    def _resume(self) -> None:
        state = load_checkpoint(self.path)
        check_same_run(self.path, state["config"], self.config)
        if state["data"] != self.data_id:
            raise UserError(
                f"The checkpoint {self.path} was trained on other images ({state['data']}, now"
                f" {self.data_id}); restore data.path, choose another out:, or start from its"
                " weights with init_from:."
            )
        self.network.load_state_dict(state["model"])
        for name, value in self.ema.state.items():
            value.copy_(state["ema"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])

    def go(self, deadline: float = math.inf) -> None:
        """Steps until ``run.steps`` or the ``deadline`` (of the monotonic clock); logging, drawing
        and saving on the way."""
        config, run = self.config, self.config.run
        if self.main and self.step:
            self._look(resumed=True)
        self.runner.train()
        # Losses and gradient norms since the last look stay on the device: no synchronisation in
        # between.
        sums = torch.zeros(2, device=self.accelerator.device)
        started, counted = time.perf_counter(), self.step
        late = False
        while self.step < run.steps and not late:
            sums += self._update()
            self.step += 1
            if self._due(run.log_every) or self._due(run.checkpoint_every):
                late = self._any(time.monotonic() > deadline)
                loss, norm = (
                    self.accelerator.reduce(sums, "mean") / (self.step - counted)
                ).tolist()
                if not math.isfinite(loss + norm):
                    raise UserError(self._diverged(counted))
                lr = rate(config.optimizer, self.step - 1, run.steps)
                self.report.line(
                    self.step, loss, norm, lr, time.perf_counter() - started, self.step - counted
                )
                sums.zero_()
                started, counted = time.perf_counter(), self.step
            paused = time.perf_counter()
            if self.main:
                if late or self._due(run.checkpoint_every):
                    self._save()
                self._look()
            # Saving and looking do not count in the throughput.
            started += time.perf_counter() - paused

    def _any(self, here: bool) -> bool:
        """Whether ``here`` holds in any of the processes, which must all stop at one step."""
        flag = torch.tensor(float(here), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    def _due(self, every: int) -> bool:
        """Whether something that happens every ``every`` steps, and at the end, happens now; never
        for 0."""
        return every > 0 and (self.step == self.config.run.steps or self.step % every == 0)

    def _update(self) -> torch.Tensor:
        config = self.config
        batch = self._placed(self.next_batch.result())
        self.next_batch = self.ahead.submit(self.batches.at, self.step + 1)
        # Layers that draw random numbers themselves (dropout) must draw the same ones after a
        # resume.
        torch.manual_seed(
            zlib.crc32(f"{config.run.seed} {self.step} {self.accelerator.process_index}".encode())
        )
        set_rate(self.optimizer, rate(config.optimizer, self.step, config.run.steps))
        loss = self._loss(self.runner, batch)
        self.accelerator.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.network, self.step + 1)
        return torch.stack([loss.detach(), norm.detach()])

    def _loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        bf16 = self.config.run.precision == "bf16"
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
            return self.objective(network, batch)

    def _placed(self, batch: Batch) -> Batch:
        """The batch on the device, its images in the network's memory layout."""
        device = self.accelerator.device
        layout = torch.channels_last if self.config.run.channels_last else torch.preserve_format
        labels = None if batch.labels is None else batch.labels.to(device)
        x, noise = (v.to(device, memory_format=layout) for v in (batch.x, batch.noise))
        return Batch(x, labels, batch.u, batch.drop, noise)

    def _diverged(self, since: int) -> str:
        kept = (
            f"the last good checkpoint is {self.path}"
            if self.path.exists()
            else "no checkpoint was written yet"
        )
        return (
            f"The loss or its gradient stopped being finite between steps {since} and {self.step};"
            f" {kept}: lower optimizer.lr or optimizer.clip, or use run.precision=fp32, and train"
            " with another out: (init_from: begins with a checkpoint's weights)."
        )

    def _save(self) -> None:
        save_checkpoint(
            self.path,
            {
                "config": self.config.model_dump_json(),
                "data": self.data_id,
                "step": self.step,
                "model": self.network.state_dict(),
                "ema": self.ema.state,
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def _look(self, resumed: bool = False) -> None:
        """Pictures and accuracies of the averaged weights, where they are due.

        Those of the checkpoint that was ``resumed`` from are made up for where a kill came after
        it and before them.
        """
        run, config = self.config.run, self.config
        picture = Path(config.out) / "samples" / f"{self.step:07d}.png"
        draw = config.task == "denoiser" and self._due(run.picture_every)
        measure = self.test is not None and self._due(run.evaluate_every)
        if resumed:
            draw = draw and not (is_whole(picture) and _newer(picture, self.path))
            measure = measure and not self.report.has_figures(self.step)
        if not (draw or measure):
            return
        live = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema.state)
        self.network.eval()
        if draw:
            sheet = sample_sheet(self.network, config, self.images.shape, self.null)
            save_png(sheet, picture)
            self.report.picture(self.step, sheet)
        if measure and self.test is not None:
            most = None if self.step == run.steps else _GLANCE
            self.report.figures(self.step, accuracy(self.network, config, self.test, most))
        self.network.train()
        self.network.load_state_dict(live)


def _newer(path: Path, than: Path) -> bool:
    return path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _read_test(config: TrainConfig) -> ImageSet | None:
    if config.data.test is None:
        return None
    test = read_images(config.data.test, skip_bad=config.data.skip_bad, size=config.data.size)
    if test.labels is None:
        raise UserError(
            f"The test images {config.data.test} have no labels; sort them into class folders, or"
            " leave data.test out."
        )
    return test
