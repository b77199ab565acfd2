"""Fixtures: every kind of Gaussian and of mixture."""

from __future__ import annotations

import pytest

from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture
from tests.unit.models.exact.cases import make_gaussian, make_mixture


@pytest.fixture(params=["diagonal", "factors", "full"])
def gaussian(request: pytest.FixtureRequest) -> Gaussian:
    return make_gaussian(request.param)


@pytest.fixture(params=["diagonal", "factors", "full", "cosine"])
def mixture(request: pytest.FixtureRequest) -> Mixture:
    return make_mixture(request.param)
