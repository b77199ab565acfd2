"""The record of a run: written, read back, refused in one sentence, enough to repeat the run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import diffdescent as dd
from diffdescent.base.images import read_image, save_png, to_uint8
from diffdescent.core.constraints import bound_set
from diffdescent.core.recipe import parse
from diffdescent.core.solvers.gamma import Gamma
from diffdescent.core.spectrum.power import power_law
from diffdescent.run import RunRecord, collect, prepare, repeat
from diffdescent.run.pieces import recipe_identity
from diffdescent.run.record import SCHEMA
from tests.end_to_end.cli.command import run as command
from tests.unit.run.test_sample import convolutional, gaussian

NUMBERS = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf, 5e-324])
LABELS = st.none() | st.integers() | st.lists(st.integers()).map(tuple)
TEXTS = st.none() | st.text()


def a_record() -> RunRecord:
    return dd.sample(gaussian(), "ge(gamma=1.7)", steps=3, n=2, seed=9).record


RECORD = a_record()


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(NUMBERS).map(tuple),
    samples=st.lists(st.integers(-3, 2**70)).map(tuple),
    labels=LABELS,
    label=TEXTS,
    guidance=TEXTS,
    strength=st.none() | NUMBERS,
    command=st.none() | st.lists(st.text()).map(tuple),
    versions=st.dictionaries(st.text(), st.text()),
)
def test_what_is_written_is_read_back(levels: tuple[float, ...], **entries: Any) -> None:
    assert RECORD.grid is not None
    record = replace(RECORD, grid=replace(RECORD.grid, t=levels), **entries)
    back = json.loads(record.text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert RunRecord.of_entries(back) == record


def test_a_file_and_the_folder_of_a_run(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run.json")
    assert RunRecord.read(tmp_path / "run.json") == RunRecord.read(tmp_path) == RECORD


MISTAKES = {
    "newer": ({"schema": SCHEMA + 1}, f"of version {SCHEMA + 1}, .* update diffdescent"),
    "older": ({"schema": None}, "without a version"),
    "version": ({"schema": "1"}, "make the run again"),
    "type": ({"seed": "0"}, 'seed must be a whole number, not "0"'),
    "bool": ({"seed": True}, "seed must be a whole number, not true"),
    "range": ({"samples": "3-"}, "Cannot read the sample range '3-'"),
    "nested": (
        {"grid": {**RECORD.entries()["grid"], "t": [0, "x"]}},
        r"grid: t\[1\] must be a num",
    ),
    "foreign": ({"colour": 1}, 'has an entry "colour", which is not known'),
    "choice": ({"blend": "during"}, "blend must be one of 'before', 'after', not \"during\""),
    "list": ({"shape": 3}, "shape must be a list, not 3"),
    "object": ({"versions": []}, r"versions must be a JSON object, not \[\]"),
    "large": ({"strength": 10**400}, "strength is too large"),
}


@pytest.mark.parametrize("case", sorted(MISTAKES))
def test_a_record_that_is_none_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    change, words = MISTAKES[case]
    (tmp_path / "run.json").write_text(json.dumps({**RECORD.entries(), **change}))
    with pytest.raises(dd.UserError, match=words) as caught:
        RunRecord.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert "run.json" in str(caught.value) or case == "range"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 5000, "\xff"])
def test_a_damaged_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(dd.UserError, match="is damaged"):
        RunRecord.read(tmp_path)
    with pytest.raises(dd.UserError, match="There is no record"):
        RunRecord.read(tmp_path / "none.json")


def test_an_entry_that_is_missing() -> None:
    entries = RECORD.entries()
    del entries["seed"]
    with pytest.raises(dd.UserError, match="lacks the entry 'seed'"):
        RunRecord.of_entries(entries)


IMAGE = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
MASK = (torch.arange(64).reshape(1, 8, 8) % 3 == 0).float()
RUNS: dict[str, dict[str, Any]] = {
    "plain": {"recipe": "ddim", "n": 3},
    "noise": {"recipe": "ddpm", "samples": [7, 2, 2], "noise": "brownian"},
    "default": {"n": 2},
    "float64": {"recipe": "unipc", "n": 2, "dtype": torch.float64, "micro_batch": 3},
    "init": {"recipe": "ge", "init": IMAGE, "strength": 0.5, "n": 2},
    "mask": {"recipe": "ddim | momentum(-0.3)", "init": IMAGE, "mask": MASK, "blend": "before"},
    "start": {"recipe": "dpmpp(order=2)", "start": IMAGE * 2},
}


@pytest.mark.parametrize("case", sorted(RUNS))
@pytest.mark.parametrize("network", [False, True])
def test_a_run_is_repeated_from_its_record(case: str, network: bool, tmp_path: Path) -> None:
    model = convolutional(8) if network else gaussian()
    first = dd.sample(model, steps=6, seed=4, batch_size=2, **RUNS[case])
    first.record.write(tmp_path / "run.json")
    images = {name: RUNS[case][name] for name in ("init", "mask", "start") if name in RUNS[case]}
    again = dd.repeat(tmp_path, model, **images)
    assert torch.equal(first.images, again.images)
    assert again.record == first.record


def test_what_is_not_of_the_record_is_refused() -> None:
    record = dd.sample(gaussian(), "ddim", steps=3, n=1, init=IMAGE).record
    for options, words in (
        ({"model": gaussian()}, "does not say where its init came from"),
        ({"model": gaussian(), "init": IMAGE / 2}, "images of init are not those of the record"),
        ({"model": gaussian(), "init": IMAGE, "mask": MASK}, "had no mask"),
        ({"init": IMAGE}, "cannot be loaded; give it with model="),
        ({"model": convolutional(8), "init": IMAGE}, "another fingerprint"),
    ):
        with pytest.raises(dd.UserError, match=words):
            repeat(record, **options)
    with pytest.raises(dd.UserError, match="another process"):
        repeat(replace(record, process=None), gaussian(), init=IMAGE)


def test_weights_that_cannot_be_compared_are_named_in_a_warning() -> None:
    def model(factor: float, **options: Any) -> dd.Network:
        process = dd.VP.named("linear")
        return dd.Network(lambda x, t, c: x * factor, process=process, shape=(1, 4, 4), **options)

    record = dd.sample(model(0.1), "ddim", steps=2, n=1).record
    with pytest.warns(UserWarning, match="weights were not compared"):
        repeat(record, model(0.2))
    known = dd.sample(model(0.1, fingerprint="a"), "ddim", steps=2, n=1).record
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repeat(known, model(0.1, fingerprint="a"))
    with pytest.raises(dd.UserError, match="another fingerprint"):
        repeat(known, model(0.2))


def test_a_command_is_repeated_from_its_folder(tmp_path: Path) -> None:
    """Guidance that looks at whole batches, labels by name, an image to start from: the record has
    it all."""
    save_png(torch.arange(3 * 32 * 32).reshape(3, 32, 32).to(torch.uint8), tmp_path / "a.png")
    out = tmp_path / "run"
    command(
        "sample", "cifar10-mixture", "--sampler", "ddpm", "--steps", 4, "--samples", "1-3,6",
        "--label", "dog,3", "--guidance", "cfg(scale=2) | pxp(scope=batch)", "--batch-size", 3,
        "--init", tmp_path / "a.png", "--strength", 0.7, "--out", out, "--quiet",
    )  # fmt: skip
    record = RunRecord.read(out)
    assert record.samples == (1, 2, 3, 6)
    assert record.batches == ((1, 2, 3), (6,))
    again = repeat(out)
    for sample, image in zip(record.samples, to_uint8(again.images), strict=True):
        assert torch.equal(image, read_image(out / f"{sample:06d}.png"))
    assert replace(again.record, command=record.command, seconds=record.seconds) == record


def test_a_run_whose_grid_had_another_name_is_repeated_and_continued(tmp_path: Path) -> None:
    asked = ["sample", "cifar10-mixture", "--sampler", "ge", "--steps", 3, "--out", tmp_path]
    command(*asked, "--n", 1, "--quiet")
    path = tmp_path / "run.json"
    entries = json.loads(path.read_text())
    assert entries["grid"]["name"] == "loglinear"
    entries["grid"]["name"] = "loglinear(halfway)"  # as it was written before
    path.write_text(json.dumps(entries))
    image = read_image(tmp_path / "000000.png")
    assert torch.equal(to_uint8(repeat(tmp_path).images)[0], image)
    assert "1 was there" in command(*asked, "--n", 2).stdout
    said = command(*asked, "--n", 2, "--grid", "loglinear(start=8)", code=2).stderr
    assert "in grid" in said


def test_a_folder_of_an_older_version_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"model": "cifar10-mixture", "seed": 0}))
    done = command("sample", "cifar10-mixture", "--steps", 2, "--n", 1, "--out", tmp_path, code=2)
    assert "a record without a version" in done.stderr


def test_a_prepared_run_is_what_sample_does() -> None:
    run = prepare(gaussian(), "ge", steps=4, n=5, batch_size=2)
    assert run.batches() == [(0, 1), (2, 3), (4,)]
    assert run.batches([4, 0, 1]) == [(4, 0), (1,)]
    assert torch.equal(collect(run).images, dd.sample(gaussian(), "ge", steps=4, n=5).images)


def test_a_process_is_the_same_on_a_processor_without_avx512() -> None:
    """NumPy's exponential differs in the last bit there; bundled samplers and records do not."""
    program = (
        "import diffdescent as dd\n"
        "from diffdescent.run.record import ProcessRecord\n"
        "processes = [dd.VP.named(n) for n in ('linear', 'scaled_linear', 'cosine', 'sigmoid')]\n"
        "processes += [dd.VPContinuous(), dd.VE(), dd.Flow(), dd.Flow(shift=3.0)]\n"
        "print(*(ProcessRecord.of(p).sha256 for p in processes))\n"
    )
    features = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX2 FMA3"}
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for more in ({}, features)
    }
    assert len(found) == 1


