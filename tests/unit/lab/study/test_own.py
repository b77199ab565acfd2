"""Comparisons without data: the model's own solution, the samplers measured, the advice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.base.markdown import plain
from diffdescent.core.process import VP, Flow
from diffdescent.lab.study import as_json, execute, missing, prepare, recommendations, run
from diffdescent.lab.study.own import OwnSolutions
from diffdescent.lab.study.paired import PairedEstimate
from diffdescent.lab.study.recommendation import _sentence
from diffdescent.lab.study.rivals import rivals
from diffdescent.lab.study.shards import Task
from diffdescent.lab.study.summary import Line, Ranked
from diffdescent.lab.study.worker import cast
from diffdescent.models.flowmap import exact_solution
from tests.unit.lab.study.conftest import Make

OWN = "solution_rmse,solution_feature,solution_fd"
QUICK: dict[str, Any] = {"n": 8, "solution": 24, "resamples": 10}


def test_the_own_solution_is_the_exact_one_from_the_highest_level(
    make: Make, tmp_path: Path
) -> None:
    study = prepare(make(metrics=OWN, solution=256, n=4, nfe=[4]), tmp_path)
    task = Task(study.cells[0], 0, 3)
    own = OwnSolutions(study.worker)._solved(task.cell, task.samples, None).end
    model, process = study.worker.model, study.worker.model.process
    start, end = process.point(process.t_max), dd.Point(-1.0, 1.0, 0.0)
    x = dd.run.noise_for(0, range(4), (3, 4, 4)).double() * process.start_scale(start)
    exact = exact_solution(model, x, start, end).x  # type: ignore[arg-type]
    assert float((own - exact).square().mean().sqrt()) < 2e-3


def test_all_samplers_are_held_against_one_solution(make: Make, tmp_path: Path) -> None:
    samplers = ["unipc @ karras(start=2.0, last=0.02)", "unipc @ karras(start=80.0, last=0.02)"]
    entries = {"metrics": "solution_rmse,rmse", "nfe": None, "steps": [60], **QUICK}
    results = execute(make(samplers=samplers, **entries), tmp_path)
    late, full = (line.metrics for line in results.lines)
    # What a low start costs is in the distance; to where its own start leads it is all but exact.
    assert late["solution_rmse"].value > 10 * late["rmse"].value
    assert late["solution_rmse"].value > 10 * full["solution_rmse"].value


def test_the_nearest_is_recommended_and_others_that_cannot_be_told_are_named(
    make: Make, tmp_path: Path
) -> None:
    config = make(metrics=OWN, samplers=["ddim", "unipc", "ge", "ge(gamma=2)"], nfe=[8], **QUICK)
    results = execute(config, tmp_path)
    (best,) = recommendations(results)
    values = {x.columns["sampler"]: x.metrics["solution_rmse"].value for x in results.lines}
    assert values[best.sampler] == min(values.values())
    if best.sampler.startswith("ge"):
        assert "cannot be told from" in best.sentence  # ge is ge(gamma=2)
    assert f"--sampler {best.sampler}" in best.cli.replace("'", "")
    assert "steps=8" in str(best.python)
    report = (tmp_path / "report.md").read_text()
    assert plain(best.sentence) in report
    assert best.cli in report
    assert best.sampler in (tmp_path / "report.html").read_text()
    again = json.loads(json.dumps(as_json(results)))
    assert again["recommendations"][0]["sentence"] == best.sentence
    assert len(again["table"]) == 4


def test_without_an_interval_no_winner_is_named(make: Make, tmp_path: Path) -> None:
    few = {**QUICK, "n": 4}
    results = execute(make(metrics=OWN, samplers=["ddim", "unipc"], nfe=[8], **few), tmp_path)
    (best,) = recommendations(results)
    assert "4 images are too few for an interval, so no winner is named" in best.sentence
    assert "at least 8" in best.sentence
    assert "take" not in best.sentence
    assert len(best.alike) == 1


def test_a_tie_asks_for_more_images_and_explains_an_interval_without_0() -> None:
    draws = {0: torch.tensor([-0.5, 0.5, -1.0, 1.0])}

    def one(value: float, low: float) -> Ranked:
        behind = PairedEstimate(value, low, 2 * value - low, draws if value else {})
        columns = {"sampler": "ddim", "grid": "leading", "labels": "none"}
        line = Line(columns, {"solution_rmse": behind}, (), 8, 0.0, 0.0, "")
        return Ranked(1, behind, line, p=0.1)

    model = dd.load_model("cifar10-mixture")
    config = SimpleNamespace(n=8, resamples=200, prompts=None)
    results: Any = SimpleNamespace(
        study=SimpleNamespace(config=config, worker=SimpleNamespace(model=model)), unknown=0.0
    )

    def said(low: float) -> str:
        return _sentence(results, 8, one(0.0, 0.0), [one(0.002, low)], "solution_rmse")

    assert "(labels: none)" in said(0.0001)
    assert "--n 64" in said(0.0001)
    assert "Holm" in said(0.0001)
    assert "Holm" not in said(-0.0001)
    config.prompts = "prompts.txt"
    assert "labels" not in said(0.0001)


def test_a_comparison_that_was_stopped_goes_on(make: Make, tmp_path: Path) -> None:
    config = make(metrics=OWN, **QUICK)
    whole = execute(config, tmp_path / "whole")
    study = prepare(config, tmp_path / "parts")
    todo = missing(study.tasks, study.out)
    run(study, todo[:3])
    assert len(missing(study.tasks, study.out)) == len(todo) - 3
    parts = execute(config, tmp_path / "parts")
    for one, other in zip(whole.lines, parts.lines, strict=True):
        assert one.metrics == other.metrics


def test_guidance_that_acts_on_steps_has_no_own_solution(make: Make, tmp_path: Path) -> None:
    config = make(metrics="solution_rmse", guidance="cfg(scale=2) | pxp", labels="cycle", **QUICK)
    with pytest.raises(UserError, match="no solution of its own"):
        execute(config, tmp_path)


def smooth(process: Any, kind: Any, size: int = 8) -> dd.Network:
    def net(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return torch.tanh(x + 0.3 * x.roll(1, -1))

    return dd.Network(net, process=process, kind=kind, shape=(1, size, size), name="smooth")


def test_the_rivals_of_a_flow_suit_it() -> None:
    (block,) = rivals(smooth(Flow(), "flow"), [5, 10], "none", "none")
    assert block["nfe"] == [5, 10]
    assert {text.partition(" @ ")[0] for text in block["samplers"]} >= {"ddim", "unipc", "ge"}
    assert len(set(block["samplers"])) == len(block["samplers"])


def test_calibrated_samplers_are_among_the_rivals_where_they_fit() -> None:
    model = dd.load_model("cifar10-mixture")
    blocks = rivals(model, [5, 7], "none", "none")
    assert blocks[1:] == [{"samplers": ["calibrated(cifar10-mixture-unlabelled-5)"], "nfe": [5]}]
    for guidance, labels in (("none", "cycle"), ("cfg(scale=2)", "cycle")):
        found = rivals(model, [5], guidance, labels)[1:]
        assert not any("unlabelled" in text for block in found for text in block["samplers"])


def test_compare_in_python(tmp_path: Path) -> None:
    model = smooth(VP.named(), "eps")
    found = dd.compare(model, nfe=4, n=8, solution=24, resamples=10, also=["ddpm"])
    (best,) = found.recommendations
    assert str(best.python).startswith("dd.sample(model, ")
    assert best.sentence in found.summary
    assert "ddpm" in {line.columns["sampler"] for line in found.results.lines}
    named = dd.compare(
        model, "ge; unipc @ karras", nfe=[4], n=8, solution=24, resamples=10, out=tmp_path / "out"
    )
    assert len(named.results.lines) == 2
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_study_in_another_precision_leaves_the_caller_s_model_alone() -> None:
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    model = dd.Network(lambda x, t, cond: network(x), VP.named(), shape=(1, 8, 8))
    with pytest.raises(UserError, match="dtype bf16 is for networks"):
        cast(model, "bf16")
    mine = dd.Network(network, VP.named(), shape=(1, 8, 8))
    assert cast(mine, "bf16", given=True).dtype == torch.bfloat16  # type: ignore[attr-defined]
    assert network.weight.dtype == torch.float32


def labelled(**options: Any) -> dd.Network:
    def net(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        assert cond is not None
        return torch.tanh(x + 0.1 * (cond + 1.0)[:, None, None, None])

    given = {"process": VP.named(), "kind": "x0", "shape": (1, 8, 8), "label_count": 10, **options}
    return dd.Network(net, **given)


def test_a_guided_network_without_a_fingerprint_is_compared_and_advised(tmp_path: Path) -> None:
    found = dd.compare(
        labelled(), "ge; unipc", guidance="cfg(scale=3)", labels="3,4", nfe=6, n=8, solution=16,
        resamples=10, metrics=["solution_rmse"], out=tmp_path,
    )  # fmt: skip
    (best,) = found.recommendations
    assert [place for place, _ in best.lines] == ["Python"]
    assert "guidance='cfg(scale=3)', labels='3,4'" in str(best.python)
    seen: dict[str, Any] = {"dd": dd, "model": labelled()}
    exec(f"result = {best.python}", seen)
    images = seen["result"].images
    expected = dd.sample(
        labelled(), best.sampler, steps=best.steps, grid=best.grid, guidance="cfg(3)", labels=3
    )
    assert torch.equal(images, expected.images)
    assert "diffdescent sample" not in (tmp_path / "report.md").read_text()
    for line in found.results.lines:
        assert "guidance='cfg(scale=3)', labels='3,4'" in line.command
        exec(f"again = {line.command}", seen)  # under the same protocol: the same numbers
        (same,) = seen["again"].results.lines
        assert same.metrics["solution_rmse"].value == line.metrics["solution_rmse"].value
    assert repr(found) == f"Comparison(network: 2 runs; best: {best.sampler} at 6 evaluations)"


def test_each_scale_of_guidance_has_its_own_solution_on_disk(make: Make, tmp_path: Path) -> None:
    entries = {**QUICK, "metrics": "solution_rmse", "labels": "cycle", "nfe": [8]}
    both = ["cfg(scale=1)", "cfg(scale=3)"]
    study = prepare(make(guidance=both, **entries), tmp_path)
    one, other = (
        OwnSolutions(study.worker)._solved(cell, range(2), tmp_path / "kept").end
        for cell in study.cells[:2]
    )
    assert [cell.guidance for cell in study.cells[:2]] == both
    assert not torch.equal(one, other)


def test_nothing_is_recommended_where_the_own_solution_is_not_known() -> None:
    """A network that diverges, and one whose answers are not repeatable."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Dropout(0.5))
    torch.manual_seed(0)
    for answer in (lambda x, t, cond: 3 * x, lambda x, t, cond: net(x)):
        model = dd.Network(answer, VP.named(), shape=(1, 8, 8))
        found = dd.compare(
            model, ["ge", dd.sampler("unipc")], nfe=4, n=8, solution=16, resamples=10,
            metrics="solution_rmse", labels=None,
        )  # fmt: skip
        assert "nothing is recommended" in found.summary
        assert "dd.sample" not in found.summary
        assert "Note: " in found.summary
        assert "solution=32 in Python" in found.summary


def test_labels_of_a_comparison_are_text_or_numbers() -> None:
    given = {"nfe": 4, "n": 4, "solution": 16, "resamples": 0, "metrics": "solution_rmse"}
    one, other = (dd.compare(labelled(), "ge", labels=y, **given) for y in ([3, 4], "3,4"))  # type: ignore[arg-type]
    first, second = (found.results.lines[0].metrics["solution_rmse"] for found in (one, other))
    assert first.value == second.value
    (best,) = dd.compare(labelled(), "ge", labels="cycle", **given).recommendations  # type: ignore[arg-type]
    assert "labels='cycle'" in str(best.python)


def test_a_bare_module_and_stray_options_are_refused() -> None:
    with pytest.raises(UserError, match=r"dd\.Network"):
        dd.compare(torch.nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="guidance_scale belongs to a text-to-image"):
        dd.compare(smooth(VP.named(), "eps"), pipeline={"guidance_scale": 3.0})
    with pytest.raises(UserError, match="give the folder"):
        dd.compare(smooth(VP.named(), "eps"), prompts=["a boat"])
