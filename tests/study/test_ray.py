"""The same study on a Ray cluster of several local nodes, one of which is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffdescent.errors import UserError
from diffdescent.study import execute
from diffdescent.study.shards import Task

from .conftest import Make
from .test_resume import digests, times

ray = pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "180")  # a busy machine starts a node slowly
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def test_a_node_that_is_killed_changes_no_image(make: Make, cluster: Any, tmp_path: Path) -> None:
    execute(make(), tmp_path / "local")
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    done: list[Task] = []

    def watch(task: Task) -> None:
        done.append(task)
        if len(done) == 2:
            cluster.remove_node(nodes[0], allow_graceful=False)

    execute(make(), tmp_path / "cluster", watch=watch, ray=True, address=cluster.address)
    assert len(done) == len(set(done)) == 12  # every shard once
    assert digests(tmp_path / "cluster") == digests(tmp_path / "local")
    before = times(tmp_path / "cluster")
    execute(make(), tmp_path / "cluster", ray=True, address=cluster.address)
    assert times(tmp_path / "cluster") == before


def test_no_cluster_at_the_address(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no Ray cluster at 127\.0\.0\.1:1"):
        execute(make(), tmp_path / "out", ray=True, address="127.0.0.1:1")
