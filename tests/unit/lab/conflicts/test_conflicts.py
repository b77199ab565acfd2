"""The conflict analysis: its figures by hand, what it records against the steps themselves, and
continuing."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Commit, Displacement, Momentum, StepParts, Threshold
from diffdescent.guidance import (
    Classifier,
    ClassifierFree,
    ConflictTable,
    FreePxP,
    Guided,
    PxP,
    conflicts,
)
from diffdescent.lab.conflicts import (
    Analysis,
    FreeRecorder,
    Recorder,
    analysis,
    gram,
    rule_of,
    with_recorder,
)
from diffdescent.lab.conflicts.measure import cycled
from diffdescent.lab.conflicts.rows import PAIRS, mean, share
from tests.paths import ROOT
from tests.unit.guidance.models import guided, mixture

DDPM = dd.sampler("ddpm")


def table_of(grams: Tensor, t: tuple[float, ...] = (9.0, 4.0)) -> ConflictTable:
    return ConflictTable({}, np.array(t[: len(grams)]), np.ones(len(grams)), grams.double().numpy())


def steps_of(*vectors: list[list[float]]) -> Tensor:
    """Gram matrices of one step: one sample for each list of (cls, den, div), the same before and
    after."""
    stacked = torch.tensor(vectors, dtype=torch.float64)
    parts = StepParts(stacked[:, 1], stacked[:, 2], stacked[:, 0])
    return gram(parts, parts)[None]


def test_figures_by_hand() -> None:
    """cos = −0.6 and 0.8 for lengths 5 and 1, 1 and 5: one conflict in two, Φ = −2·5/26 for
    both."""
    table = table_of(steps_of([[3, 4], [-1, 0], [0, 1]], [[1, 0], [4, 3], [0, -1]]))
    figures = table.steps("cls-den")[0].figures
    assert figures["direction"].value == 0.5
    assert figures["cosine"].value == pytest.approx((-0.6 + 0.8) / 2)
    assert figures["magnitude"].value == pytest.approx(-10 / 26)
    assert (figures["norm_a"].value, figures["norm_b"].value) == (3, 3)
    assert figures["negative_after"].value == 0.5
    values = table.values("cls-div")
    assert values["cosine"].tolist() == [[0.8, 0.0]]
    assert values["magnitude"].tolist() == [[pytest.approx(-10 / 26), -1.0]]
    assert values["direction"].tolist() == [[0.0, 0.0]]  # a right angle is no conflict


def test_intervals() -> None:
    """Wilson's interval for 1 of 4 and for 0 of 10, and ±1.96 standard errors."""
    quarter, none = share(np.array([1.0, 0, 0, 0])), share(np.zeros(10))
    assert (quarter.low, quarter.high) == (
        pytest.approx(0.04559, abs=1e-5),
        pytest.approx(0.69936, abs=1e-5),
    )
    assert (none.low, none.high) == (0.0, pytest.approx(0.27753, abs=1e-5))
    five = mean(np.array([1.0, 2, 3, 4, 5, math.nan]))
    assert (five.n, five.value) == (5, 3.0)
    assert five.high - 3 == pytest.approx(1.96 * math.sqrt(2.5 / 5), rel=1e-3)
    assert mean(np.array([math.nan])).n == 0


def test_steps_without_noise_have_no_such_pair() -> None:
    step = steps_of([[3, 4], [-1, 0], [0, 0]], [[0, 0], [4, 3], [0, 0]])
    table = table_of(
        torch.cat([step, steps_of([[3, 4], [1, 0], [0, -1]], [[1, 0], [4, 3], [0, 1]])])
    )
    first, second = table.steps("cls-div")
    assert first.figures["direction"].n == 0
    assert math.isnan(first.figures["magnitude"].value)
    assert second.figures["direction"].n == 2
    assert table.steps("cls-den")[0].figures["direction"].n == 1  # a zero gradient has no direction
    whole = table.overall("cls-den").figures["direction"]
    assert (whole.n, whole.value) == (
        2,
        0.25,
    )  # half of the first sample's steps, none of the second's one


