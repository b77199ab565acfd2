"""Files that are damaged, hostile or of another kind, made from good ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from .values import examples

Make = Callable[[Path], object]


class Runs:
    """What a pickle must never do: making a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pwned",))


def write_hostile(folder: Path) -> None:
    """The files that every command is given in place of a good one."""
    os.mkfifo(folder / "fifo")
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(4000))
    for name, make in {**images(), **texts_of_bytes()}.items():
        make(folder / name)


def images() -> dict[str, Make]:
    """Sets of images that cannot be read, or must not."""
    return {
        "bomb.png": lambda p: p.write_bytes(_png(30000, 30000)),
        "large.png": lambda p: p.write_bytes(_png(14000, 14000)),
        "cut.png": lambda p: p.write_bytes(_png(8, 8)[:40]),
        "bombs.zip": lambda p: _zip(p, {"a.png": _png(30000, 30000)}),
        "locked.zip": _locked,
        "odd.zip": _oddly_compressed,
        "cut.zip": lambda p: p.write_bytes(_zip_bytes({"a.png": _png(8, 8)})[:60]),
        "flat.zip": lambda p: _zip(p, {"a.png": b"\0" * (1 << 28)}),
        "text.zip": lambda p: _zip(p, {"a.txt": b"text"}),
        "empty.zip": lambda p: _zip(p, {}),
        "pickled.npz": lambda p: np.savez(p, arr_0=np.array([{"a": 1}, None], dtype=object)),
        "float.npz": lambda p: np.savez(p, arr_0=np.zeros((3, 8, 8, 3))),
        "flat.npz": lambda p: np.savez(p, arr_0=np.zeros(12, np.uint8)),
        "none.npz": lambda p: np.savez(p, arr_0=np.zeros((0, 8, 8, 3), np.uint8)),
        "void.npz": lambda p: np.savez(p, arr_0=np.zeros((3, 0, 0, 3), np.uint8)),
        "named.npz": lambda p: np.savez(p, photos=np.zeros((3, 8, 8, 3), np.uint8)),
        "labels.npz": lambda p: np.savez(
            p, arr_0=np.zeros((3, 8, 8, 3), np.uint8), arr_1=np.array([1 << 63] * 3, np.uint64)
        ),
        "promise.npz": _promise,
        "pickle.npz": lambda p: p.write_bytes(pickle.dumps(Runs())),
        "pickle.pt": lambda p: p.write_bytes(pickle.dumps({"model": Runs()})),
        "pickle.npy": lambda p: np.save(p, np.array([Runs()], dtype=object)),
    }


def texts_of_bytes() -> dict[str, Make]:
    """YAML and JSON that do not parse, or must not be followed."""
    texts = {
        "latin.yaml": "title: Größe\n".encode("latin-1"),
        "tag.yaml": b"model: !!python/object/apply:os.mkdir [pwned]\n",
        "date.yaml": b"model: 2020-13-45\nn: 2020-01-01\n",
        "deep.yaml": b"a: " + b"[" * 5000,
        "laughs.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n".encode()
            for a, b in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "nul.yaml": b'model: "a\\0b"\nsamplers: [ddim]\nnfe: [3]\n',
        "cycle.yaml": b"&a {model: *a}\n",
        "keys.yaml": b"1: 2\nnull: 3\n[1]: 2\n",
        "list.yaml": b"- 1\n- 2\n",
        "bell.yaml": b"title: \x07\x00\n",
        "empty.yaml": b"",
        "digits.yaml": b"n: " + b"9" * 5000 + b"\n",
        "deep.json": b"[" * 100000,
        "nan.json": b'{"annotations": [{"keypoints": [NaN, Infinity]}]}',
        "list.json": b"[1, 2, 3]",
        "text.json": b'"text"',
        "null.json": b"null",
        "latin.json": '{"a": "Größe"}'.encode("latin-1"),
        "digits.json": b'{"annotations": ' + b"9" * 5000 + b"}",
        "empty.json": b"",
    }
    return {name: (lambda p, data=data: p.write_bytes(data)) for name, data in texts.items()}


def _png(width: int, height: int) -> bytes:
    """A grey PNG that promises so many pixels and holds few of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    row = b"\0" * (width + 1)
    rows = zlib.compress(row * min(height, 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _zip_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _zip(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(_zip_bytes(members))


def _locked(path: Path) -> None:
    """A zip whose member says that it is encrypted: bit 0 of its flags."""
    data = bytearray(_zip_bytes({"a.png": _png(8, 8)}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))


def _oddly_compressed(path: Path) -> None:
    """A zip whose member has a compression method that nobody knows."""
    data = bytearray(_zip_bytes({"a.png": _png(8, 8)}))
    data[8] = 97
    data[data.index(b"PK\x01\x02") + 10] = 97
    path.write_bytes(bytes(data))


def _promise(path: Path) -> None:
    """An npz whose array says that it has 10¹² bytes, and has none."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 333, 3)}
    np.lib.format.write_array_header_1_0(buffer, header)
    _zip(path, {"arr_0.npy": buffer.getvalue()})


def cut_and_flipped(data: bytes, count: int) -> Iterator[bytes]:
    """``data`` cut short, with flipped bits, emptied and with other bytes put in."""
    yield b""
    random = np.random.default_rng(len(data))
    for share in np.linspace(0.02, 0.98, max(count // 3, 1)):
        yield data[: int(share * len(data))]
    for _ in range(count // 3):
        changed = bytearray(data)
        for at in random.integers(0, len(data), 3):
            changed[at] ^= 1 << int(random.integers(8))
        yield bytes(changed)
    for _ in range(count // 3):
        at = int(random.integers(0, len(data)))
        yield data[:at] + random.bytes(20) + data[at:]


WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, "x", "[/x]", [], {}, [None], {"a": 1}, 10**30, float("nan"),
    float("inf"), [[[]]], "9" * 400,
)  # fmt: skip


def with_wrong_types(document: Any, limit: int, gone: bool = True) -> Iterator[Any]:
    """The document with each entry in it at values of other types, at most ``limit`` of them, and
    with ``gone`` without each of them."""
    places = list(_places(document, ()))
    every = [(place, wrong) for wrong in WRONG for place in places]
    step = max(1, len(every) // limit)
    for place, wrong in every[::step]:
        yield _replaced(document, place, wrong)
    for place in places:
        if gone and place and isinstance(place[-1], str):
            yield _without(document, place)


def _places(document: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*way, key))
    elif isinstance(document, list) and document:
        yield from _places(document[0], (*way, 0))


def _replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copied = document.copy()
    copied[place[0]] = _replaced(document[place[0]], place[1:], value)
    return copied


def _without(document: Any, place: tuple[Any, ...]) -> Any:
    copied = document.copy()
    if len(place) == 1:
        del copied[place[0]]
    else:
        copied[place[0]] = _without(document[place[0]], place[1:])
    return copied


def json_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def yaml_bytes(document: Any) -> bytes:
    return yaml.safe_dump(document).encode()  # type: ignore[no-any-return]


def odd_arrays(count: int) -> list[np.ndarray[Any, Any]]:
    """Arrays of any type and of odd shapes."""
    kinds = arrays.scalar_dtypes()
    shapes = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
    return examples(arrays.arrays(kinds, shapes), count)


def documents(count: int) -> list[Any]:
    """Any JSON at all."""
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
    return examples(
        st.recursive(
            leaves,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        count,
    )
