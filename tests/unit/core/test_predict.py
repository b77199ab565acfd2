"""What a network says about x, read as x0 or as eps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.predict import KINDS, Prediction, conversion
from diffdescent.core.process import VP

POINT = VP.named("linear").point(400.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_back_what_made_it(kind: Any) -> None:
    x0, eps = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64).unbind()
    _, a, s = POINT
    raw = {"eps": eps, "x0": x0, "v": a * eps - s * x0, "flow": eps - x0, "score": -eps / s}[kind]
    found, x = Prediction(raw, conversion(kind, POINT)), a * x0 + s * eps
    torch.testing.assert_close(found.to("x0", x), x0)
    torch.testing.assert_close(found.to("eps", x), eps)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match=r"Unknown basis 'v'. Allowed: eps, x0\."):
        conversion("eps", POINT).to("v")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Unknown prediction type 'noise'"):
        conversion("noise", POINT)  # type: ignore[arg-type]