def rewritten(folder: Path) -> dict[str, tuple[str, Callable[[int], None]]]:
    """Recipes that name a file, and what writes the first and the second version of it."""
    gamma, spectrum, picture = folder / "g.json", folder / "s.json", folder / "p.png"

    def image(k: int) -> None:
        save_png(torch.full((3, 16, 16), 40 * (k + 1), dtype=torch.uint8), picture)

    laws = (power_law(1.0), power_law(2.0))
    return {
        "gamma": (
            f"analytic(gamma='{gamma}')",
            lambda k: (
                gamma.write_text(Gamma((0, 999), (0.2 + 0.3 * k, 1)).to_json("test")) and None
            ),
        ),
        "spectrum": (
            f"gaussian(spectrum='{spectrum}')",
            lambda k: spectrum.write_text(laws[k].to_json()) and None,
        ),
        "constraint": (f"ddim | constrain(\"measured('mask', '{picture}')\")", image),
    }


@pytest.mark.parametrize("case", ["gamma", "spectrum", "constraint"])
def test_a_file_that_a_recipe_names_is_a_part_of_the_run(case: str, tmp_path: Path) -> None:
    recipe, write = rewritten(tmp_path)[case]
    write(0)
    out = tmp_path / "out"
    first = dd.sample(convolutional(), recipe, steps=3, n=2)
    identity = recipe_identity(parse(recipe))
    first.save(out)
    assert torch.equal(dd.repeat(out, convolutional()).images, first.images)
    write(1)
    assert recipe_identity(parse(recipe)) != identity
    with pytest.raises(dd.UserError, match="holds something else now"):
        dd.repeat(out, convolutional())
    with pytest.raises(dd.UserError, match="differs in files"):
        dd.sample(convolutional(), recipe, steps=3, samples=[2]).save(out)
    write(0)
    dd.repeat(out, convolutional())


def test_a_measured_set_is_made_again_when_its_mask_has_changed(tmp_path: Path) -> None:
    mask, picture = tmp_path / "m.png", tmp_path / "p.png"
    save_png(torch.full((3, 8, 8), 200, dtype=torch.uint8), picture)
    text = f"measured(\"mask(file='{mask}')\", '{picture}')"
    found = []
    for k in range(2):
        shown = torch.zeros(1, 8, 8, dtype=torch.uint8)
        shown[:, 4 * k : 4 * k + 4] = 255
        save_png(shown, mask)
        os.utime(mask, ns=(k, k))
        allowed = bound_set(text, (3, 8, 8), torch.device("cpu"), torch.float32)
        assert allowed is not None
        found.append(allowed.project(torch.zeros(1, 3, 8, 8)))
    assert not torch.equal(*found)
