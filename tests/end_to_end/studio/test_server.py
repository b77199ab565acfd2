"""The studio through its server, asked as its page asks it: how soon the first preview comes, and
that nothing is kept of the runs."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio", reason="the studio needs Gradio")

import httpx
from benchmarks.studio import Window, first_preview

from diffdescent.apps.studio.models import Models
from diffdescent.apps.studio.restoration import MOST_BYTES
from diffdescent.apps.studio.server import open_page, serve
from diffdescent.apps.studio.state import State


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


@pytest.fixture(scope="module")
def address(models: Models) -> Iterator[str]:
    page = open_page(models)
    yield serve(page, "127.0.0.1", None)
    page.close()


def test_the_first_preview_comes_within_three_seconds(address: str, models: Models) -> None:
    models.get("cifar10-mixture")
    first, _ = first_preview(Window(address), converged=0, budget=2)
    assert 0 < first < 3


@pytest.mark.slow
def test_on_a_network_within_ten_seconds_with_its_weights_not_yet_loaded(
    address: str, models: Models
) -> None:
    models.warm()
    first, _ = first_preview(Window(address), model="cifar10", converged=0, budget=2)
    assert 0 < first < 10


def test_a_mistake_comes_without_a_run(address: str) -> None:
    said = list(Window(address).compare(recipe1="ddim | nope"))
    assert any("Unknown sampler or transform &#x27;nope&#x27;" in message for message in said)
    assert not any("data-live" in message for message in said)


def test_messages_hold_what_has_changed(address: str) -> None:
    """For an output that a message skips, Gradio makes a component anew; none is skipped."""
    said = list(Window(address).compare(converged=0, budget=3, images=1))
    assert sum("process_generating" in message for message in said) == 1 + 4 * 4 + 1
    assert not any("__type__" in message for message in said)


@pytest.mark.slow
def test_memory_is_flat(address: str) -> None:
    """200 comparisons, once the visitors' places are taken and every thread has worked.

    What is counted is memory in use. The resident memory also holds what glibc has freed and keeps
    for each thread: up to the most that one run of this thread has ever needed, 40 MiB and more
    after a network has run, which comes and goes with the thread that a run happens to get.
    """
    window = Window(address)
    small = {"converged": 0, "budget": 3, "images": 1}

    def held(runs: range) -> tuple[int, int, float]:
        for seed in runs:
            list(window.compare(seed=seed, **small))
        gc.collect()
        return len(gc.get_objects()), sys.getallocatedblocks(), _in_use()

    objects, blocks, memory = held(range(40))
    objects_after, blocks_after, memory_after = held(range(40, 240))
    assert objects_after - objects < 5000  # of 400,000; 25 a run would be a leak
    assert blocks_after - blocks < 10_000  # of 1,500,000: Python's own memory, some 1 MiB
    assert memory_after - memory < 2  # MiB, all other memory; an image of every run would be 2.3


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _in_use() -> float:
    """MiB that are allocated, of all threads."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("the memory that is in use can only be told with glibc of 2.33 or later")
    libc.mallinfo2.restype = _Mallinfo
    found = libc.mallinfo2()
    return float(found.uordblks + found.hblkhd) / 2**20


def test_the_server_refuses_a_large_upload(address: str) -> None:
    """The page refuses it before; whoever asks without the page is refused, too."""
    url = f"{address.rstrip('/')}/gradio_api/upload"
    assert httpx.post(url, files={"files": ("a.png", bytes(MOST_BYTES // 2))}).status_code == 200
    assert httpx.post(url, files={"files": ("a.png", bytes(9 << 20))}).status_code == 413


def test_the_fields_of_the_address_are_the_fields_of_the_page(address: str) -> None:
    """The ids that these tests change exist."""
    shown = {part.get("elem_id") for part in Window(address)._parts.values()}
    assert {"seed", "images", "budget", "converged", "model", "recipe1"} <= shown
    assert State().converged == 64


@pytest.mark.parametrize(("name", "code"), [("localhost", 200), ("elsewhere.example", 400)])
def test_it_is_asked_by_its_own_name(address: str, name: str, code: int) -> None:
    """A page of elsewhere may lead its own name to this machine, and must not be answered."""
    port = urlsplit(address).port
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/config", headers={"Host": f"{name}:{port}"})
    assert connection.getresponse().status == code
