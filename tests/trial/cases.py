"""All cases: what is run, and what is expected of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from . import damage
from .commands import GOOD, INCOMPLETE, every_command, options, with_option
from .materials import STUDY, TRAIN
from .values import bad_values, registered, texts


@dataclass(frozen=True)
class Case:
    """A command in a folder of good material; ``prepare`` spoils a file of it first."""

    kind: str
    words: tuple[str, ...]
    expect: str = "refused"
    prepare: Callable[[Path], object] | None = None
    about: str = ""
    turn: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from every other case; ``turn`` counts those that look alike."""
        return self.kind, self.words, self.about, self.turn

    @property
    def title(self) -> str:
        words = " ".join(w if len(w) < 60 else f"{w[:57]}…" for w in self.words)
        return f"{words}{f'   [{self.about}]' if self.about else ''}"


def good() -> Iterator[Case]:
    """Every command as it should work: otherwise it is refused for another reason."""
    for name, _ in every_command():
        if name in GOOD and name not in INCOMPLETE:
            yield Case("good", (*name.split(), *GOOD[name]))


def bad_options() -> Iterator[Case]:
    """Every option of every command at bad values."""
    turns: Counter[tuple[str, type]] = Counter()
    for name, function in every_command():
        for option in options(name, function):
            kind = option.name if option.kind is not int else "a count"
            turn = turns[kind, option.kind]
            turns[kind, option.kind] += 1
            for value in bad_values(option, turn):
                yield Case("options", tuple(with_option(option, value)))


def bad_parts(every: int) -> Iterator[Case]:
    """Every option of every registered solver, transform and grid, at values that it refuses."""
    for command, text in list(registered())[::every]:
        yield Case("parts", (command, "--steps", "3", "--", text), expect="sane")


def any_text(count: int) -> Iterator[Case]:
    """Any text as a recipe, a grid, guidance, samples, a label or a model."""
    places = (
        ("weights", "--steps", "3", "--"),
        ("grid", "--steps", "3", "--"),
        ("explain", "--steps", "3", "--"),
        ("sample", *GOOD["sample"], "--guidance"),
        ("sample", *GOOD["sample"], "--label"),
        ("sample", *GOOD["sample"], "--samples"),
        ("compare", *GOOD["compare"], "--vary"),
        ("compare", *GOOD["compare"], "--samplers"),
        ("study", *GOOD["study"], "--set"),
        ("sample", "--n", "1", "--steps", "1", "--out", "made", "--"),
    )
    for i, text in enumerate(texts(count)):
        yield Case("texts", (*places[i % len(places)], text), expect="sane")


READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "images": (
        ("evaluate", "{}", "--reference", "photos.npz", "--resamples", "0"),
        ("evaluate", "photos", "--reference", "{}", "--resamples", "0"),
        ("sample", "images:{}", "--n", "1", "--steps", "2", "--out", "made"),
        ("sample", "tiny", "--n", "1", "--steps", "2", "--init", "{}", "--out", "made"),
        ("theory", "set", "{}", "--out", "made"),
        ("theory", "distance", "photos", "{}"),
        ("peculiarity", "count", "{}"),
        ("train", "train.yaml", "--set", "data.path={}", "--set", "out=made"),
    ),
    "image": (
        ("sample", "tiny", "--n", "1", "--steps", "2", "--init", "{}", "--out", "made"),
        ("sample", "tiny", "--n", "1", "--steps", "2", "--init", "start.png", "--mask", "{}",
         "--out", "made"),
    ),
    "yaml": (("study", "{}", "--out", "made"), ("train", "{}")),
    "json": (
        ("peculiarity", "poses", "{}"),
        ("peculiarity", "clusters", "{}", "--k", "2", "--out", "made.npz"),
        ("sample", "tiny", "--prompts", "{}", "--out", "made"),
        ("weights", "calibrated('{}')"),
        ("convert", "weights.pt", "--config", "{}", "--out", "made"),
    ),
    "weights": (
        ("convert", "{}", "--out", "made"),
        ("evaluate", "photos", "--reference", "photos.npz", "--features", "inception:{}"),
    ),
}  # fmt: skip


def hostile_files() -> Iterator[Case]:
    """The hostile files, by the commands that read their kind."""
    ours = {**damage.images(), **damage.texts_of_bytes()}
    kinds = {"images": (".zip", ".npz"), "image": (".png",), "yaml": (".yaml",), "json": (".json",),
             "weights": (".pt", ".npz", ".json", ".npy")}  # fmt: skip
    for reader, endings in kinds.items():
        for name in (n for n in ours if n.endswith(endings)):
            for words in READERS[reader]:
                yield Case("files", tuple(w.replace("{}", name) for w in words))


def spoiled_files(count: int) -> Iterator[Case]:
    """Good files cut short, with flipped bits and other bytes put in."""
    readers = {
        "photos.npz": READERS["images"][2:7:2],
        "photos.zip": READERS["images"][:3],
        "start.png": READERS["image"],
        "poses.json": READERS["json"][:1],
        "weights.pt": READERS["weights"][:1],
        "tiny/mixture.safetensors": (("sample", *GOOD["sample"]),),
        "tiny/mixture.json": (("sample", *GOOD["sample"]),),
        "study.yaml": READERS["yaml"][:1],
    }
    for name, commands in readers.items():
        for i in range(count):
            words = tuple(w.replace("{}", name) for w in commands[i % len(commands)])
            yield Case("spoiled", words, "sane", _spoil(name, i, count), f"{name}, variant {i}")