@dataclass
class Watch(Displacement):
    """Keeps the parts of every step."""

    wants_parts: ClassVar[Basis] = "x0"
    name: ClassVar[str] = "watch"
    linear: ClassVar[bool] = True
    seen: list[StepParts] = field(default_factory=list, repr=False)

    def init(self, plan: Plan) -> None:
        self.seen.clear()

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        assert commit.parts is not None
        self.seen.append(commit.parts)
        return commit.proposal, None


@pytest.mark.parametrize("model", [guided(3.0), ClassifierFree(mixture(), -1.0)])
def test_what_is_recorded_is_the_step(model: dd.Predictor) -> None:
    """Shares, cosines and Φ of the parts that the executor hands out, computed once more in
    NumPy."""
    watch = Watch()
    labels = [0, 1, 2, 0, 1]
    dd.sample(model, DDPM | watch, steps=5, n=5, labels=labels)  # type: ignore[operator]
    table = conflicts(model, DDPM, n=5, steps=5, labels=labels)
    assert table.gram.shape == (5, 5, 6, 6)
    assert (
        table.t.tolist() == dd.grid("uniform(spacing=trailing)", model.process, 5).t[:-1].tolist()
    )
    names = {"cls": "guidance", "den": "denoise", "div": "diversity"}
    for pair in PAIRS:
        values = table.values(pair)
        for i, parts in enumerate(watch.seen):
            a, b = (getattr(parts, names[v]) for v in pair.split("-"))
            if a is None or b is None:
                assert np.isnan(values["cosine"][i]).all()
                continue
            a, b = (v.double().flatten(1).numpy() for v in (a, b))
            lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
            if not lengths[
                0
            ].any():  # the last step draws no noise, by whose variance guidance moves the mean
                assert np.isnan(values["cosine"][i]).all()
                continue
            cosine = (a * b).sum(1) / (lengths[0] * lengths[1])
            np.testing.assert_allclose(values["cosine"][i], cosine, rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(values["direction"][i], cosine < 0)
            phi = -2 * lengths[0] * lengths[1] / (lengths[0] ** 2 + lengths[1] ** 2)
            np.testing.assert_allclose(values["magnitude"][i], phi, rtol=1e-9)


def test_after_the_projections() -> None:
    """At δ = 1 a pair is negative only where the other pair's projection made it so: guidance and
    denoising where noise was resolved after them, guidance and noise where they had been at peace
    and denoising was resolved before.
    """
    table = conflicts(guided(3.0), DDPM, n=40, steps=8)
    noise, den = table.values("cls-div"), table.values("cls-den")
    clash, peace = noise["direction"] > 0, noise["direction"] == 0
    assert clash.mean() > 0.2
    assert (den["negative_after"] > 0).any()
    assert not ((den["negative_after"] > 0) & ~clash).any()
    assert (noise["negative_after"] > 0).any()
    assert not ((noise["negative_after"] > 0) & ~(peace & (den["direction"] > 0))).any()
    nothing = conflicts(guided(3.0), DDPM, n=40, steps=8, rule=PxP((0.0, 0.0, 0.0, 0.0)))
    for pair in PAIRS:
        values = nothing.values(pair)
        np.testing.assert_array_equal(values["direction"] > 0, values["negative_after"] > 0)


def test_recording_changes_nothing() -> None:
    """The images are the sampler's own, with and without PxP."""
    model, projected = guided(3.0), DDPM | PxP()
    options: dict[str, Any] = {"steps": 5, "n": 5, "labels": 1}
    for recipe, applied in ((DDPM, False), (projected, True)):
        recorder = Recorder(PxP(), applied)
        watched = dd.sample(model, with_recorder(recipe, recorder), **options)
        assert torch.equal(watched.images, dd.sample(model, recipe, **options).images)
        assert len(recorder.grams) == 5
    plain, taken = (conflicts(model, r, n=5, steps=5, labels=1) for r in (DDPM, projected))
    np.testing.assert_allclose(plain.gram[0], taken.gram[0])
    assert np.abs(plain.gram[1] - taken.gram[1]).max() > 1e-3


def test_pxp_free_is_measured_at_each_evaluation() -> None:
    """In a sampler of one evaluation a step its pair is the step's: c·A and c·B conflict where A
    and B do."""
    model = ClassifierFree(mixture(), -1.0)
    options: dict[str, Any] = {"n": 5, "steps": 5, "labels": 1}
    free = conflicts(model, DDPM | FreePxP(), **options)
    step = conflicts(model, DDPM | PxP((1.0, 1.0, 0.0, 0.0), ("cls-den",)), **options)
    here, there = free.values("cls-den"), step.values("cls-den")
    for name in ("direction", "cosine", "magnitude", "negative_after"):
        np.testing.assert_allclose(here[name], there[name], rtol=1e-5, atol=1e-6)
    assert np.nansum(here["direction"]) > 0
    assert free.steps("cls-div")[0].figures["direction"].n == 0  # there is no noise in an estimate
    twice = conflicts(model, dd.sampler("heun") | FreePxP(), **options)
    plan = dd.sampler("heun").plan(dd.grid("uniform(spacing=trailing)", model.process, 5))
    assert twice.t.tolist() == [row.at.t for row in plan.rows]
    assert twice.gram.shape[:2] == (9, 5)


@pytest.mark.parametrize(
    "recipe",
    [
        DDPM | FreePxP(),
        dd.sampler("heun") | FreePxP(),
        dd.sampler("dpmpp(order=2)") | FreePxP(),
        DDPM | FreePxP() | Threshold(0.5),
        DDPM | FreePxP() | PxP(),
        dd.sampler("plms") | Threshold(0.5) | PxP(),
        DDPM | PxP() | Momentum(-0.3),
        DDPM | Momentum(-0.3),
    ],
    ids=str,
)
def test_the_sampler_that_is_measured_is_the_one_that_was_given(recipe: Recipe) -> None:
    model = ClassifierFree(mixture(), -1.0)
    rule = rule_of(recipe)
    recorder = (
        FreeRecorder(rule)
        if isinstance(rule, FreePxP)
        else Recorder(rule or PxP(), rule is not None)
    )
    options: dict[str, Any] = {"steps": 6, "n": 4, "labels": 1}
    watched = dd.sample(model, with_recorder(recipe, recorder), **options).images
    assert torch.equal(watched, dd.sample(model, recipe, **options).images)
    assert recorder.grams


def test_another_option_of_the_guidance_is_another_analysis(tmp_path: Path) -> None:
    exact = mixture()

    def by(temperature: float, conditional: bool = False) -> Guided:
        classifier = Classifier(exact.class_log_prob, temperature, label_count=3)
        return Guided(exact, classifier, 2.0, conditional=conditional)

    options: dict[str, Any] = {"n": 2, "steps": 2, "labels": 1}
    conflicts(by(1.0), DDPM, **options, out=tmp_path / "a")
    conflicts(by(1.0), DDPM, **options, out=tmp_path / "a")
    for other in (by(4.0), by(1.0, conditional=True)):
        with pytest.raises(dd.UserError, match="in guidance"):
            conflicts(other, DDPM, **options, out=tmp_path / "a")
    conflicts(ClassifierFree(exact, 3.0), DDPM, **options, out=tmp_path / "b")
    with pytest.raises(dd.UserError, match="in guidance"):
        conflicts(ClassifierFree(exact, 3.0, clip=0.1), DDPM, **options, out=tmp_path / "b")


@pytest.mark.parametrize("recipe", ["heun", "unipc", "dpmpp_2s"])
def test_other_samplers(recipe: str) -> None:
    """A line for each committed step, from the level where it begins."""
    chosen = dd.sampler(recipe)
    table = conflicts(guided(2.0, "score"), chosen, n=3, steps=4, labels=0)
    grid = dd.grid(
        "uniform(spacing=trailing)" if recipe == "heun" else "loglinear", mixture().process, 4
    )
    assert table.t.tolist() == grid.t[:-1].tolist()
    assert table.steps("cls-div")[0].figures["direction"].n == 0
    assert table.steps("cls-den")[0].figures["direction"].n == 3


def _measured(ready: Analysis) -> list[int]:
    """The samples that are not known yet, measured."""
    samples: list[int] = []
    for chunk in ready.chunks():
        if ready.known(chunk) is None:
            ready.measure(chunk, lambda at: samples.extend(at.samples) if at.index == 0 else None)
    return samples


def test_continuing(tmp_path: Path) -> None:
    """A killed analysis goes on where it was, a damaged chunk is measured again, more samples are
    added to it."""
    options: dict[str, Any] = {"steps": 3, "out": tmp_path / "a"}
    ready = analysis(guided(2.0), DDPM, n=20, **options)
    ready.measure(ready.chunks()[0])
    again = analysis(guided(2.0), DDPM, n=20, **options)
    assert _measured(again) == [16, 17, 18, 19]
    whole = conflicts(guided(2.0), DDPM, n=20, steps=3)
    np.testing.assert_array_equal(again.table().gram, whole.gram)
    chunk = tmp_path / "a" / "chunk-000000.npz"
    for damaged in (b"half", chunk.read_bytes()[: chunk.stat().st_size // 2]):
        chunk.write_bytes(damaged)
        assert _measured(analysis(guided(2.0), DDPM, n=20, **options)) == list(range(16))
    record = tmp_path / "a" / "analysis.json"
    name = '"name": "uniform(spacing=trailing)"'
    record.write_text(record.read_text().replace(name, '"name": "uniform(trailing)"'))  # as before
    more = analysis(guided(2.0), DDPM, n=33, **options)
    assert _measured(more) == [*range(16, 33)]
    np.testing.assert_array_equal(more.table().gram[:, :20], whole.gram)
    assert _measured(analysis(guided(2.0), DDPM, n=7, **options)) == []
    for changed in ({"seed": 1}, {"labels": 0}, {"rule": PxP(scope="channel")}):
        with pytest.raises(dd.UserError, match=f"in {next(iter(changed))}"):
            analysis(guided(2.0), DDPM, n=20, **options, **changed)
    assert _measured(analysis(guided(2.0), DDPM, n=2, **options, seed=1, overwrite=True)) == [0, 1]


def test_files(tmp_path: Path) -> None:
    """The table is a CSV file with every figure; the figure is a picture, also where a pair is
    missing."""
    from PIL import Image

    for recipe, model in ((DDPM, guided(2.0)), (dd.sampler("ddim"), guided(2.0, "score"))):
        table = conflicts(model, recipe, n=4, steps=3)
        text, picture = table.write(tmp_path)
        rows = list(csv.DictReader(text.open()))
        assert [r["pair"] for r in rows] == [p for p in PAIRS for _ in range(3)]
        direction = table.steps("cls-den")[1].figures["direction"]
        assert float(rows[1]["direction"]) == direction.value
        assert float(rows[1]["direction_high"]) == pytest.approx(direction.high, rel=1e-5)
        with Image.open(picture) as image:
            assert min(image.size) > 400


def test_the_page_of_pxp() -> None:
    """Its example runs as it stands there."""
    page = (ROOT / "docs" / "pxp.md").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, namespace)
    assert namespace["images"].isfinite().all()
    assert namespace["table"].overall("cls-den").figures["direction"].n == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": mixture()}, "this model has none"),
        ({"n": 0}, "at least one sample"),
        ({"labels": [0, 1]}, "2 labels were given for 5"),
        ({"labels": 7}, "no label 7"),
        ({"recipe": DDPM | PxP(), "rule": PxP(scope="batch")}, "has a pxp of its own"),
        ({"recipe": dd.sampler("ddim")}, "shift='score'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": guided(), "recipe": DDPM, "n": 5, "steps": 3, **options}
    with pytest.raises(dd.UserError, match=message):
        conflicts(**given)


def test_all_classes_in_turn_leave_out_the_label_for_none() -> None:
    """A network that knows one label more than it has classes keeps it for no class at all."""
    known: Any = SimpleNamespace(classes=("cat", "dog"), label_count=3)
    assert cycled(known, 5) == [0, 1, 0, 1, 0]
    without: Any = SimpleNamespace()
    assert cycled(without, 5) is None
