"""The same study on a Ray cluster: one of its nodes, and the workers of another, are killed in the
middle."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffdescent.base.errors import UserError
from diffdescent.lab.study import execute, ray_runner
from diffdescent.lab.study.shards import Task
from tests.end_to_end.study.test_resume import digests, times
from tests.unit.lab.study.conftest import Make

ray = pytest.importorskip("ray", reason="Ray is not installed")

# One cluster on a machine at a time, also where tests run in several processes.
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "180")  # a busy machine starts a node slowly
    from ray.cluster_utils import Cluster

    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def workers_of(node: Any) -> list[int]:
    """The process ids of a node's workers (its agents are called ray::… too, and a node dies with
    them)."""
    parent = node.all_processes["raylet"][0].process.pid
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # a process that has just ended
            same = int(stat.read_text().rpartition(")")[2].split()[1]) == parent
            if same and (stat.parent / "cmdline").read_bytes().startswith(
                (b"ray::shard", b"ray::IDLE")
            ):
                found.append(int(stat.parent.name))
    return found


def test_a_killed_node_and_killed_workers_change_no_image(
    make: Make, cluster: Any, tmp_path: Path
) -> None:
    execute(make(), tmp_path / "local")
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    with (
        ray_runner.cluster(cluster.address, None, 1) as connected,
        pytest.raises(UserError, match="needs 64 processors, and Ray has no machine with that"),
    ):
        ray_runner.check_room(connected, 64, gpu=False)
    done: list[Task] = []
    killed: list[int] = []

    def watch(task: Task) -> None:
        done.append(task)
        if len(done) == 2:
            cluster.remove_node(nodes[0], allow_graceful=False)
        if len(done) == 6 and sys.platform == "linux":
            for pid in workers_of(nodes[1]):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    execute(make(), tmp_path / "cluster", watch=watch, ray=True, address=cluster.address)
    assert killed or sys.platform != "linux"
    assert len(done) == len(set(done)) == 12  # every shard once
    assert digests(tmp_path / "cluster") == digests(tmp_path / "local")
    before = times(tmp_path / "cluster")
    execute(make(), tmp_path / "cluster", ray=True, address=cluster.address)
    assert times(tmp_path / "cluster") == before


def test_no_cluster_at_the_address(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no Ray cluster at 127\.0\.0\.1:1"):
        execute(make(), tmp_path / "out", ray=True, address="127.0.0.1:1")
