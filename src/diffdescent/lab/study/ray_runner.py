"""Run the shards of a study on Ray: the processors of this machine, or a cluster.

A task is one shard. Its bytes come back to the driver, which writes them, so machines need no
common disk. Ray runs the tasks of a lost worker or machine again; a sample's noise and the
network's width do not depend on where it runs, so the images are the same.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.extensions import IMPORTED, extend
from diffdescent.base.files import pack_arrays

from .config import StudyConfig
from .runner import Study, Watch, begin
from .shards import Task
from .worker import Worker

RETRIES = 5
"""How often the task of a lost worker or machine is run again before the study gives up (it can be
continued)."""
AHEAD = 2
"""Tasks handed to Ray for each processor: enough to keep it busy, few enough to hold in memory."""


@lru_cache(maxsize=1)
def _worker(config: str) -> Worker:
    """The worker of this process: its model is loaded once."""
    return Worker(StudyConfig.model_validate_json(config))


def shard(config: str, task: Task, cache: str | None, extensions: tuple[str, ...] = ()) -> bytes:
    """One shard, in a worker process, which imports the ``extensions`` first. ``cache`` is used
    where this machine has that folder."""
    for name in extensions:
        extend(name)
    folder = Path(cache) if cache is not None and Path(cache).parent.is_dir() else None
    return pack_arrays(_worker(config).run(task, folder))


@contextmanager
def cluster(address: str | None, workers: int | None, threads: int) -> Iterator[Any]:
    """A connection to Ray: the cluster at ``address``, or ``workers`` processors of this machine.

    A connection that exists already is used and left open. Raises :class:`UserError` without Ray or
    without a cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Whoever reaches Ray's ports runs what he likes: a Ray of our own asks for a token, where
        # its version knows tokens, and listens on the loopback address alone.
        if "ray" not in sys.modules:  # it reads this when it is imported
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ[_CLUSTERS] = "0"
    # What Ray will do by itself in the next version, and says so at every start until then.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "--ray needs Ray; install it with: pip install 'diffdescent[ray]'."
        ) from None
    if ray.is_initialized():
        yield ray
        return
    _listen_to_all(address is not None)
    if address is not None:
        _check_reachable(address)
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    options: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "runtime_env": environment,
    }
    if address is None:
        options |= {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False}
    try:
        ray.init(address or "local", **options)
    except (
        Exception
    ) as error:  # Ray raises a bare Exception when a node of its own does not come up in time
        where = f"no Ray cluster at {address}" if address else "no Ray on this machine"
        raise UserError(
            f"There is {where}: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's variable, which holds on every system: whether a Ray started here is one that other
machines can join, and listens on all of its addresses."""


def _listen_to_all(joined: bool) -> None:
    """The same for a Ray that was imported before the variable was set."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    if hasattr(constants, "ENABLE_RAY_CLUSTER"):
        constants.ENABLE_RAY_CLUSTER = joined
    if joined and os.environ.get(_CLUSTERS) == "0":
        del os.environ[_CLUSTERS]


def _check_reachable(address: str) -> None:
    """Ray waits for minutes for a cluster that is not there; ask first whether anybody listens."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # "auto" and the like, which Ray looks up by itself
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"There is no Ray cluster at {address} ({error}); start one with: ray start --head, or"
            " leave --address out."
        ) from None


def check_room(ray: Any, threads: int, gpu: bool) -> None:
    """Ray waits for ever for a machine that is large enough; say so instead. Raises
    :class:`UserError`."""
    rooms = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(
        room.get("CPU", 0) >= threads and (not gpu or room.get("GPU", 0) >= 1) for room in rooms
    ):
        return
    most = max((int(room.get("CPU", 0)) for room in rooms), default=0)
    needed = f"{threads} processors" + (" and a GPU" if gpu else "")
    raise UserError(
        f"A task needs {needed}, and Ray has no machine with that (the largest has {most}"
        " processors); lower --threads, raise --workers, or run without --ray."
    )


def run(
    study: Study,
    tasks: list[Task],
    watch: Watch | None = None,
    *,
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Run ``tasks`` on Ray; each shard is written as it comes back.

    Raises :class:`UserError` for bad input found by a worker, and when workers are lost again and
    again; what was written stays.
    """
    if study.given:
        raise UserError(
            "Ray's workers load the model by its name, and this one was made in this process; run"
            " it without Ray, or save the model as a folder."
        )
    threads = study.config.threads
    with cluster(address, workers, threads) as ray:
        gpus = {"num_gpus": 1} if study.worker.device.type == "cuda" else {}
        if tasks and address is None:  # a cluster elsewhere may grow
            check_room(ray, threads, bool(gpus))
        begin(study)
        remote = ray.remote(num_cpus=threads, max_retries=RETRIES, **gpus)(shard)
        config = ray.put(study.config.model_dump_json())
        cache = None if study.kept is None else str(study.kept.resolve())
        extensions = tuple(IMPORTED.values())
        waiting = list(reversed(tasks))
        running: dict[Any, Task] = {}
        lost: dict[Task, int] = {}
        while waiting or running:
            ahead = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
            while waiting and len(running) < ahead:
                task = waiting.pop()
                running[remote.remote(config, task, cache, extensions)] = task
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                task = running.pop(reference)
                try:
                    data = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, UserError):
                        raise error.cause from None
                    raise
                except ray.exceptions.RayError as error:
                    lost[task] = lost.get(task, 0) + 1
                    if lost[task] > RETRIES:
                        raise UserError(
                            f"The workers of samples {task.first}–{task.last} of"
                            f" {task.cell.sampler!r} were lost {lost[task]} times"
                            f" ({type(error).__name__}); look at their memory, then run the same"
                            " command again to go on."
                        ) from None
                    waiting.append(task)
                    continue
                study.store.write(task.name, data)
                if watch is not None:
                    watch(task)
