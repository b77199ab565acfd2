"""What a person sees of a run: a result that shows and saves itself, bars, previews."""

from __future__ import annotations

import dataclasses
import io
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

import diffdescent as dd
from diffdescent.base import bars
from diffdescent.base.images import read_image, to_uint8
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import display

VP = dd.VP.named("linear")
FEW: dict[str, Any] = {"recipe": "ddim", "steps": 3, "seed": 5}


def gaussian(channels: int = 3) -> Gaussian:
    torch.manual_seed(1)
    return Gaussian(torch.randn(channels, 8, 8) * 0.8, 0.3, VP, name="small")


def labelled() -> dd.Network:
    return dd.Network(lambda x, t, cond: x, VP, shape=(3, 8, 8), name="labelled", label_count=3)


@pytest.fixture(scope="module")
def result() -> dd.Result:
    return dd.sample(gaussian(), **FEW, n=5, trajectory=True)


def test_images_in_other_forms(result: dd.Result) -> None:
    assert result.images.abs().max() > 1, "nothing clamps what the sampler gives"
    assert torch.equal(result.clamped, result.images.clamp(-1, 1))
    bytes_ = result.to_uint8()
    assert bytes_.dtype == torch.uint8
    assert torch.equal(bytes_, to_uint8(result.clamped))
    pictures = result.to_pil()
    assert [p.size for p in pictures] == [(8, 8)] * 5
    assert np.array_equal(np.asarray(pictures[2]), bytes_[2].permute(1, 2, 0).numpy())


def test_small_images_are_enlarged_on_a_sheet(result: dd.Result) -> None:
    # 8 pixels become 128, and the pixel in the corner 16 × 16.
    page = np.asarray(result.sheet(columns=5))
    assert page.shape == (128 + 4, 5 * 130 + 2, 3)
    corner = page[2:18, 2:18].reshape(-1, 3)
    assert (corner == result.to_uint8()[0, :, 0, 0].numpy()).all()
    assert np.asarray(result.sheet(columns=5, scale=1)).shape == (12, 52, 3)
    strip = result.show_trajectory(frames=2, scale=1)
    assert strip.size == (2 * 10 + 2, 5 * 10 + 2)
    last = np.asarray(strip)[2:10, 12:20]
    assert result.trajectory is not None
    assert np.array_equal(last, to_uint8(result.trajectory[-1, 0]).permute(1, 2, 0).numpy())


def test_a_saved_result_is_a_run_that_can_be_repeated(result: dd.Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    assert names == {*(f"{i:06d}.png" for i in range(5)), "sheet.png", "trajectory.png", "run.json"}
    assert torch.equal(read_image(folder / "000003.png"), result.to_uint8()[3])
    again = dd.repeat(folder, gaussian())
    assert torch.equal(again.images, result.images)
    result.save(folder)  # the same run: nothing to refuse
    other = dd.sample(gaussian(), **{**FEW, "seed": 6}, n=5)
    with pytest.raises(dd.UserError, match="seed"):
        other.save(folder)
    other.save(folder, overwrite=True)
    assert torch.equal(read_image(folder / "000003.png"), other.to_uint8()[3])


def test_guidance_costs_what_it_says() -> None:
    guided = dd.sample(labelled(), **FEW, n=2, labels=1, guidance="cfg(scale=2)")
    assert (guided.plan.nfe, guided.nfe) == (3, 6)
    assert "under cfg(scale=2.0) on uniform(spacing=trailing), 6 evaluations" in repr(guided)
    assert dd.sample(labelled(), **FEW, n=2, labels=1).nfe == 3


def test_a_notebook_shows_the_sheet(result: dd.Result) -> None:
    png = result._repr_png_()
    assert png is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(result.sheet()))
    page = result._repr_html_()
    assert "data:image/png;base64," in page
    assert "ddim on uniform(spacing=trailing), 3 evaluations, seed 5" in page


def test_what_is_not_a_picture_is_said_in_words(tmp_path: Path) -> None:
    latents = dd.sample(gaussian(4), **FEW, n=1)
    assert latents._repr_png_() is None
    assert "1 image of (4, 8, 8)" in latents._repr_html_()
    with pytest.raises(dd.UserError, match="1 or 3 channels"):
        latents.save(tmp_path / "latents")
    assert not (tmp_path / "latents").exists()
    with pytest.raises(dd.UserError, match="trajectory=True"):
        latents.show_trajectory()


