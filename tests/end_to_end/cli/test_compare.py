"""``compare`` and ``study`` as a user runs them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import polars
import pytest

from tests.end_to_end.cli.test_commands import run
from tests.unit.lab.study.conftest import tiny

__all__ = ["tiny"]


@pytest.fixture
def basics(tiny: Path, tmp_path: Path) -> list[object]:
    return [
        "--n",
        8,
        "--shard-size",
        4,
        "--grids",
        "loglinear",
        "--out",
        tmp_path / "out",
        "--resamples",
        10,
    ]


def test_compare_prints_the_table_and_where_the_report_is(
    tiny: Path, basics: list[object], tmp_path: Path
) -> None:
    done = run(
        "compare",
        tiny,
        "--samplers",
        "ddim; heun @ quadratic; ddim | momentum({b})",
        "--vary",
        "b=-0.3,0.2",
        "--nfe",
        "4,8",
        "--metrics",
        "rmse",
        *basics,
    )
    assert "RMSE to the exact solution" in done.stdout
    assert "ddim | momentum(-0.3)" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"
    assert "heun on quadratic cannot use exactly 8 evaluations; it uses 7" in done.stderr
    frame = polars.read_parquet(tmp_path / "out" / "table.parquet")
    assert len(frame) == 8
    assert frame["b"].drop_nulls().unique().sort().to_list() == [-0.3, 0.2]
    assert all(
        (tmp_path / "out" / name).is_file()
        for name in ("report.html", "report.md", "table.csv", "study.json")
    )


def test_shares_then_the_report(tiny: Path, basics: list[object]) -> None:
    command = ["compare", tiny, "--samplers", "ddim", "--nfe", "4", *basics]
    done = run(*command, "--report-only", code=2)
    assert "nothing to report" in done.stderr
    done = run(*command, "--shard", "1/2")
    assert "1 of 2 shards; 1 are missing" in done.stdout
    done = run(*command, "--shard", "2/2")
    assert "without --shard for the report" in done.stdout
    assert "Report:" in run(*command, "--report-only").stdout


def test_idle_processors_are_named(
    tiny: Path, basics: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    command = ["compare", tiny, "--samplers", "ddim", "--nfe", "4", *basics]
    said = "Computing with 1 thread on 3 processors; faster is compare --threads 3"
    assert said in run(*command).stderr
    assert "Computing" not in run(*command).stderr, "nothing was left to compute"
    next((tmp_path / "out" / "shards").rglob("*.npz")).unlink()
    assert "Computing" not in run(*command).stderr, "it goes on with as many threads"
    assert "Computing" not in run(*command, "--threads", 3, "--out", tmp_path / "other").stderr


def test_both_commands_say_the_same_of_where_they_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # else where lines break differs, by other options
    shared = ["--ray", "--address", "--workers", "--shard", "--report-only", "--quiet"]
    compare, study = (run(name, "--help").stdout for name in ("compare", "study"))
    for option in shared:
        (one,), (other,) = (
            [
                line.partition("  ")[2].replace(" ", "")
                for line in text.splitlines()
                if f" {option} " in line
            ]
            for text in (compare, study)
        )
        assert one == other
        assert len(one) > len("<bool>")


def test_a_study_file(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        f"title: Mine\nmodel: {tiny}\nsamplers: [ddim, ge]\ngrids: loglinear\nnfe: [4]\nn:"
        " 40\nresamples: 0\n"
    )
    done = run("study", "mine.yaml", "--scale", 0.1, "--set", "seeds=[3]")
    assert "Mine" in done.stdout
    frame = polars.read_csv(tmp_path / "results" / "mine" / "table.csv")
    assert set(frame["n"]) == {4}
    assert set(frame["seed"]) == {3}
    assert "n = 4 in place of 40" in done.stderr
    assert "n = 4 in place of 40" in (tmp_path / "results" / "mine" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samplers", "ddimm"], "Unknown sampler or transform 'ddimm'"),
        (["--metrics", "fud"], "Unknown metric 'fud'"),
        (["--metrics", "is", "--labels", "z"], "Unknown class 'z'"),
        (["--metrics", "fd"], "--reference"),
        (["--vary", "b"], "Cannot read --vary 'b'"),
        (["--nfe", "five"], "write whole numbers"),
        (["--shard", "3/2"], "write i/n"),
        (["--shard", "1/2", "--ray"], "--shard is for job arrays"),
        (["--workers", "2"], "add --ray"),
        (["--dtype", "int8"], "dtype"),
        (["--device", "tpu9"], "Unknown device"),
    ],
)
def test_mistakes(
    tiny: Path, basics: list[object], tmp_path: Path, words: list[str], message: str
) -> None:
    done = run("compare", tiny, *basics, *words, code=2)
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_without_data_a_sentence_says_which_to_take(
    tiny: Path, basics: list[object], tmp_path: Path
) -> None:
    words = ["compare", tiny, "--samplers", "ddim; unipc", "--nfe", 8, "--solution", 32, *basics]
    done = run(*words)
    assert "RMSE to own solution" in done.stdout
    assert done.stdout.split("images a cell")[0].count(str(tiny)) == 1
    assert "At 8 evaluations (labels: none) take" in done.stdout
    line = next(x for x in done.stdout.splitlines() if "diffdescent sample" in x)
    command = shlex.split(line.partition(":")[2])
    assert "images" in run(*command[1:], "--n", 2, "--out", tmp_path / "samples").stdout
    found = json.loads(run(*words, "--json").stdout)
    assert found["recommendations"][0]["sentence"] in done.stdout
    assert {row["sampler"] for row in found["table"]} == {"ddim", "unipc"}


def test_without_samplers_those_that_suit_the_model_are_taken(tiny: Path, tmp_path: Path) -> None:
    done = run(
        "compare", tiny, "--nfe", 4, "--n", 2, "--resamples", 0, "--metrics", "solution_rmse",
        "--solution", 16, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    table = json.loads(done.stdout)["table"]
    assert len(table) > 15
    assert {"ge", "unipc", "plms"} <= {row["sampler"] for row in table}
    on_one = run(
        "compare", tiny, "--nfe", 4, "--n", 2, "--resamples", 0, "--metrics", "solution_rmse",
        "--solution", 16, "--out", tmp_path / "one", "--json", "--grids", "karras",
    )  # fmt: skip
    table = json.loads(on_one.stdout)["table"]
    assert {row["grid"] for row in table} == {"karras"}
    assert {"ddim", "ge", "unipc", "plms"} <= {row["sampler"] for row in table}


def test_a_budget_that_is_not_a_number_is_one_plain_sentence(tiny: Path) -> None:
    error = run("compare", tiny, "--nfe", "eight", code=2).stderr
    assert (
        "The comparison cannot be run: nfe: write whole numbers, such as 5,10, not 'eight'."
        in error
    )
    assert "nfe.0" not in error
