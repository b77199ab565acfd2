"""What a comparison leaves behind: a picture, a record, and its trajectories as a moving
picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.images import picture as to_picture
from diffdescent.base.images import png_bytes
from diffdescent.run.json_files import json_text
from diffdescent.run.schema import encode

from .comparing import Comparison, LaneRun

SIDE = 256
"""Lanes are enlarged, pixel by pixel, to at least this many pixels."""
MILLISECONDS = 120
"""Of one frame of a moving picture; the last one stands for ten times as long."""


def picture(comparison: Comparison) -> bytes:
    """The final images of all lanes side by side, their recipes above them, as PNG."""
    return png_bytes(_titled(comparison, [lane.frames[-1] for lane in _shown(comparison)]))


def film(comparison: Comparison) -> bytes:
    """The trajectories of all lanes side by side as GIF; a lane of fewer evaluations takes the
    same time for each share of its way."""
    lanes = _shown(comparison)
    count = max(len(lane.frames) for lane in lanes)
    pages = [
        to_picture(_titled(comparison, [frame_at(lane, k / max(1, count - 1)) for lane in lanes]))
        for k in range(count)
    ]
    buffer = io.BytesIO()
    times = [MILLISECONDS] * (count - 1) + [10 * MILLISECONDS]
    pages[0].save(
        buffer, "GIF", save_all=True, append_images=pages[1:], duration=times, loop=0, optimize=True
    )
    return buffer.getvalue()


def frame_at(lane: LaneRun, share: float) -> Tensor:
    """The frame at a share of the way, from 0 to 1."""
    return lane.frames[round(share * (len(lane.frames) - 1))]


def record(comparison: Comparison) -> str:
    """The state, and of every lane the record of its run, its cost and its distance, as JSON."""
    state = comparison.setting.state
    lanes: list[dict[str, Any]] = []
    for lane in comparison.lanes:
        found: dict[str, Any] = {"record": lane.run.record().entries(), "seconds": lane.seconds}
        if lane.distance is not None:
            found["distance"] = {"rmse": lane.distance.value, "error": lane.distance.error}
        lanes.append({**found, **({"problem": lane.problem} if lane.problem else {})})
    return json_text({"studio": encode(state), "address": f"?{state.query()}", "lanes": lanes})


def _shown(comparison: Comparison) -> list[LaneRun]:
    return [lane for lane in comparison.lanes if lane.frames]


def _titled(comparison: Comparison, frames: list[Tensor]) -> Tensor:
    """Frames in a row, enlarged, each under the text of its recipe; (3, H, W) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    scale = max(1, -(-SIDE // max(max(frame.shape[1:]) for frame in frames)))
    large = [
        frame.expand(3, -1, -1).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        for frame in frames
    ]
    height, width = (max(frame.shape[i] for frame in large) for i in (1, 2))
    head, gap = 36, 8
    canvas = Image.new("RGB", (len(large) * (width + gap) + gap, height + head + gap), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for i, (lane, frame) in enumerate(zip(_shown(comparison), large, strict=True)):
        left = gap + i * (width + gap)
        title = f"{_broken(lane.run.asked, width // 6)}\n{lane.nfe} evaluations"
        pen.text((left, 3), title, fill="black", font=font)
        canvas.paste(to_picture(frame), (left, head))
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def _broken(text: str, width: int) -> str:
    """A title in one line, shortened to ``width`` characters."""
    text = text.replace(" | ", "|")
    return text if len(text) <= width else text[: width - 1] + "…"