def test_every_public_object_is_a_line() -> None:
    from diffdescent.guidance import apply_guidance

    model = gaussian()
    result = dd.sample(model, "ge | momentum", steps=3, n=2, trajectory=True)
    network = dd.Network(lambda x, t, cond: x, VP, shape=(3, 8, 8), name="mine")
    guided, _ = apply_guidance("cfg(scale=2)", labelled(), dd.sampler("ddim"))
    things = {
        "VP": VP, "Flow": dd.Flow(), "VE": dd.VE(), "VPContinuous": dd.VPContinuous(),
        "Grid": result.plan.grid, "Gaussian": model, "Network": network,
        "EDM": dd.EDM(lambda x, t, cond: x, dd.VE(), name="edm"),
        "Recipe": dd.sampler("ge | momentum(-0.3)"), "Plan": result.plan, "Result": result,
        "Weights": dd.effective_weights("ge", steps=5), "DDIM": dd.sampler("ddim").solver,
        "RunRecord": result.record, "ClassifierFree": guided,
    }  # fmt: skip
    for name, thing in things.items():
        assert repr(thing).startswith(f"{name}("), repr(thing)
        assert len(repr(thing)) <= 160, repr(thing)
        assert "\n" not in repr(thing)
        assert " object at " not in repr(thing)
    assert repr(VP) == "VP(1000 trained steps, betas 0.0001 … 0.02)"
    assert "1 evaluation," not in repr(result)
    assert "'mine', eps, (3, 8, 8), VP(" in repr(network)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _seen(monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """What a terminal shows while a run of 40 steps is made."""
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        bars,
        "Console",
        lambda **options: Console(
            file=stream, force_terminal=True, width=80, color_system="truecolor"
        ),
    )
    dd.sample(gaussian(), "ddim", steps=40, n=2, **options)
    return stream.getvalue()


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "PATIENCE", 0.0)
    assert "40/40 evaluations" in _seen(monkeypatch)
    assert _seen(monkeypatch, progress=False) == ""
    monkeypatch.setattr(display, "PATIENCE", 1000.0)
    assert _seen(monkeypatch) == "", "a short run shows nothing"
    assert "40/40 evaluations" in _seen(monkeypatch, progress=True)


def test_time_left_is_shown_only_where_it_is_known() -> None:
    for total, said in ((None, False), (10, True)):
        shown = bars.progress("evaluations", hidden=False)
        task = shown.add_task("x", total=total, rate="")
        for count in (1, 2):
            time.sleep(0.01)
            shown.update(task, completed=count)
        console = Console(file=io.StringIO(), width=200)
        console.print(shown.make_tasks_table(shown.tasks))
        assert (" left" in console.file.getvalue()) is said  # type: ignore[attr-defined]


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    dd.sample(gaussian(), **FEW)
    assert capsys.readouterr().err == ""


def test_a_preview_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _seen(monkeypatch, preview=True)
    final = dd.sample(gaussian(), "ddim", steps=40, n=2, trajectory=True)
    assert final.trajectory is not None
    red, green, blue = to_uint8(final.trajectory[-1, 0])[:, 0, 0].tolist()
    assert f"38;2;{red};{green};{blue}" in shown, "the colour of the first pixel of the last x0"


def test_progress_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dd.sample(gaussian(), **FEW, n=3).images
    steps: list[int] = []
    seen = dd.sample(
        gaussian(), **FEW, n=3, progress=True, callback=lambda at: steps.append(at.index)
    )
    assert torch.equal(plain, seen.images)
    assert steps == [0, 1, 2]


def test_a_bar_and_previews_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []

    class Handle:
        def update(self, page: str) -> None:
            pages.append(page)

    def show(page: str, display_id: bool) -> Handle:
        pages.append(page)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(
        sys.modules,
        "IPython",
        types.SimpleNamespace(get_ipython=lambda: shell),  # type: ignore[arg-type]
    )
    monkeypatch.setitem(
        sys.modules,
        "IPython.display",
        types.SimpleNamespace(HTML=str, display=show),  # type: ignore[arg-type]
    )
    monkeypatch.setattr(display, "EVERY", 0.0)
    dd.sample(gaussian(), **FEW, n=2, preview=True)
    assert len(pages) == 4
    assert "<progress value='1' max='3'>" in pages[0]
    assert all("data:image/png" in page for page in pages[:3])
    assert pages[-1] == "", "at the end the bar is gone"


def test_without_rich_and_tqdm_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich.console", "tqdm", "diffdescent.base.bars", "diffdescent.run.preview"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    assert dd.sample(gaussian(), **FEW).images.shape == (1, 3, 8, 8)
    with pytest.raises(dd.UserError, match="needs Rich or tqdm"):
        dd.sample(gaussian(), **FEW, progress=True)


