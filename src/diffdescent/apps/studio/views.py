"""What the page shows, as HTML: everything that a visitor wrote is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from torch import Tensor

from diffdescent.base.images import png_bytes

from .comparing import Comparison, LaneRun
from .reading import Read, admissible, levels, table
from .restoration import RestorationRun
from .state import Reading
from .sweeping import SweepRun


def data_address(data: bytes, kind: str = "image/png") -> str:
    """Bytes as an address that needs no server."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(frame: Tensor, text: str = "", more: str = "") -> str:
    """One sheet of images, whose pixels stay sharp."""
    source = data_address(png_bytes(frame))
    return f'<img class="dd-pixels" src="{source}" alt="{escape(text, quote=True)}" {more}>'


def figure(data: bytes, text: str) -> str:
    """A figure as wide as there is room; where that is too narrow to read it, it scrolls."""
    shown = f'<img class="dd-figure" src="{data_address(data)}" alt="{escape(text, quote=True)}">'
    return f'<div class="dd-wide">{shown}</div>'


def mistake(sentence: str | None) -> str:
    """A sentence in red, or nothing."""
    return "" if not sentence else f'<p class="dd-mistake" role="alert">{escape(sentence)}</p>'


def note(sentence: str) -> str:
    """A sentence about what is going on."""
    return f'<p class="dd-note" role="status">{escape(sentence)}</p>' if sentence else ""


def lane(found: LaneRun) -> str:
    """A lane as it stands: its newest preview, and once it is finished all frames, of which one is
    shown."""
    text = found.run.asked
    if found.problem is not None:
        return f'<figure class="dd-lane">{mistake(found.problem)}</figure>'
    if found.newest is None:
        return '<figure class="dd-lane"><div class="dd-empty"></div></figure>'
    if found.images is None:
        caption = f"evaluation {found.done} of {found.nfe}"
        shown = image(found.newest, f"{text}, {caption}", 'data-live="1"')
        return f'<figure class="dd-lane">{shown}<figcaption>{caption}</figcaption></figure>'
    last = len(found.frames) - 1
    frames = []
    for i, (frame, at) in enumerate(zip(found.frames, found.frame_at, strict=True)):
        where = f"{found.nfe} evaluations" if i == last else f"x̂0 after {at} of {found.nfe}"
        hidden = "" if i == last else "hidden"
        more = f'data-frame="{i}" data-where="{where}" {hidden}'
        frames.append(image(frame, f"{text}, {where}", more))
    where = f'<span class="dd-where">{found.nfe} evaluations</span>'
    caption = f"{where} · {found.seconds:.2f} s<br>{escape(distance(found))}"
    return (
        f'<figure class="dd-lane" data-done="1">{"".join(frames)}'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def distance(found: LaneRun) -> str:
    """The distance to the converged solution, in words; of a sampler that draws noise it says
    little."""
    if found.distance is None:
        return ""
    text = f"RMSE {found.distance.value:.4f} ± {found.distance.error:.4f} to the converged solution"
    return f"{text} (it draws noise, and ends elsewhere)" if found.run.plan.stochastic else text


def running(comparison: Comparison) -> str:
    """How far a comparison is."""
    done = sum(lane.done for lane in comparison.lanes)
    total = sum(lane.nfe for lane in comparison.lanes)
    return note(comparison.note or f"evaluation {done} of {total}")


def reading(reads: Sequence[Read], model: Reading) -> str:
    """Everything that is read off the recipes: what they share, then each."""
    shared = [
        "<h3>Noise levels</h3>",
        note("A mark is an evaluation of the network, the circle is where the run ends."),
        figure(levels(reads), "Noise levels of the recipes on one axis"),
        "<h3>As optimization: u ← u − Δ + noise</h3>",
        note("The image is what is optimized, the denoiser gives the gradient."),
        _table(*table(reads)),
        "<h3>Effective weights</h3>",
        note(
            "How much each evaluation (column) counts in each state of the run (row): red adds its"
            " estimate, blue takes it away. The last row is the image."
        ),
    ]
    each = "".join(f"<section>{_one_reading(one, model)}</section>" for one in reads)
    return f'<div class="dd-reading">{"".join(shared)}<div class="dd-each">{each}</div></div>'


def _one_reading(one: Read, model: Reading) -> str:
    """Weights, order and admissible range of one recipe."""
    parts = [f"<h3>{escape(one.name)}</h3>"]
    if one.problem is not None:
        parts.append(mistake(one.problem))
    if one.found is not None and one.weights is not None:
        summary = escape(one.found.weights.summary).replace("\n", "<br>")
        parts.append(figure(one.weights, f"Effective weights of {one.name}"))
        parts.append(f"<p>{escape(one.order)}</p><p>{summary}</p>")
        parts.append(_steps(one))
    if one.bands is not None:
        parts.append(figure(one.bands, f"Weights of {one.name} over the frequency"))
    parts.append(f"<p>{escape(admissible(one, model))}</p>")
    return "".join(parts)


def _steps(one: Read) -> str:
    """The rows of a recipe, step by step."""
    assert one.found is not None
    head = ["step", "t", "σ/α", "β", "estimate", "noise/σ"]
    rows = [
        [
            f"{s.step}{chr(39) * s.inner}",
            f"{round(s.src.t, 6):g}",
            f"{s.src.ratio:.4g} → {s.dst.ratio:.4g}",
            f"{s.size:.4f}",
            s.estimate,
            f"{s.noise:.3f}" if s.noise else "0",
        ]
        for s in one.found.steps
    ]
    return f"<details><summary>Step by step</summary>{_table(head, rows)}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="dd-wide"><table class="dd-table"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def sweep(found: SweepRun) -> str:
    """The images of a sweep, a row for each y and a column for each x, with their distances."""
    names = found.setting.state.sweep
    head = "".join(f"<th>{escape(names.x)} = {escape(str(x))}</th>" for x in found.xs)
    rows = []
    for row, y in enumerate(found.ys):
        cells = []
        for column in range(len(found.xs)):
            place = row, column
            value = found.distances[place]
            known = f"<br>{value:.4f}" if value == value else ""
            tile, why = found.tiles.get(place), found.left_out.get(place)
            shown = "" if tile is None else image(tile, f"cell {row}, {column}")
            cells.append(f"<td>{shown}{known}{mistake(why)}</td>")
        rows.append(f"<tr><th>{escape(names.y)} = {escape(str(y))}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="dd-wide"><table class="dd-sweep"><tr><th></th>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def uploaded(picture: Tensor) -> str:
    """A picture as it will be used."""
    shown, title = image(picture, "the picture"), "the picture, cut to the model's size"
    return f'<div class="dd-row"><figure>{shown}<figcaption>{title}</figcaption></figure></div>'


def restoration(found: RestorationRun) -> str:
    """The picture, what was measured of it, the samples and their mean, side by side."""
    psnr = found.psnr
    shown = {
        "picture": found.truth,
        "measured": found.measured,
        f"samples, evaluation {found.done} of {found.run.plan.nfe}": found.preview,
        "mean" if psnr is None else f"mean, PSNR {psnr:.2f} dB": found.mean,
    }
    figures = [
        f"<figure>{image(frame, title)}<figcaption>{escape(title)}</figcaption></figure>"
        for title, frame in shown.items()
        if frame is not None
    ]
    return f'<div class="dd-row">{"".join(figures)}</div>'
