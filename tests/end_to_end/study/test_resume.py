"""Stopped at any moment and started again: the result of an uninterrupted run, and nothing is run
twice."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars
import pytest
from polars.testing import assert_frame_equal

from diffdescent.base.errors import UserError
from diffdescent.base.files import read_arrays
from diffdescent.lab.study import (
    Results,
    StudyConfig,
    execute,
    gather,
    missing,
    prepare,
    run,
    share,
)
from diffdescent.lab.study.shards import Task
from tests.unit.lab.study.conftest import Make


def table(results: Results) -> polars.DataFrame:
    """What must be equal to the last bit: everything but how long it took."""
    return results.frame.drop("seconds_per_image")


def digests(out: Path) -> dict[str, str]:
    return {
        str(p.relative_to(out)): str(read_arrays(p)["sha256"])
        for p in sorted(out.glob("shards/*/*.npz"))
    }


def times(out: Path) -> dict[str, int]:
    return {
        str(p.relative_to(out)): p.stat().st_mtime_ns for p in sorted(out.glob("shards/*/*.npz"))
    }


@pytest.fixture(scope="module")
def whole(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return execute(make(), tmp_path_factory.mktemp("studies") / "whole")


@pytest.fixture
def copy(whole: Results, tmp_path: Path) -> Path:
    """A finished study that a test may damage."""
    return Path(shutil.copytree(whole.study.out, tmp_path / "copy"))


class Stopped(Exception):
    pass


def stop_after(count: int) -> Any:
    seen: list[Task] = []

    def watch(task: Task) -> None:
        seen.append(task)
        if len(seen) == count:
            raise Stopped

    return watch


@pytest.mark.parametrize("count", [1, 7, 11])
def test_a_stopped_study_goes_on(make: Make, whole: Results, tmp_path: Path, count: int) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(Stopped):
        execute(make(), out, watch=stop_after(count))
    before = times(out)
    assert len(before) == count
    seen: list[Task] = []
    resumed = execute(make(), out, watch=seen.append)
    assert len(seen) == 12 - count
    assert before.items() <= times(out).items()
    assert_frame_equal(table(resumed), table(whole), check_exact=True)
    assert digests(out) == digests(whole.study.out)


def test_the_files_are_those_of_an_uninterrupted_run_but_for_seconds(
    whole: Results, make: Make, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    execute(make(), out)
    first, second = (polars.read_parquet(f / "table.parquet") for f in (whole.study.out, out))
    assert_frame_equal(
        first.drop("seconds_per_image"), second.drop("seconds_per_image"), check_exact=True
    )
    assert polars.read_csv(out / "table.csv")["value"].to_list() == first["value"].to_list()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_run_again(make: Make, whole: Results, copy: Path, damage: str) -> None:
    out = copy
    path = next(iter(sorted(out.glob("shards/*/*.npz"))))
    data, before = path.read_bytes(), digests(out)
    middle = len(data) // 2
    broken = {
        "cut": data[:middle],
        "empty": b"",
        "flip": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
    }
    path.write_bytes(broken[damage])
    seen: list[Task] = []
    again = execute(make(), out, watch=seen.append)
    assert [task.path(out) for task in seen] == [path]
    assert digests(out) == before
    assert_frame_equal(table(again), table(whole), check_exact=True)


def test_a_file_left_half_written_is_no_shard(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = prepare(make(), out)
    task = study.tasks[0]
    task.path(out).parent.mkdir(parents=True)
    task.path(out).with_name(f".{task.path(out).name}.1.partial").write_bytes(b"half")
    assert missing(study.tasks, out) == study.tasks


def test_kill_9_loses_nothing_that_was_written(make: Make, whole: Results, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    # Each shard is followed by a pause, so that the kill comes in the middle whatever the machine's
    # speed.
    code = (
        "import sys, time; from pathlib import Path; from diffdescent.lab.study import *\n"
        "config = StudyConfig.model_validate_json(sys.argv[1])\n"
        "execute(config, Path(sys.argv[2]), watch=lambda task: time.sleep(0.3))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, make().model_dump_json(), str(out)])
    try:
        deadline = time.monotonic() + 240
        while len(times(out)) < 3:
            assert time.monotonic() < deadline, "the study wrote nothing"
            assert process.poll() is None, "the study ended by itself"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = times(out)
    assert 3 <= len(before) < 12
    resumed = execute(make(), out)
    assert before.items() <= times(out).items()
    assert_frame_equal(table(resumed), table(whole), check_exact=True)


def test_shares_of_a_job_array_make_the_same_study(
    make: Make, whole: Results, tmp_path: Path
) -> None:
    out = tmp_path / "shares"
    for part in ("2/3", "1/3", "3/3"):
        study = prepare(make(), out)
        mine = share(study.tasks, part)
        assert len(mine) == 4
        assert missing(mine, out) == mine  # nobody else takes them
        run(study, mine)
    assert_frame_equal(table(gather(prepare(make(), out))), table(whole), check_exact=True)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_share_that_is_none_is_refused(make: Make, tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="write i/n with i from 1 to n"):
        share(prepare(make(), tmp_path / "out").tasks, text)


def test_images_do_not_depend_on_batches_and_shards(
    make: Make, whole: Results, tmp_path: Path
) -> None:
    other = execute(make(shard=12, batch_size=5), tmp_path / "other")
    # The exact solution steps with the worst sample of its batch, so the distance to it agrees to
    # its tolerance.
    assert_frame_equal(other.frame[["value", "cell"]], whole.frame[["value", "cell"]], rel_tol=1e-3)
    for key, pictures in whole.pictures.items():
        assert (other.pictures[key] == pictures).all()


def test_more_images_use_the_shards_that_are_there(make: Make, copy: Path) -> None:
    seen: list[Task] = []
    execute(make(n=20), copy, watch=seen.append)
    assert {task.first for task in seen} == {12, 16}


def test_unfinished_cells_are_not_reported(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        execute(make(), out, watch=stop_after(9))  # two shards of each cell, the third of one
    results = gather(prepare(make(), out))
    assert (len(results.lines), len(results.unfinished)) == (1, 3)
    with pytest.raises(UserError, match="nothing to report"):
        gather(prepare(make(seeds=5), tmp_path / "none"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"micro_batch": 5}, "micro_batch"),
        ({"shard": 6}, "shard"),
        ({"metrics": "rmse, swd"}, "kept"),
        ({"threads": 2}, "threads"),
    ],
)
def test_another_protocol_is_refused_and_named(
    make: Make, whole: Results, change: dict[str, Any], named: str
) -> None:
    before = times(whole.study.out)
    with pytest.raises(UserError, match=f"holds a study that differs in {named} \\("):
        execute(make(**change), whole.study.out)
    assert times(whole.study.out) == before


def test_folders_that_are_no_studys(make: Make, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give a folder"):
        execute(make(), tmp_path / "file")
    with pytest.raises(UserError, match="Cannot make the folder"):
        execute(make(), tmp_path / "file" / "below")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="not the folder of a study"):
        execute(make(), tmp_path / "photos")
    (copy / "study.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        execute(make(), copy)


def test_a_full_disk_is_told_and_loses_nothing(
    make: Make, whole: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "full"
    sync = os.fsync

    def full(file: int) -> None:
        if len(times(out)) == 5 and stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            UserError, match=r"Cannot write .*No space left on device; free some space"
        ):
            execute(make(), out)
    assert len(times(out)) == 5
    assert not [p for p in out.rglob("*") if p.suffix in (".tmp", ".partial")]
    assert_frame_equal(table(execute(make(), out)), table(whole), check_exact=True)


def test_scores_and_exact_solutions_are_made_again_when_lost(
    make: Make, whole: Results, copy: Path
) -> None:
    for path in [*copy.glob("scores/*"), *copy.glob("cache/*")]:
        path.write_bytes(b"damaged")
    assert_frame_equal(table(execute(make(), copy)), table(whole), check_exact=True)


def test_the_config_survives_its_record(make: Make) -> None:
    config = make(blocks=[{"seeds": [1]}])
    assert StudyConfig.model_validate_json(config.model_dump_json()) == config
