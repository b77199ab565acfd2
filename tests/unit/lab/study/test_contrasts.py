"""Method against method: which cells are paired, whose best is compared, and what stays decided
among many tests."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from diffdescent.base.errors import UserError
from diffdescent.base.markdown import plain
from diffdescent.base.statistics import Z95
from diffdescent.lab.study import execute, html, markdown, prepare
from diffdescent.lab.study.config import Contrast
from diffdescent.lab.study.contrasts import Contrasted, contrast
from diffdescent.lab.study.paired import PairedEstimate
from diffdescent.lab.study.report import notes
from diffdescent.lab.study.summary import Line
from tests.unit.lab.study.conftest import Make
from tests.unit.lab.study.test_published import draws

MOMENTUM = "ddim | momentum({beta})"
WITH_AND_WITHOUT = Contrast(name="b against a", of={"sampler": "b"}, against={"sampler": "a"})


def line(
    sampler: str, scale: float | None, half: float = 0.1, seed: int = 0, **values: float
) -> Line:
    columns = {
        "name": "",
        "sampler": sampler,
        "template": sampler,
        "guidance": "none",
        "grid": "g",
        "labels": "none",
        "nfe_asked": 10,
        "nfe": 10,
        "steps": 10,
    }
    metrics = {
        m: PairedEstimate(v, v - half, v + half, {0: draws(half, seed)}) for m, v in values.items()
    }
    return Line({**columns, "scale": scale}, metrics, ("k",), 10, 1.0, 1.0, "")


def gaps(found: Contrasted, metric: str) -> dict[str, float]:
    return {
        row.where: round(row.gaps[metric].difference.value, 6)
        for row in found.rows
        if metric in row.gaps
    }


def test_pairs_at_equal_settings_and_at_each_ones_best() -> None:
    lines = [
        line("a", 1, fd=5.0, recall=0.2),
        line("a", 2, fd=4.0, recall=0.3),
        line("a", 4, fd=6.0, recall=0.4),
        line("b", 1, fd=3.0, recall=0.4),
        line("b", 2, fd=7.0, recall=0.1),
        line("c", 1, fd=0.0, recall=1.0),
    ]
    found = contrast(WITH_AND_WITHOUT, lines, ["scale"])
    by_fd = "each at its best Fréchet distance (scale = 1 against scale = 2)"
    by_recall = "each at its best Recall (scale = 1 against scale = 4)"
    assert gaps(found, "fd") == {"scale = 1": -2.0, "scale = 2": 3.0, by_fd: -1.0, by_recall: -3.0}
    assert gaps(found, "recall") == {
        "scale = 1": 0.2,
        "scale = 2": -0.2,
        by_fd: 0.1,
        by_recall: 0.0,
    }
    assert found.tests == 8
    assert found.rows[0].where == "scale = 1"
    # A pair that is both at equal settings and each one's best stands, and is tested, once.
    (row,) = (
        r
        for r in contrast(
            WITH_AND_WITHOUT, [*lines, line("b", 4, fd=1.0, recall=0.9)], ["scale"]
        ).rows
        if r.where.startswith("scale = 4")
    )
    assert row.where == "scale = 4 (each at its best Recall)"
    # Lower is better for the distance, higher for recall.
    first = found.rows[0].gaps
    assert (first["fd"].better, first["recall"].better) == (True, True)
    assert not found.rows[1].gaps["fd"].better
    assert not found.rows[1].gaps["recall"].better


def test_a_parameter_that_one_method_lacks_pairs_with_each_of_its_values() -> None:
    lines = [line("a", None, fd=5.0), line("b", 1, fd=4.0), line("b", 2, fd=3.0)]
    found = contrast(WITH_AND_WITHOUT, lines, ["scale"])
    # The other method has no choice of its own, so that "each at its best" would not be fair.
    assert gaps(found, "fd") == {"scale = 1": -1.0, "scale = 2": -2.0}


def test_other_settings_are_not_mixed() -> None:
    other = line("a", 1, fd=1.0)
    other.columns["grid"] = "h"
    assert contrast(WITH_AND_WITHOUT, [other, line("b", 1, fd=4.0)], ["scale"]).rows == ()
    assert contrast(WITH_AND_WITHOUT, [line("b", 1, fd=4.0)], ["scale"]).rows == ()
    # Chosen by the contrast itself, the grid may differ.
    for ours, theirs in (("g", "h"), ("*", "*"), ("g", "*")):
        grids = Contrast(
            name="grids",
            of={"sampler": "b", "grid": ours},
            against={"sampler": "a", "grid": theirs},
        )
        assert gaps(contrast(grids, [other, line("b", 1, fd=4.0)], ["scale"]), "fd") == {
            "as selected": 3.0
        }


def test_what_the_contrast_does_not_select_by_must_agree() -> None:
    """Samplers are compared under one guidance, guidances under one sampler, templates as they
    stand."""
    lines = [
        replace(
            line(s, None, fd=fd),
            columns={**line(s, None).columns, "guidance": g, "template": f"{s}, {g}"},
        )
        for s, g, fd in (
            ("a", "none", 5.0),
            ("a", "cfg", 4.0),
            ("b", "none", 3.0),
            ("b", "cfg", 1.0),
        )
    ]
    by_sampler = contrast(WITH_AND_WITHOUT, lines, ["scale"])
    assert [row.gaps["fd"].difference.value for row in by_sampler.rows] == [-2.0, -3.0]
    by_guidance = Contrast(name="guidance", of={"guidance": "cfg"}, against={"guidance": "none"})
    assert [row.gaps["fd"].difference.value for row in contrast(by_guidance, lines, []).rows] == [
        -1.0,
        -2.0,
    ]
    both = Contrast(name="both", of={"template": "b, cfg"}, against={"template": "a, none"})
    assert gaps(contrast(both, lines, []), "fd") == {"as selected": -4.0}


def test_a_line_is_not_set_against_itself() -> None:
    lines = [line("a", scale, fd=fd) for scale, fd in ((1, 5.0), (2, 3.0), (4, 4.0))]
    found = contrast(
        Contrast(name="c", of={"sampler": "a"}, against={"scale": 2}), lines, ["scale"]
    )
    assert gaps(found, "fd") == {"scale = 1": 2.0, "scale = 4": 1.0}


def test_decided_by_all_tests_together() -> None:
    """Against p-values from scipy and Holm's bounds written out: 1.97, 2 and 4 standard errors in
    three tests."""
    sizes = {1: 1.97, 2: 2.0, 4: 4.0}
    noise = [line("a", scale, half=Z95, fd=10.0, seed=int(scale)) for scale in sizes]
    moved = [line("b", scale, half=0.0, fd=10.0 - size) for scale, size in sizes.items()]
    found = contrast(WITH_AND_WITHOUT, [*noise, *moved], ["scale"])
    equal = [row.gaps["fd"] for row in found.rows]
    ps = [
        2 * stats.norm.sf(size) for size in (*sizes.values(), sizes[4])
    ]  # the last: each at its best
    assert [
        math.isclose(g.difference.high - g.difference.low, 2 * Z95, rel_tol=1e-6) for g in equal
    ] == [True] * 4
    assert sorted(ps)[0] * 4 < 0.05 < sorted(ps)[2] * 2
    assert [gap.decided for gap in equal] == [False, False, True, True]
    # Alone, both of the first two would be.
    assert all(gap.difference.high < 0 for gap in equal)


def test_without_intervals_nothing_is_decided() -> None:
    bare = [
        Line(
            line(s, 1).columns,
            {"fd": PairedEstimate(v, math.nan, math.nan)},
            ("k",),
            10,
            1.0,
            1.0,
            "",
        )
        for s, v in (("a", 9.0), ("b", 1.0))
    ]
    (row,) = contrast(WITH_AND_WITHOUT, bare, ["scale"]).rows
    assert row.gaps["fd"].difference.value == -8.0
    assert not row.gaps["fd"].decided


def test_in_the_report(make: Make, tmp_path: Path) -> None:
    config = make(
        samplers=["ddim", MOMENTUM],
        parameters={"beta": [-0.3, 0, 0.2]},
        contrasts=[
            {
                "name": "Momentum against <none>",
                "of": {"template": MOMENTUM},
                "against": {"sampler": "ddim"},
            },
            {"name": "Nobody", "of": {"sampler": "plms"}, "against": {"sampler": "ddim"}},
        ],
    )
    results = execute(config, tmp_path / "out")
    found, nobody = results.contrasts
    assert nobody.rows == ()
    # β = 0 is DDIM to the bit, so the difference is none.
    zero = [row.gaps["rmse"].difference for row in found.rows if row.where.endswith("beta = 0")]
    assert [(gap.value, gap.low, gap.high) for gap in zero] == [(0.0, 0.0, 0.0)] * 2
    page, text = html(results), markdown(results)
    assert "Momentum against &lt;none&gt;" in page
    assert "Method against method" in page
    assert "8 evaluations, beta = 0.2" in page
    assert "## " + plain("Momentum against <none>") in text
    assert "Nobody: not compared, for no cell here is selected by its 'of' side." in notes(results)
    wrong = make(contrasts=[{"name": "C", "of": {"templat": "x"}, "against": {"sampler": "ddim"}}])
    with pytest.raises(UserError, match=r"Unknown column .* 'templat'; did you mean 'template'"):
        prepare(wrong, tmp_path / "wrong")
    row = {"name": "a", "cells": {"samplr": "ddim"}, "values": [1.0]}
    table = {"table": "T", "by": "metric", "columns": ["rmse"], "rows": [row]}
    with pytest.raises(UserError, match=r"Unknown column .* 'samplr'; did you mean 'sampler'"):
        prepare(make(published=[table]), tmp_path / "wrong")


def test_a_trade_off_is_drawn_for_two_metrics(make: Make, tmp_path: Path) -> None:
    config = make(samplers=[MOMENTUM], parameters={"beta": [-0.3, 0, 0.2]}, metrics=["rmse", "swd"])
    page = html(execute(config, tmp_path / "out"))
    assert (
        page.count("along each line beta runs") == 2
    )  # alternative text and caption of one figure