def _spoil(name: str, number: int, count: int) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        path = folder / name
        variants = list(damage.cut_and_flipped(path.read_bytes(), count))
        path.write_bytes(variants[number % len(variants)])

    return prepare


def wrong_types(limit: int) -> Iterator[Case]:
    """Documents with each of their entries at values of other types."""
    sample = ("sample", *GOOD["sample"])
    yield from _documents("study.yaml", damage.yaml_bytes, STUDY, ("study", *GOOD["study"]), limit)
    yield from _documents("train.yaml", damage.yaml_bytes, TRAIN, ("train", *GOOD["train"]), limit)
    for name, words in (
        ("tiny/mixture.json", sample),
        ("poses.json", ("peculiarity", "poses", "poses.json")),
        ("captions.json", ("sample", "tiny", "--prompts", "captions.json", "--out", "made")),
        ("net/diffdescent.json", ("sample", "net", *GOOD["sample"][1:])),
        ("guide/config.json",
         ("sample", *GOOD["sample"], "--label", "0", "--guidance", "classifier(model='guide')")),
        ("features/config.json", ("evaluate", *GOOD["evaluate"], "--features", "features")),
        ("calibrated.json", ("weights", "calibrated('calibrated.json')", "--steps", "3")),
        ("done/run.json", ("sample", *GOOD["sample"][:-1], "done")),
        ("studied/study.json", ("compare", *GOOD["compare"][:-1], "studied")),
    ):  # fmt: skip
        yield from _later(name, words, limit)
    # What diffusers wrote: every key at every wrong value.
    for name, count in (
        ("net/unet/config.json", 700),
        ("net/scheduler/scheduler_config.json", 400),
        ("net/model_index.json", 120),
    ):
        yield from _later(name, ("sample", "net", *GOOD["sample"][1:]), count)
    for i, document in enumerate(damage.documents(limit)):
        data = damage.json_bytes(document)
        words = tuple(w.replace("{}", "any.json") for w in READERS["json"][i % 5])
        yield Case("types", words, "sane", lambda f, d=data: (f / "any.json").write_bytes(d),
                   data[:60].decode())  # fmt: skip


def _documents(
    name: str, write: Callable[[object], bytes], good: object, words: tuple[str, ...], limit: int
) -> Iterator[Case]:
    # A recipe without an entry is a good one, and may take its time.
    entries_gone = name not in ("train.yaml", "study.yaml")
    for document in damage.with_wrong_types(good, limit, entries_gone):
        data = write(document)
        yield Case(
            "types", words, "sane", lambda f, d=data: (f / name).write_bytes(d),
            f"{name}: {data[:60]!r}",
        )  # fmt: skip


def _later(name: str, words: tuple[str, ...], limit: int) -> Iterator[Case]:
    """The same of a file that is only there when the material is."""

    def prepare(folder: Path, number: int) -> None:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(path)
        every = list(damage.with_wrong_types(json.loads(path.read_text()), limit))
        path.write_bytes(damage.json_bytes(every[number % len(every)]))

    for i in range(limit):
        yield Case("types", words, "sane", lambda f, n=i: prepare(f, n), f"{name}, variant {i}")


def odd_arrays(count: int) -> Iterator[Case]:
    """Arrays of any type and shape, as images, masks' places, poses and statistics."""
    places = (
        ("arr_0", ("theory", "distance", "photos", "any.npz")),
        ("arr_0", ("sample", "images:any.npz", "--n", "1", "--steps", "2", "--out", "made")),
        ("arr_0", ("sample", "tiny", "--n", "1", "--steps", "2", "--init", "any.npz", "--out",
                   "made")),
        ("kp", ("peculiarity", "poses", "any.npz")),
        ("mu", ("evaluate", "photos", "--reference", "any.npz", "--resamples", "0")),
    )  # fmt: skip
    every = damage.odd_arrays(3 * count)
    for i, (a, b, c) in enumerate(zip(every[::3], every[1::3], every[2::3], strict=False)):
        name, words = places[i % len(places)]
        more = {"arr_0": ("arr_1", "x"), "kp": ("image_id", "x"), "mu": ("sigma", "count")}[name]

        found = {name: a, more[0]: b, more[1]: c}

        def prepare(folder: Path, found: dict[str, Any] = found) -> None:
            np.savez(folder / "any.npz", **found)

        yield Case("arrays", words, "sane", prepare, f"{a.dtype}{a.shape} {b.dtype}{b.shape}")


def every_case() -> Iterator[Case]:
    """All of them."""
    turns: Counter[tuple[object, ...]] = Counter()
    for case in chain(
        good(), bad_options(), bad_parts(4), any_text(150), hostile_files(), spoiled_files(18),
        wrong_types(20), odd_arrays(75),
    ):  # fmt: skip
        turn = turns[case.key]
        turns[case.key] += 1
        yield replace(case, turn=turn)
