"""Bad values of options, by their kinds and names, and text that may be anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from diffdescent.core.grid import GRIDS
from diffdescent.core.options import keywords_of, options_of
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS
from tests.contract.options import OTHER, refused

from .commands import Option

T = TypeVar("T")
NO_NUMBER = ("x", "", "1e", "0x10", "[/x]")
NO_COUNT = (*NO_NUMBER, "1.5", "nan", "-1", "99999999999", "9" * 400)
NO_FLOAT = (*NO_NUMBER, "nan", "inf", "-inf", "-1e999", "9" * 400)
NESTED = "[" * 3000
NO_RECIPE = (
    "", " ", "|", "ddim |", "no_such", "ge(", "ge(gamma=", "ge(gamma=nan)", "ge(gamma=1e999)",
    f"ge(gamma={'9' * 400})", f"ge(gamma={NESTED})", f"deis(order={NESTED}1{']' * 3000})",
    "ge(gama=2)", "ge(gamma=2, gamma=3)", "{b:q}", "{}", "ge(gamma={b:q})", "[/x]", "[/red]x",
    r"$\frac$", "ddim(eta=2)", "ddim | ddim", "momentum(beta=[1, 2])", "\x1b[31mred", "é" * 400,
    "calibrated('no.json')", "calibrated('file')", "calibrated('tiny')",
    f"calibrated('{'x' * 300}')",
)  # fmt: skip
NO_GRID = (
    "", "no_such", "loglinear(", "loglinear(start=nan)", "karras(rho=inf)", "[/x]", "{b:q}",
    "loglinear(start=[1])", f"loglinear({NESTED})", "loglinear(start=-3)", r"$\frac$", "1,2",
)  # fmt: skip
NO_GUIDANCE = (
    "no_such", "cfg(", "cfg(scale=nan)", "cfg(scale=inf)", "classifier(scale=nan)", "{b:q}",
    "[/x]", "cfgpp(scale=2)", "cfg(interval=[3, 1])", "classifier(model='no')", "cfg | cfg | cfg",
    f"classifier(model='{'x' * 300}')", f"cfg(scale={'9' * 400})", f"cfg({NESTED})", "|",
)  # fmt: skip
NO_PATH = ("no/such", "x" * 300, "[/x]", "fifo", "empty", "loop", "~no_such/x", "noise.bin", "")
NO_PLACE = ("file/below", "/dev/null/x", "/proc/x", "x" * 300, "/sys/x")
NO_FILE = (*NO_PLACE, "plot.xyz")
NO_MODEL = (
    *NO_PATH, "photos", "photos.npz", "file", "images:", "images:no", "images:fifo", "images:file",
    "images:empty", f"images:{'x' * 300}", "cifar10-features", "{b:q}", r"$\frac$",
)  # fmt: skip
NO_DEVICE = (
    "",
    "no_such",
    "meta",
    "xpu",
    "cuda",
    "cuda:99",
    "cpu:-1",
    "mps",
    "hpu",
    "vulkan",
    "[/x]",
)
BY_NAME: dict[str, tuple[str, ...]] = {
    "sampler": NO_RECIPE,
    "samplers": tuple(v for v in NO_RECIPE if v != "|"),
    "grid": NO_GRID[1:],
    "grids": NO_GRID[1:],
    "names": NO_GRID,
    "guidance": NO_GUIDANCE,
    "model": NO_MODEL,
    "device": NO_DEVICE,
    "label": ("no_such", "99", "-7", "", "1.5", "[/x]", "9" * 400),
    "labels": ("no_such", "99", "-7", "1.5", "[/x]", "9" * 400),
    "samples": ("x", "3-1", "-1", "1-", "0-99999999999", "9" * 400, "1.5", "²"),
    "noise": ("", "no_such", "[/x]"),
    "process": ("", "no_such", "[/x]"),
    "basis": ("", "v", "[/x]"),
    "plane": ("", "no_such"),
    "counts": ("x", "0", "-3", "1.5", "9" * 400, "²"),
    "axes": ("", "no_such"),
    "weights": ("", "no_such"),
    "format_": ("", "no_such", "[/x]"),
    "features": ("no_such", "file", "inception:no", "inception:file", "x" * 300, "[/x]"),
    "metrics": ("no_such", "fd,no_such", ","),
    "resize": ("", "no_such"),
    "nfe": ("x", "0", "-3", "1.5", "nan", "9" * 400, "[1"),
    "steps": ("x", "0", "-3", "1.5", "nan", "9" * 400, "[1"),
    "seeds": ("x", "1.5", "-1", str(1 << 64), "nan"),
    "vary": ("beta", "beta=", "=3", "beta=[1", "1b=2", "beta=!!python/object:os.system", "b={a"),
    "dtype": ("", "float63", "int8"),
    "address": ("", "no such host:1:2"),
    "shard": ("x", "0/3", "4/3", "1/0", "1", "-1/3", "1/2/3", "9" * 400 + "/3"),
    "set_": (
        "", "out", "=3", "n=[1", "n=!!python/object:os.system", "n=2020-01-01", "a.b.c=1", "n=nan",
        "n={a", f"n={NESTED}", "seeds=.inf", "no_such=1", "run.steps=-1", f"n={'9' * 5000}",
    ),
    "set": ("", "no_such", "sphere:x", "subspace:-1", "images:no", "[/x]"),
    "prompt": ("", " "),
    "operator": ("", "no_such", "blur(", "blur(sigma=nan)", "blur(sigma=-1)", "[/x]", "{b:q}",
                 f"blur({NESTED})", "blur(sigma=1e9)", f"blur(sigma={'9' * 400})"),
    "method": ("", "no_such", "hqs(", "dps(scale=nan)", "[/x]", f"hqs({NESTED})", "hqs; no_such"),
    "host": ("", "no such host", "[/x]", "999.1.1.1"),
    "check": ("no_such", "[/x]"),
}  # fmt: skip
OUTPUTS = frozenset({"out", "plot", "save_statistics"})
COUNTS = frozenset(
    {
        "n", "steps", "batch_size", "micro_batch", "threads", "width", "height", "around", "nfe",
        "reference_steps", "trajectories", "held_out", "teacher", "bands", "resamples", "images",
        "shard_size", "workers", "k", "block", "most", "neighbours", "tangents", "limit", "size",
        "sample", "seed", "end_to_end", "least", "others",
    }
)  # fmt: skip
LARGE_IS_FINE = frozenset({"seed", "sample", "least", "limit", "neighbours", "tangents", "most"})
"""Counts of which a large one means all that there are, or is one as good as any."""


ELSEWHERE = 4
"""Of an option that several commands have, the later ones are given so many of its bad values."""


def bad_values(option: Option, turn: int) -> list[str]:
    """Values that this option must refuse: all of them where ``turn`` is 0, else some, others in
    each turn."""
    found = list(_bad_values(option))
    if turn == 0 or not found:
        return found
    return list(dict.fromkeys(found[(turn + i * 3) % len(found)] for i in range(ELSEWHERE)))


def _bad_values(option: Option) -> Iterator[str]:
    if option.kind is int:
        for value in NO_COUNT:
            if value == "99999999999" and option.name in LARGE_IS_FINE:
                continue
            yield value
        if option.name == "seed":
            yield str(1 << 64)
    elif option.kind is float:
        yield from NO_FLOAT
    elif option.name in OUTPUTS:
        yield from NO_FILE if option.name != "out" else (*NO_PLACE, "photos")
    elif option.name in BY_NAME:
        yield from BY_NAME[option.name]
    elif issubclass(option.kind, bool):
        return
    elif option.kind is not str:
        yield from (v for v in NO_PATH if v)


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """The same ``count`` examples each time."""
    found: list[T] = []

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found


PIECES = st.sampled_from(
    ["ge", "ddim", "momentum", "(", ")", "[", "]", "|", "=", ",", "gamma", "beta", "-0.3", "1e99",
     "nan", "inf", "none", "true", "'", '"', " ", "@", ";", "{b}", "{b:q}", "{", "}", "[/x]",
     "$\\frac$", "&lt;", "<b>", "\n", "\x1b[0m", "λ", "𝔘", "\u202e", "%s", "\\", "/", "..",
     "9" * 40]
)  # fmt: skip


def texts(count: int) -> list[str]:
    """Texts of the grammar's pieces in any order, and any text at all (but NUL and surrogates,
    which no command line can hold)."""
    pieces = st.lists(PIECES, min_size=1, max_size=9).map("".join)
    free = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
    return examples(st.one_of(pieces, free), count)


def registered() -> Iterator[tuple[str, str]]:
    """(command, text) of every registered part with each option at a value that it refuses."""
    parts: list[tuple[str, str, str, Any]] = []
    for table, command, before in ((SOLVERS, "weights", ""), (TRANSFORMS, "weights", "ddim | ")):
        for name, cls in table.items():
            parts += [(command, f"{before}{name}", o, h) for o, h in options_of(cls).items()]
    for name, builder in GRIDS.items():
        parts += [("grid", name, o, h) for o, h in keywords_of(builder).items()]
    for command, name, option, hint in parts:
        for value in dict.fromkeys(map(_text, refused(hint))):
            if value is not None:
                yield command, f"{name}({option}={value})"


def _text(value: Any) -> str | None:
    """How the grammar writes a value; None where it cannot."""
    if value is OTHER or value == ("no such word",):
        return None
    if isinstance(value, tuple):
        inner = [_text(v) for v in value]
        return None if None in inner else f"[{', '.join(map(str, inner))}]"
    if isinstance(value, str):
        return f"'{value}'"
    return str(value).lower() if isinstance(value, bool) or value is None else repr(value)
