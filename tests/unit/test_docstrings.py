"""Public docstrings: everything has one, in the sections that the reference renders."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import pytest

from diffdescent.core.options import keywords_of, options_of
from diffdescent.doors import DOORS
from tests.public import options_text, registered, surface

PUBLIC = {f"{module}.{name}": thing for module, name, thing in surface()}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
REGISTERED = registered()
SECTION = re.compile(r"^(Args|Returns|Yields|Raises):\n((?:    .*\n?|\n)*)", re.MULTILINE)


def text_of(thing: Any) -> str:
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(own or "")


def sections(text: str) -> dict[str, str]:
    return {match.group(1): match.group(2) for match in SECTION.finditer(text + "\n")}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring(name: str) -> None:
    thing = PUBLIC[name]
    text = text_of(thing)
    assert text, f"{name} has no docstring"
    generated = inspect.isclass(thing) and text.startswith(f"{thing.__name__}(")
    assert not generated, f"{name} has the docstring that dataclasses makes"


@pytest.mark.parametrize("target", sorted(t for t in DOORS.values() if ":" not in t))
def test_a_public_module_has_a_docstring(target: str) -> None:
    assert (importlib.import_module(target).__doc__ or "").strip()


@pytest.mark.parametrize("name", PUBLIC)
def test_errors_are_a_section(name: str) -> None:
    text = " ".join(text_of(PUBLIC[name]).split())
    assert "Raises :class:" not in text, f"{name}: write the errors as a section Raises:"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_describes_its_arguments_and_what_it_returns(name: str) -> None:
    found = sections(text_of(FUNCTIONS[name]))
    described = re.findall(r"^    (\*{0,2}\w+):", found.get("Args", ""), re.MULTILINE)
    signature = inspect.signature(FUNCTIONS[name])
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    taken = [stars.get(p.kind, "") + p.name for p in signature.parameters.values()]
    assert sorted(described) == sorted(taken), f"{name}: Args: must have each argument once"
    gives = signature.return_annotation not in (None, "None")
    assert gives == bool({"Returns", "Yields"} & set(found)), f"{name}: Returns: or none"


@pytest.mark.parametrize("name", REGISTERED)
def test_what_texts_can_name_has_a_docstring(name: str) -> None:
    thing = REGISTERED[name]
    text = text_of(thing)
    assert text
    assert "Raises :class:" not in " ".join(text.split())
    options = options_of(thing) if dataclasses.is_dataclass(thing) else keywords_of(thing)
    everywhere = options_text(thing)
    silent = [o for o in options if not re.search(rf"\b{o}\b", everywhere)]
    assert not silent, f"{name}: the docstring says nothing of {silent}"
