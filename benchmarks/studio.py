"""The studio through its server: seconds until the first preview, and memory over many runs.

Usage: python benchmarks/studio.py [--runs 200] [--visitors 1] [--models cifar10-mixture,cifar10]

``diffdescent studio`` is started as a command, and asked as its page asks it. Of each model: the
seconds from the click to the first preview and to the end, of four recipes of 8 evaluations, 4
images, with the weights in memory. Then, on the first model, the resident memory of the server
(MiB) over ``--runs`` comparisons of 4 evaluations, 1 image and a converged solution of 4, made by
``--visitors`` windows in turn.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

SMALL = {"budget": 4, "images": 1, "converged": 4}
"""The comparison that is repeated."""


class Window:
    """One visitor's page: its fields as they stand there, and what the server sends."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, timeout=300)
        config = self._client.get("/config").json()
        self._session = secrets.token_hex(5)
        self._parts = {one["id"]: one["props"] for one in config["components"]}
        self._events = config["dependencies"]
        self._button = next(i for i, p in self._parts.items() if p.get("elem_id") == "run")

    def compare(self, **fields: Any) -> Iterator[str]:
        """Click *Run* with these fields changed, by their ids; every message as it comes."""
        check = next(e for e in self._events if [self._button, "click"] in e["targets"])
        work = next(e for e in self._events if e["trigger_after"] == check["id"])
        shown = [self._parts[i] for i in check["inputs"]]
        values = [fields.get(part.get("elem_id", ""), part.get("value")) for part in shown]
        yield from self._asked(check["id"], values)
        yield from self._asked(work["id"], [None] * len(work["inputs"]))

    def _asked(self, event: int, values: list[Any]) -> Iterator[str]:
        body = {"data": values, "fn_index": event, "session_hash": self._session}
        sent = self._client.post(
            "/gradio_api/queue/join", json={**body, "event_data": None, "trigger_id": self._button}
        )
        sent.raise_for_status()
        here = {"session_hash": self._session}
        with self._client.stream("GET", "/gradio_api/queue/data", params=here) as stream:
            for line in stream.iter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line.removeprefix("data:"))
                if not message.get("success", True):
                    raise RuntimeError(line)
                yield line
                if message["msg"] == "close_stream":
                    return


@contextmanager
def studio(model: str) -> Iterator[tuple[str, int]]:
    """The command under way: its address and its process number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call = "from diffdescent.apps.cli.app import main; main()"
    words = [sys.executable, "-c", call, "studio", model, "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            yield _answering(f"http://127.0.0.1:{port}", process), process.pid
        finally:
            process.terminate()


def _answering(address: str, process: subprocess.Popen[bytes]) -> str:
    while process.poll() is None:
        with suppress(httpx.HTTPError):
            httpx.get(address)
            return address
        time.sleep(0.1)
    raise RuntimeError("The studio did not start.")


def first_preview(window: Window, **fields: Any) -> tuple[float, float]:
    """Seconds from the click to the first preview, and to the end."""
    begun, first = time.perf_counter(), 0.0
    for message in window.compare(**fields):
        if not first and "data-live" in message:
            first = time.perf_counter() - begun
    return first, time.perf_counter() - begun


def resident(process: int) -> float:
    """MiB that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text("utf-8"))
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--visitors", type=int, default=1)
    parser.add_argument("--models", default="cifar10-mixture,cifar10")
    args = parser.parse_args()
    models = args.models.split(",")
    for model in models:
        with studio(model) as (address, _):
            first, whole = first_preview(Window(address))
            print(f"{model}: first preview after {first:.2f} s, all after {whole:.1f} s")
    with studio(models[0]) as (address, process):
        windows = [Window(address) for _ in range(args.visitors)]
        for done in range(args.runs + 1):
            if done % 20 == 0:
                print(f"after {done:3} runs {resident(process):.1f} MiB", flush=True)
            list(windows[done % len(windows)].compare(seed=done, **SMALL))


if __name__ == "__main__":
    main()
