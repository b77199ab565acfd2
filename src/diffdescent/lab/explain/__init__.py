"""A sampler read as an optimizer: its estimate (E-step), its step size and displacement (PM-step),
its noise.

Every chain of the family is generalised expectation–maximisation (Jang et al., AAAI 2024, algorithm
1): an estimate of the gradient from the evaluations so far, then u ← u − Δu + noise. SGD is the
same with the loss of a mini-batch for the estimate. The numbers come from the plan and from the
executor, so they cannot disagree with what runs.
"""

from .explanation import SGD, SGD_MOMENTUM, Explanation, LinearMethod, Step
from .reading import explain
from .stability import draw_stability, growth

__all__ = [
    "SGD",
    "SGD_MOMENTUM",
    "Explanation",
    "LinearMethod",
    "Step",
    "draw_stability",
    "explain",
    "growth",
]
