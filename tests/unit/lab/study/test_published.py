"""Published tables beside ours: which orderings hold."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffdescent.base.statistics import Z95
from diffdescent.lab.study.config import Published
from diffdescent.lab.study.paired import PairedEstimate
from diffdescent.lab.study.published import compare
from diffdescent.lab.study.summary import Line, lines_of, ranked

TABLE = Published.model_validate(
    {
        "table": "T",
        "metric": "fd",
        "by": "nfe",
        "columns": [5, 10],
        "rows": [
            {"name": "a", "cells": {"sampler": "a"}, "values": [1.0, None]},
            {"name": "b", "cells": {"sampler": "b"}, "values": [2.0, 5.0]},
            {"name": "c", "cells": {"sampler": "c"}, "values": [3.0, 4.0]},
            {"name": "elsewhere", "values": [0.5, 0.5]},
        ],
    }
)


def draws(half: float, seed: int) -> Tensor:
    """Draws of a 95 % interval of this half width, independent for different seeds."""
    found = torch.randn(4000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return found / found.std() * (half / Z95)


def line(sampler: str, nfe: int, value: float, half: float = 0.1, metric: str = "fd") -> Line:
    columns = {
        "name": "",
        "sampler": sampler,
        "grid": "g",
        "nfe_asked": nfe,
        "nfe": nfe - 1,
        "steps": nfe,
    }
    drawn = {0: draws(half, ord(sampler))}
    return Line(
        columns,
        {metric: PairedEstimate(value, value - half, value + half, drawn)},
        ("k",),
        10,
        1.0,
        1.0,
        "",
    )


def test_holds_reversed_and_undecided() -> None:
    # At 5: a < b holds, a < c is reversed, b < c is reversed. At 10: c < b cannot be told.
    lines = [
        line("a", 5, 2),
        line("b", 5, 4),
        line("c", 5, 1),
        line("b", 10, 3),
        line("c", 10, 3.1),
    ]
    found = compare(TABLE, lines).orderings
    assert [str(one).split(" (")[0] for one in found.holds] == ["5: a better than b"]
    assert [str(one).split(" (")[0] for one in found.reversed] == [
        "5: a better than c",
        "5: b better than c",
    ]
    assert [str(one).split(" (")[0] for one in found.undecided] == ["10: c better than b"]


def test_orderings_are_corrected_for_their_number() -> None:
    """Differences of 0.15 ± 0.141 are two deviations each: told alone, and not among three."""
    lines = [line("a", 5, 2.0), line("b", 5, 2.15)]
    assert len(compare(TABLE, lines).orderings.holds) == 1
    more = [*lines, line("b", 10, 3), line("c", 10, 3.1), line("c", 5, 2.05)]
    found = compare(TABLE, more).orderings
    assert (found.holds, found.reversed) == ((), ())
    assert (found.total, found.independent) == (4, 3)
    assert next(round(one.p, 2) for one in found.undecided if one.better == "a") == 0.15


def test_ranks_are_corrected_for_their_number() -> None:
    lines = [line("a", 5, 2.0), line("b", 5, 2.15)]
    assert not ranked(lines, "fd")[1].tied
    found = ranked([*lines, line("c", 5, 2.1), line("d", 10, 1), line("e", 10, 1.05)], "fd")
    assert all(one.tied for one in found)


def test_entries_stand_beside_ours() -> None:
    rows = dict(compare(TABLE, [line("a", 5, 2), line("b", 10, 3)]).rows)
    assert (rows["a"][0].published, rows["a"][0].ours) == (1.0, PairedEstimate(2, 1.9, 2.1))
    assert (rows["a"][1].published, rows["a"][1].ours) == (None, None)
    assert rows["elsewhere"][0].ours is None


def test_higher_is_better_for_recall() -> None:
    table = Published.model_validate(
        {
            "table": "T", "by": "metric", "columns": ["recall"],
            "rows": [
                {"name": "a", "cells": {"sampler": "a"}, "values": [0.9]},
                {"name": "b", "cells": {"sampler": "b"}, "values": [0.1]},
            ],
        }
    )  # fmt: skip
    found = compare(
        table, [line("a", 5, 7, metric="recall"), line("b", 5, 3, metric="recall")]
    ).orderings
    assert (len(found.holds), len(found.reversed)) == (1, 0)


def test_seeds_are_averaged_and_their_intervals_shrink() -> None:
    row = {
        "cell": "k",
        "sampler": "a",
        "nfe_asked": 5,
        "nfe": 5,
        "name": "",
        "n": 10,
        "seconds_per_image": 1.0,
    }
    row |= {"flops_per_image": 3.0, "command": "x", "metric": "fd"}
    rows = [
        {
            **row,
            "seed": s,
            "value": v,
            "low": v - 0.3,
            "high": v + 0.4,
            "draws": draws(0.35, s).tolist(),
        }
        for s, v in enumerate((1.0, 2.0, 3.0, 4.0))
    ]
    (only,) = lines_of(rows, ["cell", "sampler", "nfe_asked", "nfe", "name", "seed"])
    assert only.n == 40
    found = only.metrics["fd"]
    assert found.value == 2.5
    assert found.low == pytest.approx(2.5 - 0.15)
    assert found.high == pytest.approx(2.5 + 0.2)
    # A difference from something known exactly is as uncertain as the mean of the four: √4·0.35/4.
    gap = found.minus(PairedEstimate(0.0, 0.0, 0.0, {0: torch.zeros(4000, dtype=torch.float64)}))
    assert gap.high - gap.value == pytest.approx(0.175)


def test_ranks_within_a_budget_and_ties_by_interval() -> None:
    # Half widths of 0.1 each, independent: differences are known to ±0.141.
    lines = [
        line("a", 5, 2.0),
        line("b", 5, 2.13),
        line("c", 5, 2.25),
        line("d", 10, 1.0),
        line("e", 10, math.nan),
    ]
    found = [(r.line.columns["sampler"], r.rank, r.tied) for r in ranked(lines, "fd")]
    assert found == [
        ("a", 1, True),
        ("b", 2, True),
        ("c", 3, False),
        ("d", 1, True),
        ("e", 2, False),
    ]
    assert [r.behind.value for r in ranked(lines, "fd")][:4] == [
        0,
        pytest.approx(0.13),
        pytest.approx(0.25),
        0,
    ]


def test_higher_is_better_and_how_far_behind() -> None:
    lines = [line("a", 5, 0.2, metric="recall"), line("b", 5, 0.9, metric="recall")]
    best, other = ranked(lines, "recall")
    assert (best.line.columns["sampler"], best.behind.value, best.tied) == ("b", 0, True)
    assert other.behind.value == pytest.approx(0.7)
    assert not other.tied


def test_without_intervals_nothing_is_decided() -> None:
    bare = PairedEstimate(1.0, math.nan, math.nan).minus(PairedEstimate(5.0, math.nan, math.nan))
    assert bare.value == -4
    assert math.isnan(bare.low)
    lines = [line("a", 5, 1), line("b", 5, 3)]
    for one in lines:
        one.metrics["fd"] = PairedEstimate(one.metrics["fd"].value, math.nan, math.nan)
    assert len(compare(TABLE, lines).orderings.undecided) == 1


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (PairedEstimate(12.3456, 11, 13.98), "12.35 [11.00, 13.98]"),
        (PairedEstimate(0.0123456, math.nan, math.nan), "0.01235"),
        (PairedEstimate(math.nan, 1, 2), "–"),
        (PairedEstimate(0.0, 0.0, 0.0), "0.000 [0.000, 0.000]"),
        (PairedEstimate(1234.5, 1200, 1300), "1234 [1200, 1300]"),
    ],
)
def test_estimates_as_text(estimate: PairedEstimate, text: str) -> None:
    assert str(estimate) == text
