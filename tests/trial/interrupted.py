"""Kills, signals, full disks, damage and rivals over every command that keeps something: whatever
happens, the same command goes on to what an uninterrupted one makes."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from diffdescent.base import files

from .injection import Act, at_writes, count_to, kill_at, refuse_from, signal_at
from .judge import PATIENCE, Ended, _wait, attempt, changed, command, faults, tree
from .kept import kept
from .passed import Passed

KEEPERS: dict[str, tuple[str, ...]] = {
    "sample": (
        "sample", "tiny", "--n", "6", "--steps", "2", "--batch-size", "2", "--out", "made", "-q",
    ),
    "compare": (
        "compare", "tiny", "--samplers", "ddim; ge", "--nfe", "3", "--n", "4", "--shard-size", "2",
        "--resamples", "2", "--reference", "small.npz", "--metrics", "fd", "--out", "made", "-q",
    ),
    "calibrate": (
        "calibrate", "tiny", "--out", "made/fit.json", "--nfe", "3", "--trajectories", "8",
        "--held-out", "8", "--teacher", "12", "--bands", "1", "--end-to-end", "0", "-q",
    ),
    "conflicts": (
        "conflicts", "net", "--guidance", "classifier(model='guide')", "--n", "2", "--sampler",
        "ddpm | threshold",
        "--steps", "3", "--out", "made", "-q",
    ),
    "landscape": (
        "landscape", "tiny", "--samplers", "ddim", "--steps", "3", "--around", "2",
        "--reference-steps", "4", "--counts", "2", "--out", "made", "--json",
    ),
    "theory error": ("theory", "error", "tiny", "--n", "2", "--steps", "2", "--out", "made"),
    "theory set": ("theory", "set", "photos", "--out", "made"),
    "theory ideal": (
        "theory", "ideal", "images:photos", "--n", "2", "--steps", "2", "--out", "made",
    ),
    "theory lowrank": (
        "theory", "lowrank", "--size", "8", "--steps", "2", "--n", "4", "--out", "made",
    ),
    "theory constrained": ("theory", "constrained", "--steps", "3", "--n", "2", "--out", "made"),
    "peculiarity check": (
        "peculiarity", "check", "--n", "2", "--strength", "0", "--out", "made", "-q",
    ),
    "peculiarity perturb": ("peculiarity", "perturb", "poses.json", "--out", "made"),
    "explain": ("explain", "ddim", "--steps", "3", "--out", "made"),
    "train": ("train", "train.yaml", "--set", "out=made", "--set", "run.picture_every=2"),
}  # fmt: skip
"""Commands that keep something in the folder ``made``."""

RIVALS = {
    "sample": ["--seed", "7"],
    "compare": ["--micro-batch", "3"],
    "conflicts": ["--seed", "7"],
    "landscape": ["--spread", "0.5"],
    "theory error": ["--seed", "7"],
    "theory set": ["--tangents", "3"],
    "theory ideal": ["--seed", "7"],
    "theory lowrank": ["--seed", "7"],
    "theory constrained": ["--seed", "7"],
    "peculiarity check": ["--others", "1"],
    "peculiarity perturb": ["--seed", "7"],
    "explain": ["--steps", "4"],
    "train": ["--set", "optimizer.lr=0.01"],
}
"""What gives a command other settings, so that of two in one folder one must be refused."""


class Keeper:
    """A command in a folder of its own, and what it makes when nothing happens."""

    def __init__(self, name: str, material: Path, work: Path) -> None:
        self.name, self.words = name, list(KEEPERS[name])
        self.material, self.work, self.count = material, work, 0
        self.once = name == "calibrate"  # the file is there at the end or not at all
        here = self.fresh()
        note = work / f"{name}.writes"
        self.check(self.run(here, count_to(note)), "uninterrupted")
        self.writes = int(note.read_text())
        self.whole = kept(here / "made")

    def fresh(self) -> Path:
        self.count += 1
        here = self.work / f"{self.name.replace(' ', '-')}-{self.count}"
        shutil.copytree(self.material, here, symlinks=True, ignore=lambda *_: ["fifo"])
        (here / "made").mkdir(exist_ok=True) if self.name == "calibrate" else None
        return here

    def run(self, here: Path, act: Act | None = None) -> Ended:
        def go() -> None:
            files.STALE = 0.0  # the user comes back later
            if act is not None:
                at_writes(here, act)
            command(self.words)()

        return attempt(go, here, seconds=PATIENCE)

    def check(self, ended: Ended, when: str) -> None:
        if ended.code != 0:
            raise Violation(f"{self.name}, {when}: exit code {ended.code}\n{ended.err[-800:]}")

    def goes_on(self, here: Path, when: str, damaged: str = "") -> None:
        """The same command again makes what the uninterrupted one made."""
        ended = self.run(here)
        if not (self.once and ended.code == 2 and "exists; choose another" in ended.err):
            self.check(ended, f"continued after {when}")
        found = kept(here / "made")
        rest = {n: v for n, v in found.items() if n != f"{damaged}.damaged"}
        if self.once:  # a kill while they are cleared away
            rest = {n: v for n, v in rest.items() if not n.startswith(".fit.parts/")}
        if damaged.startswith("cache/") and rest.get(damaged) != self.whole[damaged]:
            rest[damaged] = self.whole[damaged]  # nothing needed it
        if rest != self.whole:
            differ = sorted(
                n for n in rest.keys() | self.whole.keys() if rest.get(n) != self.whole.get(n)
            )
            raise Violation(f"{self.name}, {when}: other or missing: {', '.join(differ[:5])}")
        shutil.rmtree(here)


class Violation(Exception):
    """What must not happen, happened."""


def killed(keeper: Keeper, number: int) -> str:
    here = keeper.fresh()
    ended = keeper.run(here, kill_at(number))
    if ended.code == 0:
        return "ended before"
    if ended.code != -signal.SIGKILL:
        raise Violation(f"{keeper.name}: exit code {ended.code} at write {number}\n{ended.err}")
    keeper.goes_on(here, f"a kill at write {number}")
    return "kills"


def killed_again(keeper: Keeper, seed: int) -> str:
    """Killed at moment after moment, until it gets through."""
    here, dice, kills = keeper.fresh(), random.Random(seed), 0
    while kills < 8:
        ended = keeper.run(here, kill_at(dice.randrange(1, 12)))
        if ended.code == 0:
            break
        kills += 1
    keeper.goes_on(here, f"{kills} kills in a row")
    return "kills in a row"


def stopped(keeper: Keeper, number: int, which: signal.Signals) -> str:
    here = keeper.fresh()
    ended = keeper.run(here, signal_at(number, which))
    if ended.code == 0:
        return "ended before"
    said = "Interrupted" if which == signal.SIGINT else "Terminated"
    wrong = [
        *(["exit code"] if ended.code != 128 + which else []),
        *(
            ["no sentence"]
            if f"{said}; give the same command to continue." not in ended.err
            else []
        ),
        *(["a traceback"] if "Traceback" in ended.err + ended.out else []),
        *(["half-written files"] if _partial(here) else []),
    ]
    if wrong:
        raise Violation(
            f"{keeper.name}, {which.name} at write {number}: {', '.join(wrong)}"
            f" ({ended.code})\n{ended.err[-1500:]}"
        )
    keeper.goes_on(here, f"{which.name} at write {number}")
    return which.name


def refused(keeper: Keeper, number: int, code: int) -> str:
    here = keeper.fresh()
    before = tree(here)
    ended = keeper.run(here, refuse_from(number, code))
    if ended.code == 0:
        return "ended before"
    wrong = [f for f in faults(ended, "refused") if not f.startswith("changed")]
    if os.strerror(code) not in ended.err:
        wrong.append(f"does not say {os.strerror(code)!r}")
    if _partial(here):
        wrong.append("half-written files")
    if any(not name.startswith("made") for name in changed(before, tree(here))):
        wrong.append("other files changed")
    if wrong:
        raise Violation(
            f"{keeper.name}, {os.strerror(code)} at write {number}: {', '.join(wrong)}\n"
            f"{ended.err[-1500:]}"
        )
    keeper.goes_on(here, f"{os.strerror(code)} at write {number}")
    return "full disks" if code == errno.ENOSPC else "read-only disks"


def damaged(keeper: Keeper, name: str, how: str) -> str:
    """A kept file is emptied, cut or changed: it is made again, or named."""
    here = keeper.fresh()
    keeper.check(keeper.run(here), "before damage")
    path = here / "made" / name
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "empty": b"",
            "cut": data[:middle],
            "flip": data[:middle] + b"\x00\xff" + data[middle + 2 :],
        }[how]
    )
    ended = keeper.run(here)
    if ended.code == 2:
        wrong = [f for f in faults(ended, "refused") if not f.startswith("changed")]
        if Path(name).name not in ended.err:
            wrong.append("does not name the file")
        if wrong:
            raise Violation(f"{keeper.name}, {name} {how}: {', '.join(wrong)}\n{ended.err[-1500:]}")
        shutil.rmtree(here)
        return "damaged files named"
    keeper.check(ended, f"after {name} was {how}")
    keeper.goes_on(here, f"{name} {how}", damaged=name)
    return "damaged files made again"


def rivals(keeper: Keeper, other: list[str]) -> str:
    """Two processes with one process number at once in one folder; ``other`` is what the second
    one is given on top, so that its settings are others where there is any."""
    here = keeper.fresh()

    logs = [[here.parent / f".{here.name}.{i}.{what}" for what in "oe"] for i in range(2)]

    def start(words: list[str], number: int) -> int:
        child = os.fork()
        if child == 0:
            from .judge import _within

            def go() -> None:
                os.getpid = lambda: 1  # type: ignore[method-assign]
                command(words)()

            _within(go, here, (logs[number][0], logs[number][1]))
        return child

    import time

    children = [start([*keeper.words], 0), start([*keeper.words, *other], 1)]
    codes = [_wait(child, time.monotonic() + 2 * PATIENCE)[0] for child in children]
    if other:
        if sorted(map(str, codes)) != ["0", "2"]:
            raise Violation(f"{keeper.name}: two with other settings ended with {codes}")
        words = keeper.words if codes[0] == 0 else [*keeper.words, *other]
        keeper.words, before = words, keeper.words
        keeper.check(keeper.run(here), "after a rival")
        keeper.words = before
        if codes[0] == 0:
            keeper.goes_on(here, "a rival with other settings")
        return "rivals with other settings"
    if codes != [0, 0]:
        said = "\n".join(log.read_text()[-800:] for _, log in logs)
        raise Violation(f"{keeper.name}: two at once ended with {codes}\n{said}")
    keeper.goes_on(here, "a rival")
    return "rivals with the same settings"


def _partial(here: Path) -> bool:
    """Whether a half-written file was left; the empty folder of one goes at the next write."""
    return any(
        path.is_file() for left in here.rglob("*.partial") for path in [left, *left.rglob("*")]
    )


def spread(count: int, most: int) -> Iterator[int]:
    """Numbers below ``count``, at most so many, evenly spread with both ends."""
    chosen = {round(i * (count - 1) / max(1, most - 1)) for i in range(min(count, most))}
    yield from sorted(chosen)


def moments(keeper: Keeper, most: int) -> Iterator[tuple[Callable[..., str], tuple[object, ...]]]:
    """What is done to a keeper, at ``most`` moments."""
    for number in spread(keeper.writes, most):
        yield killed, (number,)
    few = max(1, most // 4)
    for number in spread(keeper.writes, few):
        yield stopped, (number, signal.SIGINT)
        yield stopped, (number + 1, signal.SIGTERM)
        yield refused, (number, errno.ENOSPC)
    yield refused, (0, errno.EROFS)
    yield killed_again, (0,)
    files = [n for n in keeper.whole if not n.endswith((".html", ".md", ".svg"))]
    for i, file in enumerate(files[:: max(1, len(files) // few)]):
        yield damaged, (file, ("empty", "cut", "flip")[i % 3])
    yield rivals, ([],)
    if keeper.name in RIVALS:
        yield rivals, (RIVALS[keeper.name],)


def run_all(
    material: Path, work: Path, most: int, passed: Passed, only: list[str] | None = None
) -> tuple[Counter[str], list[str]]:
    """All of it for each keeper, at ``most`` moments each; what happened how often, and what must
    not."""
    counts: Counter[str] = Counter()
    violations: list[str] = []
    for name in only or KEEPERS:
        if (before := passed.outcome((name, most))) is not None:
            counts.update(json.loads(before))
            continue
        keeper = Keeper(name, material, work)
        own: Counter[str] = Counter()
        wrong = len(violations)
        for trial, arguments in moments(keeper, most):
            what = name, trial.__name__, arguments
            happened = passed.outcome(what)
            try:
                if happened is None:
                    happened = trial(keeper, *arguments)
                    passed.note(what, happened)
                own[happened] += 1
            except Violation as violation:
                violations.append(str(violation))
                print(f"✗ {violation}", flush=True)
        if len(violations) == wrong:
            passed.note((name, most), json.dumps(own))
        counts += own
        print(f"{name}: {keeper.writes} writes, {own.total()} cases", flush=True)
    return counts, violations
