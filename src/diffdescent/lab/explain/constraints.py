"""A constraint on the estimate as the classical algorithm that it is."""

from __future__ import annotations

from diffdescent.core.constraints import parse_constraints
from diffdescent.core.constraints.intersection import ROUNDS
from diffdescent.core.grammar import print_element
from diffdescent.core.transforms import Constrain

from .explanation import Constrained


def constrained(transform: Constrain) -> Constrained:
    """What ``constrain`` does, with the sets that its text names."""
    sets = parse_constraints(transform.sets)
    algorithm = "projected gradient descent: the estimate is projected on the set"
    source = "Goldstein 1964; Levitin and Polyak 1966"
    if transform.tolerance:
        algorithm = "proximal gradient descent: half the squared distance to the set as a penalty"
        source = "Parikh and Boyd 2014, section 4.2"
    if len(sets) > 1:
        algorithm += f", by {ROUNDS} rounds of Dykstra's alternating projections"
        source += "; Boyle and Dykstra 1986"
    share = "" if transform.share == 1 else f"{transform.share:g}·"
    gain = f"σ̃²/(σ̃² + {transform.tolerance:g}²)·" if transform.tolerance else ""
    rule = f"x̂0 ← x̂0 + {share}{gain}(P x̂0 − x̂0)" if share or gain else "x̂0 ← P x̂0"
    found = {str(s): {"images": s.images, "projection": s.projection} for s in sets}
    return Constrained(print_element(transform), algorithm, rule, source, found)
