"""The same study on a Ray cluster: one of its nodes, and the workers of another, are killed in the
middle."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffdescent.base.errors import UserError
from diffdescent.lab.study import execute, prepare, ray_runner
from diffdescent.lab.study.shards import Task
from tests.end_to_end.study.test_resume import digests, times
from tests.paths import ROOT
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


def listening(session: int) -> set[str]:
    """The addresses on which this process and the processes of a Ray session listen, as the kernel
    writes them."""
    sockets: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if session not in _ancestry(int(process.name)):
                continue
            for link in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(link))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listed = (line for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets)
    return {line[1].split(":")[0] for line in listed}


def _ancestry(process: int) -> list[int]:
    """A process and those that started it."""
    found = []
    while process:
        found.append(process)
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
        process = int(after_name.split()[1])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_ray_of_our_own_is_reached_from_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process of its own: Ray reads these settings once."""
    script = (
        "import os, sys\n"
        "from diffdescent.lab.study import ray_runner\n"
        "with ray_runner.cluster(None, 1, 1) as ray:\n"
        "    from tests.end_to_end.study.test_ray import listening, LOOPBACK\n"
        "    assert ray.get(ray.remote(lambda: 3).remote()) == 3\n"
        "    found = listening(os.getpid())\n"
        "    assert found and found <= LOOPBACK, found\n"
        "    from ray import _raylet\n"
        "    mode = getattr(_raylet, 'get_authentication_mode', None)\n"
        "    assert mode is None or mode() == _raylet.AuthenticationMode.TOKEN\n"
        "print('RAY', ray.__version__, os.environ['RAY_AUTH_MODE'])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_raylet_start_wait_time_s": "180"}
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        environment.pop(name, None)
    path = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "RAY" in done.stdout


def test_a_full_disk_of_a_worker_is_one_sentence_and_costs_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of a shard come back to the driver; what a worker keeps for itself is its cache of
    exact solutions."""
    study = prepare(make(), tmp_path / "out")
    (tmp_path / "out" / "cache").mkdir(parents=True)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    config, cache = study.config.model_dump_json(), str(tmp_path / "out" / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"Cannot write .*cache.*No space left on device"):
            ray_runner.shard(config, study.tasks[0], cache)
    assert not list((tmp_path / "out" / "cache").iterdir())
    shards = [ray_runner.shard(config, study.tasks[0], place) for place in (cache, None)]
    first, second = (str(np.load(io.BytesIO(data))["sha256"]) for data in shards)
    assert first == second


DRIVER = """
import sys
from pathlib import Path
from diffdescent.apps.cli.boundary import boundary
from diffdescent.lab.study import StudyConfig, execute
config = StudyConfig.model_validate_json(Path(sys.argv[1]).read_text())
with boundary():
    execute(config, Path(sys.argv[2]), watch=lambda task: print("shard", flush=True),
            ray=True, address=sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes")
def test_a_lost_head_loses_nothing_and_makes_nothing_twice(
    make: Make, cluster: Any, tmp_path: Path
) -> None:
    """Without its head a cluster is gone, and Ray may take the driver with it. What came back is
    whole, and the same study goes on from there, here without Ray."""
    config = make(n=120)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    (tmp_path / "study.json").write_text(config.model_dump_json())
    path = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "study.json", "lost", cluster.address],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path),
             "RAY_gcs_rpc_server_reconnect_timeout_s": "5"},
    )  # fmt: skip
    assert driver.stdout is not None
    for _ in range(3):
        assert driver.stdout.readline() == "shard\n"
    cluster.remove_node(cluster.head_node, allow_graceful=False)
    driver.communicate(timeout=240)
    assert driver.returncode != 0
    before = times(tmp_path / "lost")
    assert 3 <= len(before) < 120
    assert not list((tmp_path / "lost").rglob("*.partial"))
    execute(config, tmp_path / "lost")
    after = times(tmp_path / "lost")
    assert {name: after[name] for name in before} == before
    execute(config, tmp_path / "whole")
    assert digests(tmp_path / "lost") == digests(tmp_path / "whole")