def test_tqdm_is_taken_where_rich_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    for name in ("diffdescent.base.bars", "diffdescent.run.preview"):
        monkeypatch.setitem(sys.modules, name, None)
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    dd.sample(gaussian(), "ddim", steps=40, progress=True)
    assert "sampling" in stream.getvalue()
    assert "/40" in stream.getvalue()


def test_texts_where_objects_are_taken() -> None:
    assert repr(dd.sampler("ddim", eta=1)) == "Recipe('ddim(eta=1.0)')"
    assert str(dd.sampler("ge", gamma=1.5)) == "ddim | ge(gamma=1.5)"
    assert dd.sampler("ddim") | "ge | momentum(-0.2)" == dd.sampler("ddim | ge | momentum(-0.2)")
    for wrong, words in (
        (lambda: dd.sampler("ddim", etta=1), "did you mean 'eta'"),
        (lambda: dd.sampler("ddim", eta=-3), "'eta'"),
        (lambda: dd.sampler("ddim") | "unipc", "a solver comes first"),
        (lambda: dd.sampler("ddim") | "momentun", "did you mean 'momentum'"),
    ):
        with pytest.raises(dd.UserError, match=words):
            wrong()


def test_a_network_of_diffusers_is_a_model() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(32, 32), layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    bare = dd.sample(unet, **FEW, n=2)
    mine = dd.Network(lambda x, t, cond: unet(x, t).sample, process=VP, kind="eps", shape=(3, 8, 8))
    assert torch.equal(bare.images, dd.sample(mine, **FEW, n=2).images)
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    piped = dd.sample(diffusers.DDPMPipeline(unet, scheduler), **FEW, n=2)
    mine = dd.Network(
        lambda x, t, cond: unet(x, t).sample, dd.VP.named("cosine"), kind="v", shape=(3, 8, 8)
    )
    assert torch.equal(piped.images, dd.sample(mine, **FEW, n=2).images)


def test_what_else_is_given_as_a_model() -> None:
    for thing in (torch.nn.Conv2d(3, 3, 1), lambda x, t: x):
        with pytest.raises(dd.UserError, match=r"wrap it: dd\.Network\(lambda x, t, cond"):
            dd.sample(thing)
    with pytest.raises(dd.UserError, match="is not a model"):
        dd.sample(Tensor([5.0]).item())  # type: ignore[arg-type]


def test_grids_plans_and_weights_draw_themselves() -> None:
    recipe = dd.sampler("heun")
    grid = dd.grid("karras", VP, 5)
    plan = recipe.plan(grid)
    page = grid._repr_html_()
    assert page.count("<tr>") == 1 + 6
    for level in grid.points:
        assert f">{level.ratio:.5g}</td>" in page
    # The end σ = 0 has no place on a logarithmic axis.
    assert page.count("<circle") == 5
    assert plan._repr_html_().count("<tr>") == 1 + sum(len(row.outputs) for row in plan.rows)
    weights = dd.effective_weights("ge", grid)
    drawn = weights._repr_html_()
    assert drawn.count("<tr>") == 1 + 5
    largest = float(np.abs(weights.evals).max())
    place = np.unravel_index(np.abs(weights.evals).argmax(), weights.evals.shape)
    assert drawn.count(",0.75)'") == int((np.abs(weights.evals) == largest).sum())
    assert f",0.75)'>{weights.evals[place]:.4f}</td>" in drawn
    noisy = dd.effective_weights("ddpm", grid)
    assert "noise" in noisy._repr_html_()


def test_names_from_outside_are_not_markup() -> None:
    grid = dataclasses.replace(dd.grid("karras", VP, 3), name="<script>", notes=("a <b> note",))
    page = grid._repr_html_()
    assert "<script>" not in page
    assert "a &lt;b&gt; note" in page


def test_a_folder_s_record_has_the_samples_of_all_calls(tmp_path: Path) -> None:
    """Those of an earlier call stay, with their labels."""
    model, out = labelled(), tmp_path / "out"
    first = dd.sample(model, **FEW, samples=range(3), labels=[0, 1, 2], micro_batch=2)
    more = dd.sample(model, **FEW, samples=[5, 2], labels=[1, 0], micro_batch=2)
    first.save(out)
    more.save(out)
    record = dd.RunRecord.read(out)
    assert (record.samples, record.labels) == ((0, 1, 2, 5), (0, 1, 0, 1))
    again = dd.repeat(out, model).images
    assert torch.equal(again, torch.cat([first.images[:2], more.images[[1, 0]]]))
    with pytest.raises(dd.UserError, match="holds images with labels, and these are without"):
        dd.sample(model, **FEW, samples=[8, 9]).save(out)
    more.save(out, overwrite=True)
    assert dd.RunRecord.read(out).samples == (5, 2)
