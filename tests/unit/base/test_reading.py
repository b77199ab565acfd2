"""Files of others: what is no ordinary file, no JSON, no YAML, no npz is refused in one sentence,
and nothing is unpacked beyond its limits."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from diffdescent.base import images, memory
from diffdescent.base.archives import read_member
from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import read_images
from diffdescent.base.images import read_image
from diffdescent.base.memory import free_memory, require_memory
from diffdescent.base.npz import load_arrays
from diffdescent.base.reading import parse_json, read_bytes, reason, require_file, understood
from diffdescent.base.yaml_text import parse_yaml, read_yaml
from tests.trial import damage


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "a pipe"), (tmp_path, "a folder"), (Path("/dev/null"), "a device")):
        with pytest.raises(UserError, match=f"is {kind}, not a file"):
            require_file(path)
    with pytest.raises(UserError, match="There is no recipe"):
        require_file(tmp_path / "no", "recipe")
    for read in (read_images, read_image, load_arrays, read_yaml):
        with pytest.raises(UserError, match="is a pipe"):
            read(pipe)  # type: ignore[operator]


def test_a_path_that_is_too_long_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"'x{160}…' cannot be read: File name too long"):
        read_bytes(Path("x" * 300))


def test_reasons_have_no_addresses_and_no_advice_to_unpickle() -> None:
    said = reason(ValueError("cannot identify image file <_io.BytesIO object at 0x7f00aa>"))
    assert said == "cannot identify image file it"
    advice = "Object arrays cannot be loaded when allow_pickle=False"
    assert reason(ValueError(advice)) == "it holds Python objects, which could run code"
    assert reason(ValueError("a\nb" + "c" * 400)) == f"a b{'c' * 157}…"
    assert reason(KeyError("means")) == "it lacks 'means'"
    assert reason(ZeroDivisionError()) == "zero division error"


def test_reasons_pass_on_nothing_that_is_for_pytorchs_authors() -> None:
    asks = RuntimeError("Expected a version. (Could this error message be improved? If so, …)")
    assert reason(asks) == "Expected a version"  # the sentence around it has a stop
    large = RuntimeError('failed to unpack the object at pos 1 with error "Overflow when unpacking')
    assert reason(large) == "a number in it is too large"
    assert reason(RuntimeError("no such Exception raised from f at x.cpp:1")) == "no such"


def test_what_a_damaged_file_raises_is_bad_input_and_memory_is_not() -> None:
    told = pytest.raises(UserError, match=r"f cannot be read as a mixture \(boom\)")
    with told, understood("f", "a mixture"):
        raise AttributeError("boom")
    with pytest.raises(MemoryError), understood("f", "a mixture"):
        raise MemoryError


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{", f"[{'9' * 5000}]", b"\xff\xfe\x00"])
def test_json_that_does_not_parse(text: str | bytes) -> None:
    with pytest.raises(UserError, match=r"^f is "):
        parse_json(text, "f")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is not YAML"),
        ("a: !!python/object/apply:os.mkdir [x]", "is not YAML"),
        ("a: 2020-13-45", "is not YAML"),
        ("a: 2020-01-01", "holds 2020-01-01, a date"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than 50"),
        ("&a {b: *a}", "nested deeper than 50"),
        ("1: 2", "has the key 1, which is not text"),
        ('a: "\\0"', "NUL"),
        ("a: \0", "NUL"),
        (f"a: {'9' * 400}", "more than 308 digits"),
        (f"a: {'9' * 5000}", "is not YAML"),
        ("n: 3\nb: {n: 1}\nn: 4", r"key 'n' is given twice, the second time in line 3; leave one"),
        ("b: {x: 1, 'x': 2}", "key 'x' is given twice"),
    ],
)
def test_yaml_of_plain_values_alone(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        parse_yaml(text, "it")
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_yaml(path)


def test_yaml_that_repeats_itself_a_billion_times(tmp_path: Path) -> None:
    damage.texts_of_bytes()["laughs.yaml"](tmp_path / "a.yaml")
    with pytest.raises(UserError, match="more than 100000 values"):
        read_yaml(tmp_path / "a.yaml")
    assert parse_yaml("a: &x [1, 2]\nb: *x", "it") == {"a": [1, 2], "b": [1, 2]}
    merged = "a: &a {n: 1}\nb: &b {<<: *a, n: 2}\nc: {<<: *b}\nd: {<<: *b, n: 3}"
    found = parse_yaml(merged, "it")
    assert [found[name]["n"] for name in "abcd"] == [1, 2, 2, 3], "a merged key is no second one"
    with pytest.raises(UserError, match="'<<' takes one mapping here"):
        parse_yaml("a: &a {n: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}", "it")


def test_long_values_are_not_quoted_in_full() -> None:
    numbers = [i / 7 for i in range(1000)]
    said = str(UserError(f"The knots {numbers} do not rise; give others."))
    assert len(said) < 300
    assert said.startswith("The knots [0.0, 0.14285714285714285, ")
    assert said.endswith("…, 142.71428571428572] do not rise; give others.")
    rows = [[i, -1e-9, None] for i in range(500)]
    assert len(str(UserError(f"The matrix {rows} is no rotation."))) < 300
    assert len(str(UserError(f"Unknown grid {'x' * 9000!r}; give another."))) < 400
    curves = tuple((9.0,) for _ in range(400))
    assert len(str(UserError(f"It needs 2 curves, not {curves}."))) < 300
    names = ", ".join(f"name{i}" for i in range(200))
    assert str(UserError(f"Allowed: {names}.")) == f"Allowed: {names}."
    few = f"The steps {list(range(20))} are few."
    assert str(UserError(few)) == few


def test_latin_1_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("title: Größe".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")


def test_arrays_that_promise_more_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage.images()["promise.npz"](tmp_path / "a.npz")
    with pytest.raises(UserError, match="999000000000 bytes are promised and 128 are there"):
        load_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", a=np.zeros(1000), b=np.zeros(2))
    assert load_arrays(tmp_path / "b.npz", ("b", "c")).keys() == {"b"}
    monkeypatch.setattr(memory, "free_memory", lambda: 5000)
    with pytest.raises(UserError, match=r"GiB of memory, and .* are free"):
        load_arrays(tmp_path / "b.npz")


def test_arrays_of_objects_and_pickles_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", arr_0=np.array([damage.Runs()], dtype=object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(damage.Runs()))
    with pytest.raises(UserError, match="holds Python objects, which could run code"):
        load_arrays(tmp_path / "a.npz")
    with pytest.raises(UserError, match="cannot be read as an npz"):
        load_arrays(tmp_path / "b.npz")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["bomb.png", "large.png"])
def test_a_huge_image_is_refused_before_it_is_decoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    damage.images()[name](path)
    with pytest.raises(UserError, match=r"64 megapixels are the most; make it smaller"):
        read_image(path)
    with pytest.raises(UserError, match="64 megapixels are the most"):
        read_images(tmp_path)
    with pytest.raises(UserError, match="no readable image"):
        read_images(tmp_path, skip_bad=True)


def test_an_image_of_the_stated_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 64)
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1).shape == (1, 8, 8)
    Image.new("L", (8, 9)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="8×9 pixels"):
        read_image(tmp_path / "a.png", 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("locked.zip", "it is encrypted"),
        ("odd.zip", "compression"),
        ("bombs.zip", "megapixels are the most"),
    ],
)
def test_members_that_cannot_be_read_are_named_and_skipped(
    name: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    damage.images()[name](path)
    with pytest.raises(UserError, match=rf"The image a\.png in .*{why}"):
        read_images(path)
    with pytest.raises(UserError, match="no readable image"):
        read_images(path, skip_bad=True)


def test_a_member_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 1000)
        archive.getinfo("a").file_size = 1 << 40
        with pytest.raises(ValueError, match="1048576 MiB unpacked, and 256 are the most"):
            read_member(archive, "a")


def test_memory_that_is_not_there_is_said_before() -> None:
    assert free_memory() > 0
    require_memory(1, "It", "give less")
    with pytest.raises(UserError, match=r"It takes 1.05e\+06 GiB of memory, and .*; give less\."):
        require_memory(1 << 50, "It", "give less")


def test_what_a_process_has_taken_of_its_limit_is_not_free() -> None:
    """As batch systems limit it; asking for what is said to be free must then succeed."""
    program = (
        "import resource\n"
        "from pathlib import Path\n"
        "from diffdescent.base.memory import free_memory\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "limit = size + (256 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "free = free_memory()\n"
        "assert free <= 256 << 20, free\n"
        "bytearray(free - (32 << 20))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_cached_files_of_a_control_group_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (
        ("most", "9000"),
        ("used", "8000"),
        ("memory.stat", "anon 5\ninactive_file 600"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_GROUPS", ((str(tmp_path), "most", "used"),))
    assert free_memory() == 1600
    (tmp_path / "most").write_text("max")
    assert free_memory() > 1600
