"""A Griffe extension: the keywords that a function hands on stand in its signature on the site, as
``@hands_on(OPTIONS, TARGET)`` shows them to Python."""

from __future__ import annotations

from typing import Any

from griffe import ExprCall, Extension, Function, ParameterKind, Parameters

DECORATOR = "hands_on"


class HandedOn(Extension):
    """Replaces ``**options`` by the target's parameters that the TypedDict names."""

    def on_function(self, *, func: Function, **kwargs: Any) -> None:
        for decorator in func.decorators:
            call = decorator.value
            if isinstance(call, ExprCall) and str(call.function) == DECORATOR:
                options, target = (func.module.members[str(name)] for name in call.arguments)
                assert isinstance(target, Function)
                func.parameters = _whole(func.parameters, target.parameters, set(options.members))


def _whole(own: Parameters, handed: Parameters, names: set[str]) -> Parameters:
    plain = [p for p in own if p.kind is not ParameterKind.var_keyword]
    last = [p for p in plain if p.kind is ParameterKind.keyword_only]
    first = [p for p in plain if p not in last]
    return Parameters(*first, *(p for p in handed if p.name in names), *last)
