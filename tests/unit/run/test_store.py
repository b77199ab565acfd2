"""The store: claimed before the first entry, whole or absent entries, other settings refused."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffdescent.base import files
from diffdescent.base.errors import UserError
from diffdescent.base.files import pack_arrays, read_arrays
from diffdescent.run.store import Kind, Store

KIND = Kind(
    what="run",
    record="run.json",
    entries=re.compile(r"(deep/)?\d+\.npz"),
    others=re.compile(r"sheet\.png"),
    free=frozenset({"seconds"}),
    remedy="use --overwrite.",
)
SETTINGS = {"model": "a", "seed": 0, "seconds": 1}
NAMES = ["0.npz", "1.npz", "deep/2.npz"]


def entry(name: str, seed: int = 0) -> bytes:
    return pack_arrays({"values": np.arange(100) + seed, "name": np.array(name)})


def store(folder: Path, overwrite: bool = False, kind: Kind = KIND, **changes: Any) -> Store:
    return Store(folder, kind, {**SETTINGS, **changes}, overwrite)


def fill(folder: Path, overwrite: bool = False, **changes: Any) -> list[str]:
    """Make what is missing; the names of what was made."""
    kept = store(folder, overwrite, **changes)
    kept.check()
    todo = kept.missing(NAMES)
    kept.claim()
    for name in todo:
        kept.write(name, entry(name, changes.get("seed", 0)))
    return todo


def tree(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def test_the_same_settings_continue(tmp_path: Path) -> None:
    assert fill(tmp_path / "a") == NAMES
    (tmp_path / "a" / "1.npz").unlink()
    assert fill(tmp_path / "a", seconds=7) == ["1.npz"]
    assert json.loads((tmp_path / "a" / "run.json").read_text()) == {**SETTINGS, "seconds": 7}
    assert fill(tmp_path / "a") == []


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"seed \(0 there, 1 now\); use --overwrite\.$"):
        fill(tmp_path, seed=1)
    with pytest.raises(
        UserError, match=r"differs in model \(\"a\" there, \"b\" now\) and seed \(0 there"
    ):
        fill(tmp_path, seed=1, model="b")
    with pytest.raises(UserError, match=r"steps \(null there, 3 now\)"):
        fill(tmp_path, steps=3)
    many = {f"option{i}": i for i in range(7)}
    with pytest.raises(UserError, match="and 3 more differences; use"):
        fill(tmp_path, **many)
    assert tree(tmp_path) == before


def test_a_section_and_an_older_record(tmp_path: Path) -> None:
    kind = Kind("study", "s.json", KIND.entries, "no.", section="protocol", lenient=True)
    Store(tmp_path, kind, {"protocol": {"a": 1}, "cells": 3}).claim()
    Store(tmp_path, kind, {"protocol": {"a": 1, "new": 2}, "cells": 4}).claim()
    with pytest.raises(UserError, match="in new"):
        Store(tmp_path, kind, {"protocol": {"a": 1}}).check()


def test_overwrite_replaces_entries_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "a"
    fill(out)
    (out / "sheet.png").write_bytes(b"")
    (out / ".0.npz.1.partial").write_bytes(b"half")
    (out / "deep" / "9.npz.damaged").write_bytes(b"half")
    assert fill(out, overwrite=True, seed=1) == NAMES
    assert sorted(tree(out)) == sorted([*NAMES, "run.json"])
    assert read_arrays(out / "0.npz")["values"][0] == 1
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"files that no run wrote \(thesis\.txt, …\)"):
        fill(out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_folders_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder"):
        fill(tmp_path / "file")
    with pytest.raises(UserError, match="Cannot make the folder"):
        fill(tmp_path / "file" / "below")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"not the run\.json that says of which run, so"):
        fill(tmp_path / "photos")
    for text in ("{", "[]", "", "[" * 5000):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / "run.json").write_text(text)
        with pytest.raises(UserError, match="is damaged"):
            fill(tmp_path / "bad")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_set_aside_and_made_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path)
    whole = tree(tmp_path)
    data, path = whole["0.npz"], tmp_path / "0.npz"
    flipped = data[:200] + bytes([data[200] ^ 255]) + data[201:]
    path.write_bytes({"cut": data[:300], "flip": flipped, "empty": b""}[damage])
    broken = path.read_bytes()
    assert fill(tmp_path) == ["0.npz"]
    assert tree(tmp_path) == {**whole, "0.npz.damaged": broken}
    assert "0.npz is damaged; it is kept as 0.npz.damaged and made again" in caplog.text
    path.write_bytes(broken)
    assert store(tmp_path).arrays("0.npz") is None


class Killed(BaseException):
    """As if the process had ended here: nothing is tidied up."""


def _moments(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[int]:
    """Kill before call number ``at`` of anything that changes the disk."""
    count = 0

    def watched(name: str) -> Any:
        plain = getattr(os, name)

        def call(*given: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise Killed
            return plain(*given, **more)

        return call

    for name in ("replace", "link", "fsync", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, watched(name))
    monkeypatch.setattr(files, "_remove", lambda path: None)
    yield from ()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_between_any_two_writes_loses_nothing(overwrite: bool, tmp_path: Path) -> None:
    fill(tmp_path / "whole", seed=1)
    whole, killed = tree(tmp_path / "whole"), 0
    for at in range(1, 200):
        out = tmp_path / f"at{at}"
        if overwrite:
            fill(out)
        with pytest.MonkeyPatch.context() as patched:
            list(_moments(patched, at))
            try:
                fill(out, overwrite, seed=1)
            except Killed:
                killed += 1
            else:
                break
        # What is there under its own name is whole, and of one run alone.
        kept = {name: data for name, data in tree(out).items() if not name.endswith(".partial")}
        new = json.loads(kept.get("run.json", b"{}")).get("seed") == 1
        again = new or not overwrite or not (out / "run.json").is_file()
        if new and not overwrite:
            assert kept.items() <= whole.items()
        fill(out, overwrite=overwrite and not (new and kept.items() <= whole.items()), seed=1)
        assert tree(out) == whole, at
        assert again or overwrite
        shutil.rmtree(out)
    assert killed > 15


def _run(folder: Path, seed: int, barrier: Any, said: Path) -> None:
    os.getpid = lambda: 1  # as in two containers that share a disk
    kept = store(folder, seed=seed)
    try:
        kept.check()
        barrier.wait(60)
        kept.claim()
        for i in range(400):
            kept.write(f"{i}.npz", entry(str(i), seed))
    except UserError as error:
        said.write_text(str(error))


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_two_processes_at_once_with_one_number(seeds: tuple[int, int], tmp_path: Path) -> None:
    """With the same settings both write all 400 entries; with others one is refused and nothing
    is mixed."""
    context = multiprocessing.get_context("fork")
    barrier, refusals = context.Barrier(2), [tmp_path / "said-0", tmp_path / "said-1"]
    both = [
        context.Process(target=_run, args=(tmp_path / "a", seed, barrier, said))
        for seed, said in zip(seeds, refusals, strict=True)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    said = {
        seed: path.read_text() for seed, path in zip(seeds, refusals, strict=True) if path.is_file()
    }
    winner = json.loads((tmp_path / "a" / "run.json").read_text())["seed"]
    if seeds[0] == seeds[1]:
        assert said == {}
    else:
        (loser,) = set(seeds) - {winner}
        assert said.keys() == {loser}
        assert f"seed ({winner} there, {loser} now)" in said[loser]
    found = tree(tmp_path / "a")
    assert len(found) == 401
    for i in range(400):
        assert found[f"{i}.npz"] == entry(str(i), winner)


def test_a_run_that_was_overwritten_by_another_stops(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path, overwrite=True, seed=1)
    first.claim()
    first.write("0.npz", entry("0"))
    second.claim()
    assert sorted(tree(tmp_path)) == ["run.json"]
    with pytest.raises(UserError, match=r"seed \(1 there, 0 now\)"):
        first.write("1.npz", entry("1"))
    second.write("1.npz", entry("1"))
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match="has been removed while this run was running"):
        second.write("2.npz", entry("2"))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store(tmp_path)
    kept.claim()
    kept.write("0.npz", entry("0"))
    before = tree(tmp_path)

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for name in ("0.npz", "1.npz"):
            with pytest.raises(UserError, match="No space left on device; free some space"):
                kept.write(name, entry(name))
        with pytest.raises(UserError, match="No space left"):
            store(tmp_path / "new").claim()
    assert tree(tmp_path) == before
    assert fill(tmp_path) == NAMES[1:]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any, **more: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", refused)
        with pytest.raises(UserError, match=r"Cannot write .*run\.json: Permission denied"):
            fill(tmp_path)
    assert tree(tmp_path) == {}


def test_what_a_kill_left_half_written_is_swept_away(tmp_path: Path) -> None:
    fill(tmp_path)
    whole = tree(tmp_path)
    for name in (".run.json.abc.partial", "deep/.2.npz.abc.partial"):
        (tmp_path / name).write_bytes(b"half")
    fill(tmp_path)
    assert tree(tmp_path) == whole


def test_an_unclaimed_store_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="claimed"):
        store(tmp_path).write("0.npz", b"")


def test_a_half_written_folder_within_is_swept_away(tmp_path: Path) -> None:
    """It is one of the folders below, and gone when its turn comes."""
    half = tmp_path / "run" / "model" / ".0123.partial"
    (half / "unet").mkdir(parents=True)
    (half / "unet" / "config.json").write_text("{}")
    (tmp_path / "run" / "run.json").write_text("{}")
    Store(tmp_path / "run", Kind("run", "run.json", re.compile("x"), "choose."), {}).claim()
    assert not half.exists()
    assert (tmp_path / "run" / "model").is_dir()


def test_names_of_files_that_are_not_utf_8_are_recorded(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    store(tmp_path / "a", init=name).claim()
    text = (tmp_path / "a" / "run.json").read_bytes().decode()
    assert json.loads(text)["init"] == name
    store(tmp_path / "a", init=name).check()


def test_the_rounding_of_another_processor_is_no_difference(tmp_path: Path) -> None:
    levels = {"grid": [[1.0, {"sigma": 0.1 + 0.2}], 3]}
    store(tmp_path / "a", **levels).claim()
    store(tmp_path / "a", grid=[[1.0, {"sigma": 0.3}], 3]).claim()
    with pytest.raises(UserError, match="differs in grid"):
        store(tmp_path / "a", grid=[[1.0, {"sigma": 0.3001}], 3]).claim()
    with pytest.raises(UserError, match="differs in grid"):
        store(tmp_path / "a", grid=[[1.0], 3]).claim()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_is_not_taken_for_damaged(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)

    def refuses(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr("zipfile.ZipFile", refuses)
        patched.setattr("numpy.load", refuses)
        with pytest.raises(UserError, match="cannot be read"):
            store(tmp_path).has("0.npz")
        with pytest.raises(UserError, match="cannot be read"):
            store(tmp_path).arrays("0.npz")
    assert fill(tmp_path) == []
