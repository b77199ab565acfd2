"""What other libraries call a sampler or a grid, in our words."""

from __future__ import annotations

from diffdescent.core.solvers import SOLVERS

from .registry import TRANSFORMS

# Other libraries' names. The same text may name the grid that the name implies there, after "@".
ALIASES: dict[str, str] = {
    "euler_a": "ddim(eta=1)",
    "euler_ancestral": "ddim(eta=1)",
    "dpm_2": "dpm(order=2, method=singlestep)",
    "dpm2": "dpm(order=2, method=singlestep)",
    "dpm_2_ancestral": "dpm(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpm2_a": "dpm(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_2s": "dpmpp(order=2, method=singlestep)",
    "dpmpp_2s_ancestral": "dpmpp(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_2s_a": "dpmpp(order=2, method=singlestep, eta=1, noise=ancestral)",
    "dpmpp_sde": "dpmpp(order=2, method=singlestep, eta=1)",
    "dpmpp_2m": "dpmpp(order=2, lower_order_final=never)",
    "dpmpp_2m_sde": "dpmpp(order=2, eta=1, lower_order_final=never)",
    "dpmpp_2m_sde_heun": "dpmpp(order=2, eta=1, variant=heun, lower_order_final=never)",
    "dpmpp_2m_sde_gpu": "dpmpp(order=2, eta=1, lower_order_final=never)",
    "dpmpp_3m_sde_gpu": "dpmpp(order=3, eta=1, released=true, lower_order_final=never)",
    "dpmpp_sde_gpu": "dpmpp(order=2, method=singlestep, eta=1)",
    "dpmpp_3m": "dpmpp(order=3, released=true, lower_order_final=never)",
    "dpmpp_3m_sde": "dpmpp(order=3, eta=1, released=true, lower_order_final=never)",
    "uni_pc": "unipc(order=3, variant=bh1)",
    "uni_pc_bh2": "unipc(order=3, variant=bh2)",
    "gradient_estimation": "ge(last=plain)",
    "ddimscheduler": "ddim @ uniform(spacing=leading)",
    "ddpmscheduler": "ddpm @ uniform(spacing=leading)",
    "pndmscheduler": "pndm @ uniform(spacing=leading, end=first)",
    "deismultistepscheduler": (
        "deis(order=2, variant=logrho) @ uniform(spacing=linspace, open=true, end=first)"
    ),
    "dpmsolvermultistepscheduler": "dpmpp(order=2) @ uniform(spacing=linspace, open=true)",
    "dpmsolversinglestepscheduler": (
        "dpmpp(order=2, method=singlestep) @ uniform(spacing=linspace, open=true)"
    ),
    "unipcmultistepscheduler": "unipc(order=2) @ uniform(spacing=linspace, open=true)",
    "eulerdiscretescheduler": "euler @ uniform(spacing=linspace)",
    "eulerancestraldiscretescheduler": "ddim(eta=1) @ uniform(spacing=linspace)",
    "heundiscretescheduler": "heun @ uniform(spacing=linspace)",
    "lmsdiscretescheduler": "lms @ uniform(spacing=linspace)",
}

GRID_ALIASES: dict[str, str] = {
    "normal": "uniform(spacing=linspace, snap=false)",
    "leading": "uniform(spacing=leading)",
    "trailing": "uniform(spacing=trailing)",
    "linspace": "uniform(spacing=linspace)",
    "linear": "uniform(spacing=leading)",
    "ddim_uniform": "uniform(spacing=leading, offset=1)",
    "sgm_uniform": "uniform(spacing=linspace, open=true, snap=false)",
    "log_linear": "loglinear",
    "edm": "karras",
    "align_your_steps": "ays",
    "log_snr": "logsnr",
}


def normal(name: str) -> str:
    """A name in the spelling of the registries: ``"DPM++ 2M Karras"`` → ``"dpmpp_2m_karras"``."""
    return name.lower().replace("++", "pp").replace("-", "_").replace(" ", "_")


def resolve_alias(text: str) -> tuple[str, str | None]:
    """Another library's name as our text and the grid it implies."""
    name = normal(text.strip())
    grid = None
    for suffix, implied in (
        ("_karras", "karras"),
        ("_exponential", "exponential"),
        ("_sgm_uniform", "sgm_uniform"),
    ):
        if name.endswith(suffix):
            name, grid = name.removesuffix(suffix), implied
    if name.startswith("k_"):
        name = name.removeprefix("k_")
    if name.startswith("sample_"):
        name = name.removeprefix("sample_")
    known = name in ALIASES or name in SOLVERS or name in TRANSFORMS
    bare = name == normal(text.strip())
    if not known or (bare and name not in ALIASES):
        return text, None
    ours, _, implied_grid = ALIASES.get(name, name).partition("@")
    return ours.strip(), grid or implied_grid.strip() or None
