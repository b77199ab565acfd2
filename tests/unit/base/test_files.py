"""Files that are whole or absent: unique names, full disks, equal process numbers, damage."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import (
    check_place,
    create_file,
    kept_arrays,
    pack_arrays,
    read_arrays,
    replace_file,
    sweep,
    write_atomically,
)
from diffdescent.base.folders import replace_files
from diffdescent.base.images import save_png
from diffdescent.base.whole import is_whole

ARRAYS = {"a": np.arange(500.0), "b": np.array("text")}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError()])
def test_whatever_fails_the_old_file_stays_and_nothing_else(
    step: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*given: Any, **more: Any) -> Any:
        raise error

    def write(file: Any) -> None:
        file.write(b"ne")
        if step == "write":
            raise error

    with monkeypatch.context() as patched:
        if step == "open":
            patched.setattr("builtins.open", fail)
        elif step != "write":
            patched.setattr(os, step, fail)
        with pytest.raises(type(error)) as caught:
            replace_file(path, write)
        assert caught.value is error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (write_atomically, create_file):
        with pytest.raises(UserError, match=r"Cannot write .*No space left on device; free some"):
            write(tmp_path / "a", b"data")
    assert names(tmp_path) == []


def test_file_and_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    sync = os.fsync

    def note(number: int) -> None:
        flushed.append("folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file")
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(tmp_path / "a", b"data")
    assert flushed == ["file", "folder"]


def test_a_name_of_255_characters(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"
    with pytest.raises(UserError, match="File name too long"):
        write_atomically(tmp_path / ("x" * 300), b"data")


def test_one_of_two_makes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert create_file(path, b"first")
    assert not create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["record"]


def test_one_of_two_makes_a_file_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    test_one_of_two_makes_a_file(tmp_path)


def test_what_is_swept_away_while_it_is_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, []

    def late(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 1:
            sweep(tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    write_atomically(tmp_path / "a", b"data")
    assert (tmp_path / "a").read_bytes() == b"data"
    assert len(calls) == 2
    assert names(tmp_path) == ["a"]


def _write_many(folder: Path, mark: int) -> None:
    os.getpid = lambda: 1  # as in two containers that share a disk
    for i in range(400):
        write_atomically(folder / f"{i % 20}", bytes([mark]) * 5000)


def test_two_processes_with_one_number_do_not_collide(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write_many, args=(tmp_path, mark)) for mark in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    assert len(names(tmp_path)) == 20
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert data in (b"\1" * 5000, b"\2" * 5000)


def _damages(data: bytes) -> dict[str, bytes]:
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    return {"cut": data[:middle], "empty": b"", "flip": flipped, "other": b"hello"}


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "other"])
def test_damage_is_seen(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive, picture = tmp_path / "a.npz", tmp_path / "b.png"
    write_atomically(archive, pack_arrays(ARRAYS))
    save_png(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8), picture)
    for path in (archive, picture):
        assert is_whole(path)
        path.write_bytes(_damages(path.read_bytes())[damage])
        assert not is_whole(path)
    with pytest.raises(UserError, match="missing or damaged"):
        read_arrays(archive)
    assert kept_arrays(archive) is None
    assert names(tmp_path) == ["a.npz.damaged", "b.png"]
    assert "is kept as a.npz.damaged and made again" in caplog.text


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert kept_arrays(path) is None
    write_atomically(path, pack_arrays(ARRAYS, compressed))
    back = kept_arrays(path)
    assert back is not None
    assert all(np.array_equal(back[name], value) for name, value in ARRAYS.items())


def test_a_place_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("years of work")
    for place, why in ((tmp_path / "file", "is a file"), (tmp_path / "file" / "x", "is a file")):
        with pytest.raises(UserError, match=f"Cannot make the folder .*{why}"):
            check_place(place)
    with pytest.raises(UserError, match="File name too long"):
        check_place(tmp_path / ("x" * 300) / "y")


def test_a_folder_of_files_is_replaced_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".0123.partial").mkdir()  # a killed process left it

    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("new")

    replace_files(tmp_path, write)
    assert names(tmp_path) == ["deep", "notes.txt"]
    assert (tmp_path / "deep" / "a").read_text() == "new"

    def fail(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match="No space left on device"):
        replace_files(tmp_path, fail)
    assert names(tmp_path) == ["deep", "notes.txt"]
    assert (tmp_path / "deep" / "a").read_text() == "new"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_folder_that_another_process_sweeps_away_is_written_again(
    when: str, tmp_path: Path
) -> None:
    """Two equal trainings that export their model at once: each begins by sweeping."""
    count = []

    def write(folder: Path) -> None:
        count.append(folder)
        if len(count) == 1 and when == "before":
            sweep(tmp_path)
            raise RuntimeError(f"No such file: {folder}")  # as a library says it
        (folder / "a").write_text("whole")
        if len(count) == 1:
            sweep(tmp_path)

    replace_files(tmp_path, write)
    assert len(count) == 2
    assert names(tmp_path) == ["a"]

    def always(folder: Path) -> None:
        sweep(tmp_path)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    with pytest.raises(UserError, match="Cannot write"):
        replace_files(tmp_path, always)
    with pytest.raises(UserError, match="Cannot write"):
        replace_files(tmp_path, lambda folder: sweep(tmp_path))  # nothing is left to put in place
    with pytest.raises(RuntimeError, match="a bug"):
        replace_files(tmp_path, lambda folder: (_ for _ in ()).throw(RuntimeError("a bug")))


def test_what_a_kill_left_of_one_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    for name in (".fit.json.ab12.partial", ".other.json.ab12.partial", ".fit.jsonx"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".fit.json.cd34.partial").write_text("half")  # it may be written at this moment
    write_atomically(tmp_path / "fit.json", b"whole")
    assert names(tmp_path) == [
        ".fit.json.cd34.partial", ".fit.jsonx", ".other.json.ab12.partial", "fit.json",
    ]  # fmt: skip
