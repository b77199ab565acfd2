"""The names that other libraries give to samplers and grids, as texts of ours."""

from __future__ import annotations

# Other libraries' samplers.
ALIASES: dict[str, str] = {
    "euler_a": "euler(eta=1)",
    "euler_ancestral": "euler(eta=1)",
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
    "res_multistep": "dpmpp(order=2, variant=heun, lower_order_final=never)",
}

_SIGMA_LINSPACE = "uniform(spacing=linspace, snap=false, interpolation=linear)"
_OPEN_LINSPACE = "uniform(spacing=linspace, open=true)"

SCHEDULERS: dict[str, tuple[str, str]] = {
    "ddimscheduler": ("ddim | threshold(eps=keep)", "uniform(spacing=leading)"),
    "ddpmscheduler": ("ddpm | threshold", "uniform(spacing=leading)"),
    "pndmscheduler": ("pndm(released=true)", "uniform(spacing=leading, end=first)"),
    "deismultistepscheduler": (
        "deis(order=2, variant=logrho, lower_order_final=diffusers)",
        "uniform(spacing=linspace, open=true, end=first)",
    ),
    "dpmsolvermultistepscheduler": ("dpmpp(lower_order_final=diffusers)", _OPEN_LINSPACE),
    "dpmsolversinglestepscheduler": ("dpmpp(method=singlestep, inner=grid)", _OPEN_LINSPACE),
    "unipcmultistepscheduler": ("unipc", _OPEN_LINSPACE),
    "eulerdiscretescheduler": ("euler", _SIGMA_LINSPACE),
    "eulerancestraldiscretescheduler": ("euler(eta=1)", _SIGMA_LINSPACE),
    "heundiscretescheduler": ("heun", _SIGMA_LINSPACE),
    "lmsdiscretescheduler": ("lms", _SIGMA_LINSPACE),
    "flowmatcheulerdiscretescheduler": ("euler", "uniform(spacing=linspace)"),
    "flowmatchheundiscretescheduler": ("heun(clock=time)", "uniform(spacing=linspace)"),
}
"""diffusers' schedulers with their default options: the recipe, and the grid of the class."""

DISTILLED: dict[str, tuple[str, str]] = {
    "lcmscheduler": ("lcm", "distilled"),
    "tcdscheduler": ("tcd(gamma=0.3)", "distilled(end=first)"),
}
"""diffusers' schedulers of distilled networks: the nearest recipe and its grid, whose images differ
a little, so that the names themselves are not understood."""

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
