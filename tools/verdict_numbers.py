"""Numbers as the pages print them, and the rows of a table as a sentence's template names them."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

WORDS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def show(value: float, spec: str = "") -> str:
    """A rounded number: ``spec`` is how many decimals, with flags.

    ``a`` takes the absolute value, ``+`` writes the sign, ``%`` takes it times 100, ``.`` leaves a
    leading 0 out, ``w`` is a word, ``e`` the power of ten that a p-value is below.
    """
    if "w" in spec:
        return WORDS[int(value)] if value < len(WORDS) else f"{int(value)}"
    if "e" in spec:
        return f"1e-{math.floor(-math.log10(value))}"
    x = Decimal(repr(float(value))) * (100 if "%" in spec else 1)
    x = abs(x) if "a" in spec else x
    places = int("".join(c for c in spec if c.isdigit()) or 0)
    digits = f"{abs(x).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"
    zero = not digits.strip("0.,")
    if "." in spec and digits.startswith("0."):
        digits = digits[1:]
    sign = "" if zero and "+" not in spec else "−" if x < 0 else "+" if "+" in spec else ""
    return sign + digits


class Number(float):
    """A number that a template prints by :func:`show`."""

    def __format__(self, spec: str) -> str:
        return show(self, spec)


class Interval:
    """A value and its interval, ``3.5 [1.7, 5.4]``; under ``a`` a negative one is turned round,
    ``b`` is the brackets alone, ``h`` half the interval, ``3.5 ± 1.9``."""

    def __init__(self, value: float, low: float, high: float) -> None:
        self.value, self.low, self.high = value, low, high

    def __format__(self, spec: str) -> str:
        ends = [self.low, self.high]
        turned = "a" in spec and self.value < 0
        value = -self.value if turned else self.value
        if turned:
            ends = [-x for x in reversed(ends)]
        plain = "".join(c for c in spec if c not in "abh")
        if "h" in spec:
            return f"{show(value, plain)} ± {show((ends[1] - ends[0]) / 2, plain.replace('+', ''))}"
        inside = ", ".join(show(x, plain) for x in ends)
        unit = " %" if "%" in spec else ""
        return f"[{inside}]" if "b" in spec else f"{show(value, plain)}{unit} [{inside}]"


class Cells:
    """A row: its columns as attributes, numbers as :class:`Number`; ``interval`` is the difference
    or value with its bounds, ``NAME_interval`` that of another column, ``A-B`` and ``A/B`` are
    what two columns give."""

    def __init__(self, row: Mapping[str, str]) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        row = self._row
        if name == "interval" or name.endswith("_interval"):
            column = name.removesuffix("interval")
            value = column[:-1] or ("difference" if "difference" in row else "value")
            return Interval(*(float(row[x]) for x in (value, f"{column}low", f"{column}high")))
        for sign, of in (("-", operator.sub), ("/", operator.truediv)):
            if sign in name:
                return Number(of(*(float(row[column]) for column in name.split(sign))))
        return Number(row[name])


class Extreme:
    """The least or the greatest absolute value of a column over some rows."""

    def __init__(self, rows: list[Mapping[str, str]], which: Any) -> None:
        self._rows, self._which = rows, which

    def __getattr__(self, name: str) -> Number:
        return Number(self._which(abs(getattr(Cells(row), name)) for row in self._rows))
