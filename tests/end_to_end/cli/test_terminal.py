"""What people see in a terminal of 80 columns: tables that fit, lists that say what things are,
previews, and what was left out."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.table import Table

from diffdescent.apps.cli import terminal
from diffdescent.apps.cli.list_names import PARTS
from diffdescent.base.images import read_image, save_png
from tests.end_to_end.cli.command import run
from tests.paths import ROOT


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for i in range(12):
        pixels = torch.randint(0, 256, (3, 8, 8), generator=generator, dtype=torch.uint8)
        save_png(pixels, folder / f"{i:02d}.png")
    return folder


COMMANDS: dict[str, tuple[object, ...]] = {
    "list samplers": ("list", "samplers"),
    "grids": ("grid", "loglinear", "karras", "uniform(spacing=trailing)", "quadratic", "beta"),
    "weights": ("weights", "dpmpp(order=2)", "--steps", 20),
    "explain": ("explain", "ge | momentum(-0.3)"),
    "compare": (
        "compare", "images:PICTURES", "--samplers", "ddim; ddim | momentum(beta=-0.35); unipc",
        "--nfe", 3, "--n", 2, "--out", "OUT/compared", "--quiet",
    ),
    "ideal": ("theory", "ideal", "images:PICTURES", "--n", 2, "--steps", 3, "--out", "OUT/ideal"),
    "constrained": ("theory", "constrained", "--n", 2, "--steps", 4, "--out", "OUT/constrained"),
    "lowrank": ("theory", "lowrank", "--n", 8, "--steps", 5, "--out", "OUT/lowrank"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_breaks_no_word_and_no_number(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        places = {"PICTURES": str(pictures), "OUT": str(tmp_path / str(columns))}
        given = [str(part) for part in COMMANDS[name]]
        for key, value in places.items():
            given = [part.replace(key, value) for part in given]
        # What follows the tables are sentences and commands to copy, as long as they are.
        return run(*given).stdout.replace(places["OUT"], "OUT").partition("\nTable: ")[0]

    narrow, wide = shown(80), shown(400)
    rows = [line for line in narrow.splitlines() if re.search("[│┃━─]|  +", line)]
    assert len(rows) > 3
    assert max(map(cell_len, rows)) <= 80, "a row is longer than the terminal"

    def words(text: str) -> set[str]:
        return set(re.sub("[│┃━─╇┼]", " ", text).split())

    said = {w for line in narrow.splitlines() if line.startswith("Not shown") for w in line.split()}
    timed = {w for w in words(narrow) if name == "compare" and re.fullmatch(r"[\d.e-]+", w)}
    assert words(narrow) - said - timed <= words(wide), "something is broken at 80 columns"


def _table(*columns: tuple[str, str], rows: list[tuple[str, ...]], **marks: Any) -> Table:
    table = Table(title="A title of some length that is longer than the table")
    for name, justify in columns:
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    for key, value in marks.items():
        setattr(table, key, value)
    return table


def test_columns_that_do_not_fit_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [(f"number {i}", "right") for i in range(8)]
    rows = [tuple(f"{10 ** (3 * i)}" for i in range(8))]
    terminal.console(width=60).print(_table(*columns, rows=rows))
    text = capsys.readouterr().out
    assert "Not shown in 60 columns: number 7, number 6, number 5." in text
    assert "1000000000000" in text
    marked = _table(*columns, rows=rows, less_needed=("number 1", "number 0"))
    terminal.console(width=60).print(marked)
    text = capsys.readouterr().out
    assert "Not shown in 60 columns: number 1, number 7" in text
    assert "number 0" in text, "the first column stays"
    many = _table(*columns, rows=rows)
    terminal.console(width=20).print(many)
    assert "number 4 and 2 more." in " ".join(capsys.readouterr().out.split())
    terminal.console(width=200).print(_table(*columns, rows=rows))
    assert "Not shown" not in capsys.readouterr().out


def test_a_file_is_as_wide_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = run("grid", "loglinear", "karras", "quadratic", "beta", "simple", "logsnr").stdout
    assert "Not shown" not in text


@pytest.mark.parametrize("command", ["calibrate", "compare", "restore", "sample"])
def test_the_help_breaks_lines_where_the_terminal_ends(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[str]:
        return [line.strip() for line in run(command, "--help").stdout.split("╭")[0].splitlines()]

    monkeypatch.setenv("COLUMNS", "80")
    lines = said()
    for line, after in pairwise(lines):
        if line and after:
            assert len(line) + 1 + len(after.split()[0]) > 76, f"{line!r} ends early"
    monkeypatch.setenv("COLUMNS", "400")
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(said()).split())


def test_the_list_says_what_each_name_is() -> None:
    found = json.loads(run("list", "--json").stdout)
    assert set(found) == {*PARTS}
    for part in ("samplers", "transforms", "constraints", "operators", "grids", "guidance"):
        for name, entry in found[part].items():
            assert len(entry["description"].split()) >= 3, name
            assert not re.search(r"``|:\w+:", entry["description"]), name
    assert json.loads(run("list", "samplers", "--json").stdout) == {"samplers": found["samplers"]}
    only = run("list", "samplers").stdout
    assert "unipc" in only
    assert "karras" not in only
    assert "did you mean samplers" in run("list", "sampler", code=2).stderr.replace("'", "")
    for name, part in (("cifar10", "models"), ("euler_ancestral", "aliases"), ("ddim", "samplers")):
        assert f"see it in diffdescent list {part}." in run("list", name, code=2).stderr


def test_the_plain_list_has_a_line_of_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run("list").stdout
    lines = text.splitlines()
    for name in ("unipc", "momentum", "karras", "cifar10", "calibrated('cifar10-N')", "cfg"):
        assert sum(line.startswith(f" {name}  ") for line in lines) == 1, name
    assert len(lines) < 160
    assert max(map(cell_len, lines)) <= 80
    monkeypatch.setenv("COLUMNS", "400")
    assert set(text.split()) - {"…"} <= set(run("list").stdout.split())
    assert "beta=-0.3 in (−1,1)" not in text
    assert "beta=-0.3 in (−1,1)" in run("list", "transforms").stdout


def test_the_list_of_models_is_read_off_their_files() -> None:
    found = json.loads(run("list", "models", "--json").stdout)["models"]
    mnist, mixture = found["mnist"], found["cifar10-mixture"]
    assert "M parameters" in mnist["description"]
    assert mnist["description"].endswith("; 10 classes")
    assert mnist["shape"] == "1 × 28 × 28"
    assert "exact" in mixture["description"]
    for model in found.values():
        assert (ROOT / model["card"]).is_file()
        assert float(model["size"].split()[0]) > 0.1


def test_seconds_are_those_of_sampling(pictures: Path, tmp_path: Path) -> None:
    summary = json.loads(
        run("sample", f"images:{pictures}", "--n", 1, "--steps", 3, "--out", tmp_path / "a",
            "--json").stdout
    )  # fmt: skip
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["seconds"] == summary["seconds"]
    assert summary["loading"] > 0
    # Nothing is left to sample: no time at all, while loading takes its time again.
    again = json.loads(
        run("sample", f"images:{pictures}", "--n", 1, "--steps", 3, "--out", tmp_path / "a",
            "--json").stdout
    )  # fmt: skip
    assert (again["made"], again["seconds"]) == (0, 0.0)
    assert again["loading"] > 0


def test_one_is_not_many(pictures: Path, tmp_path: Path) -> None:
    common = ("sample", f"images:{pictures}", "--sampler", "ddim", "--steps", 1)
    one = run(*common, "--n", 1, "--out", tmp_path / "a").stdout
    assert one.startswith("1 image with ddim")
    assert ", 1 evaluation each" in one
    two = run(*common, "--n", 2, "--out", tmp_path / "a").stdout
    assert two.startswith("1 image (1 was there)")


def test_a_continued_folder_keeps_its_width(pictures: Path, tmp_path: Path) -> None:
    common = ("sample", f"images:{pictures}", "--sampler", "ddim", "--steps", 2, "--quiet")
    run(*common, "--n", 2, "--out", tmp_path / "a")
    run(*common, "--n", 6, "--out", tmp_path / "a")
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["micro_batch"] == 2
    assert record["samples"] == "0-5"


def test_a_preview_is_written(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    run("sample", f"images:{pictures}", "--n", 4, "--steps", 3, "--out", out, "--preview", "-q",
        "--sampler", "ddim")  # fmt: skip
    # Small pictures are enlarged, on the sheet and in the preview; at the end they are the same.
    sheet, preview = read_image(out / "sheet.png"), read_image(out / "preview.png")
    assert sheet.shape == (3, 2 * 130 + 2, 2 * 130 + 2)
    assert np.abs(sheet.float() - preview.float()).max() <= 1
    run("sample", f"images:{pictures}", "--n", 4, "--steps", 3, "--out", out, "-q",
        "--sampler", "ddim")  # fmt: skip


def test_bad_images_are_left_out_where_that_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for path in sorted(pictures.iterdir())[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "99.png").write_text("not a picture")
    common = ("sample", f"images:{folder}", "--n", 1, "--steps", 2, "--quiet", "--out")
    error = run(*common, tmp_path / "a", code=2).stderr
    assert "diffdescent --skip-bad COMMAND" in error
    done = run("--skip-bad", *common, tmp_path / "a")
    assert "Left out 1 image: " in done.stderr
    assert "99.png" in done.stderr
    assert (tmp_path / "a" / "000000.png").is_file()
    run(*common, tmp_path / "b", code=2)  # it holds for one command
