"""DescentScheduler against diffusers' own schedulers, and its contract beyond the conformance
suite."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

diffusers = pytest.importorskip("diffusers")

from diffdescent import UserError, sampler  # noqa: E402
from diffdescent.apps.diffusers import (  # noqa: E402
    DescentScheduler,
    GradientEstimationScheduler,
    MomentumDDIMScheduler,
    MomentumPLMSScheduler,
)
from diffdescent.apps.testing.networks import smooth  # noqa: E402
from diffdescent.apps.testing.pipeline import run  # noqa: E402
from diffdescent.core.executor import Executor  # noqa: E402
from diffdescent.core.noise import Keyed  # noqa: E402
from diffdescent.core.predict import Prediction, conversion  # noqa: E402
from diffdescent.core.transforms import DynamicThreshold  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),  # diffusers' use of numpy
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
Sizes = tuple[int, ...]


def latents(batch: int = 2) -> Tensor:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def loop(scheduler: Any, steps: int | None, generator: int = 1, **options: Any) -> Tensor:
    scheduler.set_timesteps(steps, **options)
    x = latents() * float(getattr(scheduler, "init_noise_sigma", 1.0))
    return run(scheduler, x, network=smooth, generator=torch.Generator().manual_seed(generator))


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


DEIS = "deis(order=2, variant=logrho, lower_order_final=diffusers)"
PLMS, PNDM = "plms(start=heun)", "pndm(released=true)"

NAMES = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    PLMS: ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    PNDM: ("PNDMScheduler", {"steps_offset": 1}),
    "euler": ("EulerDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp(order=2)": ("DPMSolverMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    DEIS: ("DEISMultistepScheduler", {}),
}


@pytest.mark.parametrize("recipe", NAMES)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_reproduces_the_scheduler_of_its_name(recipe: str, spacing: str, kind: str) -> None:
    if recipe in (PLMS, PNDM) and kind == "v_prediction":
        pytest.skip("diffusers' PNDM adds the v of different timesteps up: see test_pndm_mixes_v")
    if recipe == PNDM and spacing == "linspace":
        pytest.skip("the Runge-Kutta steps of diffusers' PNDM do not meet on linspace timesteps")
    name, more = NAMES[recipe]
    theirs = getattr(diffusers, name)(**SD, prediction_type=kind, timestep_spacing=spacing, **more)
    ours = DescentScheduler.from_config(theirs.config, recipe=recipe)
    # Nor do they meet on trailing ones where the step count does not divide 1000: see
    # test_pndm_steps_meet.
    for steps in (5, 10) if recipe == PNDM and spacing == "trailing" else (7, 10):
        off = apart(loop(ours, steps), loop(theirs, steps))
        assert off < 2e-5, (steps, off, theirs.timesteps, ours.timesteps)


def test_pndm_steps_meet() -> None:
    """7 does not divide 1000: diffusers' PNDM goes to t − 142 where its next trailing timestep is t
    − 143."""
    theirs = diffusers.PNDMScheduler(**SD, steps_offset=1, timestep_spacing="trailing")
    ours = DescentScheduler.from_config(theirs.config, recipe=PNDM)
    off = apart(loop(ours, 7), loop(theirs, 7))
    assert 2e-5 < off < 0.02, off
    assert ours._laid is not None
    begins = [
        r.at.t
        for r, before in zip(ours._laid.plan.rows[1:], ours._laid.plan.rows, strict=False)
        if r.step != before.step
    ]
    ends = [o.point.t for row in ours._laid.plan.rows for o in row.outputs if o.commit]
    assert begins == ends[:-1]


def test_pndm_mixes_v() -> None:
    """A network whose x0 never changes leads any consistent method there; v differs from level to
    level."""
    config = {**SD, "skip_prk_steps": True, "steps_offset": 1, "prediction_type": "v_prediction"}
    theirs = diffusers.PNDMScheduler(**config)
    ours = DescentScheduler.from_config(theirs.config, recipe=PLMS)
    target = latents().tanh()
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(2)
        x = latents()
        for t in scheduler.timesteps:
            alpha = theirs.alphas_cumprod[t].sqrt()
            sigma = (1 - alpha**2).sqrt()
            v = alpha * (x - alpha * target) / sigma - sigma * target
            x = scheduler.step(v, t, x, return_dict=False)[0]
        ends.append(float((x - target).abs().max()))
    assert ends[0] > 0.2
    assert ends[1] < 0.13  # the σ = 0.03 of the lowest level


@pytest.mark.parametrize("spread", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("recipe", ["euler", "heun", "dpmpp(order=2)", "unipc", DEIS])
def test_sigma_spreads(recipe: str, spread: str) -> None:
    theirs = getattr(diffusers, NAMES[recipe][0])(**SD, **{f"use_{spread}_sigmas": True})
    ours = DescentScheduler.from_config(theirs.config, recipe=recipe)
    # The multistep schedulers cut single-precision times to integers, where one may fall to the
    # other side.
    assert apart(loop(ours, 12), loop(theirs, 12)) < (2e-5 if recipe in ("euler", "heun") else 1e-3)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"shift": 3.0}, {}),
        ({"use_dynamic_shifting": True}, {"mu": 0.9}),
        ({"use_dynamic_shifting": True, "time_shift_type": "linear"}, {"mu": 1.9}),
        ({"shift": 3.0, "shift_terminal": 0.1}, {}),
        ({"shift": 3.0, "use_karras_sigmas": True}, {}),
        ({"use_beta_sigmas": True}, {}),
        ({"use_exponential_sigmas": True}, {}),
        ({"shift": 2.0}, {"sigmas": [1.0, 0.7, 0.5, 0.2]}),
    ],
)
def test_flow_matching(config: dict[str, Any], options: dict[str, Any]) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    steps = None if "sigmas" in options else 8
    for recipe in ("euler", "ddim"):
        ours = DescentScheduler.from_config(theirs.config, recipe=recipe)
        assert apart(loop(ours, steps, **options), loop(theirs, steps, **options)) < 1e-5


@pytest.mark.parametrize("recipe", ["dpmpp(order=2)", "unipc", DEIS])
def test_flow_sigmas_of_the_multistep_schedulers(recipe: str) -> None:
    theirs = getattr(diffusers, NAMES[recipe][0])(**FLOW)
    ours = DescentScheduler.from_config(theirs.config, recipe=recipe)
    for steps in (5, 20):
        assert apart(loop(ours, steps), loop(theirs, steps)) < 1e-4


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        (
            "ddim",
            {
                "rescale_betas_zero_snr": True,
                "prediction_type": "v_prediction",
                "timestep_spacing": "trailing",
            },
        ),
        ("euler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
        ("unipc", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
        (
            "ddim",
            {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9},
        ),
        (
            "dpmpp(order=2)",
            {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9},
        ),
        ("ddpm", {"thresholding": True}),
        ("ddpm", {"variance_type": "fixed_large"}),
        ("ddpm", {"prediction_type": "sample"}),
        ("ddim", {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
        ("dpmpp(order=2)", {"trained_betas": [0.001 + 0.0002 * i for i in range(100)]}),
        ("euler", {"beta_schedule": "squaredcos_cap_v2"}),
        (
            "euler",
            {
                "timestep_type": "continuous",
                "prediction_type": "v_prediction",
                "use_karras_sigmas": True,
                "sigma_min": 0.002,
                "sigma_max": 700.0,
            },
        ),
    ],
)
def test_config_fields(recipe: str, config: dict[str, Any]) -> None:
    if "trained_betas" in config:
        config = {**config, "num_train_timesteps": 100}
    theirs = getattr(diffusers, NAMES[recipe][0])(**config)
    ours = DescentScheduler.from_config(theirs.config, recipe=recipe)
    assert apart(loop(ours, 10), loop(theirs, 10)) < 2e-5


def test_ancestral_and_given_levels() -> None:
    theirs = diffusers.EulerAncestralDiscreteScheduler(**SD)
    assert (
        apart(
            loop(DescentScheduler.from_config(theirs.config, recipe="euler_a"), 8), loop(theirs, 8)
        )
        < 1e-5
    )
    theirs = diffusers.EulerDiscreteScheduler(**SD)
    ours = DescentScheduler.from_config(theirs.config, recipe="euler")
    for given in (
        {"sigmas": [14.0, 6.0, 3.0, 1.0, 0.3, 0.0]},
        {"timesteps": [999, 800, 500, 200, 50]},
    ):
        assert apart(loop(ours, None, **given), loop(theirs, None, **given)) < 1e-5


def test_eta_clipping_and_given_noise_are_passed_to_step() -> None:
    theirs = diffusers.DDIMScheduler(**SD)
    ours = DescentScheduler.from_config(theirs.config, recipe="ddim")
    for options in (
        {"eta": 1.0},
        {"eta": 0.4, "use_clipped_model_output": True},
        {"use_clipped_model_output": True},
        {"eta": 1.0, "variance_noise": latents().flip(0)},
    ):
        ends = []
        for scheduler in (theirs, ours):
            scheduler.set_timesteps(6)
            x, generator = latents(), torch.Generator().manual_seed(3)
            for t in scheduler.timesteps:
                drawn = {} if "variance_noise" in options else {"generator": generator}
                out = scheduler.step(smooth(scheduler, x, float(t)), t, x, **options, **drawn)
                x = out.prev_sample
            ends.append((x, out.pred_original_sample))
        assert apart(ends[1][0], ends[0][0]) < 1e-5
        assert apart(ends[1][1], ends[0][1]) < 1e-5
    ours = DescentScheduler("unipc")
    ours.set_timesteps(3)
    with pytest.warns(UserWarning, match="eta"):
        ours.step(latents(), ours.timesteps[0], latents(), eta=0.5)


def test_stochastic_steps_meet() -> None:
    """With η the steps of ``ddim`` end where the next one begins, on linspace levels too."""
    ends = []
    for scheduler, eta in (
        (DescentScheduler("ddim", clip_sample=False, timestep_spacing="linspace"), 1.0),
        (DescentScheduler("ddim(eta=1)", grid="linspace", clip_sample=False), 0.0),
    ):
        scheduler.set_timesteps(7)
        x, generator = latents(), torch.Generator().manual_seed(3)
        for t in scheduler.timesteps:
            x = scheduler.step(
                smooth(scheduler, x, float(t)), t, x, eta=eta, generator=generator
            ).prev_sample
        ends.append(x)
    assert apart(*ends) < 1e-6


def in_python(
    scheduler: DescentScheduler, text: str, kind: Any, noise: Keyed | None = None
) -> Tensor:
    """The recipe by the engine alone, on the scheduler's levels."""
    recipe = sampler(text)
    assert scheduler.grid is not None
    executor = Executor(
        recipe.plan(scheduler.grid), latents(), noise=noise, estimates=recipe.estimates,
        displacements=recipe.displacements,
    )  # fmt: skip
    while not executor.done:
        query = executor.ask()
        told = float(torch.tensor(query.at.t))  # in single precision, as timesteps are
        executor.tell(Prediction(smooth(None, query.x, told), conversion(kind, query.at)))
    return executor.x


@pytest.mark.parametrize(
    "recipe",
    [
        "ge(gamma=2) | momentum(beta=-0.3)",
        "dpmpp(order=3)",
        "ddpm",
        "unipc(order=3)",
        "heun(alpha=0.5)",
    ],
)
def test_same_as_plain_python(recipe: str) -> None:
    """The scheduler has no mathematics of its own: its recipe's text on its grid is the same
    sampler, to the bit."""
    scheduler = DescentScheduler(recipe, grid="karras", noise_seed=7, clip_sample=False)
    ended = loop(scheduler, 6)
    assert str(scheduler.recipe) == str(sampler(recipe))
    assert torch.equal(
        ended, in_python(scheduler, str(scheduler.recipe), "eps", Keyed(7, torch.arange(2)))
    )


def test_recipe_says_what_is_run() -> None:
    assert str(DescentScheduler("ddim").recipe) == "ddim | threshold(eps=keep)"
    assert str(DescentScheduler("ge").recipe) == "ddim | ge"
    assert str(DescentScheduler(PLMS).recipe) == PLMS
    assert (
        str(DescentScheduler("ddpm", variance_type="fixed_large", clip_sample=False).recipe)
        == "ddpm(variance=large)"
    )
    assert GradientEstimationScheduler().config.recipe == "ge(gamma=2)"
    assert str(MomentumPLMSScheduler().recipe) == "plms(start=heun) | momentum"


def test_presets_and_round_trip(tmp_path: Path) -> None:
    pipeline = diffusers.PNDMScheduler(**SD, steps_offset=1, skip_prk_steps=True)
    made = DescentScheduler.from_config(
        pipeline.config, recipe="unipc(order=3)", grid="karras", noise_seed=3
    )
    made.save_pretrained(tmp_path)
    assert (
        json.loads((tmp_path / "scheduler_config.json").read_text())["recipe"] == "unipc(order=3)"
    )
    loaded = DescentScheduler.from_pretrained(tmp_path)
    assert torch.equal(loop(loaded, 5), loop(made, 5))
    # A preset is its recipe, whoever's config it is given; and a diffusers scheduler reads ours.
    preset = MomentumDDIMScheduler.from_config(made.config)
    assert preset.config.recipe == MomentumDDIMScheduler.preset
    assert MomentumDDIMScheduler.from_config(preset.config, recipe="ddim").config.recipe == "ddim"
    assert diffusers.DDIMScheduler.from_config(made.config).config.beta_schedule == "scaled_linear"


@pytest.mark.parametrize("recipe", ["ge", "unipc", None])
def test_what_diffusers_own_suite_asks_of_saved_and_given_betas(
    recipe: str | None, tmp_path: Path
) -> None:
    """``test_trained_betas`` and ``test_from_pretrained`` of diffusers' common scheduler tests."""
    made = DescentScheduler(recipe, **SD)
    made.save_pretrained(tmp_path)
    loaded = DescentScheduler.from_pretrained(tmp_path)
    config = dict(made.config)
    assert config.pop("_use_default_values")
    assert dict(loaded.config) == config
    given = DescentScheduler(recipe, trained_betas=np.array([0.1, 0.3]))
    assert given.betas.dtype == torch.float32
    assert torch.equal(given.betas, torch.tensor([0.1, 0.3]))
    for schedule in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        theirs = diffusers.DDIMScheduler(beta_schedule=schedule).betas
        ours = DescentScheduler(recipe, beta_schedule=schedule).betas
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert not hasattr(DescentScheduler(recipe, prediction_type="flow_prediction"), "betas")


@contextmanager
def no_device_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any way of getting a tensor's values to the host raises."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a value was read from the device")

    with monkeypatch.context() as patch:
        for name in (
            "item",
            "tolist",
            "numpy",
            "cpu",
            "nonzero",
            "__bool__",
            "__float__",
            "__int__",
            "__index__",
        ):
            patch.setattr(torch.Tensor, name, refuse)
        yield


@pytest.mark.parametrize(
    "recipe", ["ddim(eta=1)", "ge | momentum", "unipc", "heun", "ddpm", "dpmpp(order=2)"]
)
@pytest.mark.parametrize("config", [{}, {"grid": "karras"}, {"prediction_type": "flow_prediction"}])
def test_nothing_waits_for_the_device(
    recipe: str, config: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = DescentScheduler(recipe, **config)
    scheduler.set_timesteps(4)
    x = latents()
    with no_device_reads(monkeypatch):
        for i, t in enumerate(scheduler.timesteps):
            x = scheduler.step(x * 0.3, t, x, return_dict=False)[0]
            if i == 1:  # inpainting: the known half comes back at the next level
                x = (
                    scheduler.add_noise(latents(), latents(), scheduler.timesteps[2:3]) * 0.5
                    + x * 0.5
                )
    assert bool(x.isfinite().all())


def test_without_return_dict_the_state_alone_is_returned() -> None:
    ends = []
    for as_dict in (True, False):
        scheduler = DescentScheduler("unipc")
        scheduler.set_timesteps(3)
        ends.append(
            scheduler.step(0.2 * latents(), scheduler.timesteps[0], latents(), return_dict=as_dict)
        )
    assert isinstance(ends[1], tuple)
    assert len(ends[1]) == 1
    assert torch.equal(ends[0].prev_sample, ends[1][0])


def test_history_survives_nothing() -> None:
    """Jumping back, running again without set_timesteps, and a changed sample each start from what
    they are given."""
    scheduler = DescentScheduler("dpmpp(order=3)")
    first = loop(scheduler, 6)
    x = latents() * scheduler.init_noise_sigma
    assert torch.equal(run(scheduler, x, network=smooth), first)
    run(scheduler, x, network=smooth, last=4)
    assert torch.equal(run(scheduler, x, network=smooth), first)


def test_what_a_caller_changes_in_place_is_an_edit() -> None:
    def ended(change: Callable[[Tensor], Tensor], recipe: str, dtype: torch.dtype) -> Tensor:
        scheduler = DescentScheduler(recipe)
        scheduler.set_timesteps(6)
        x = latents().to(dtype)
        return run(scheduler, x, network=smooth, between=lambda i, x: change(x) if i == 2 else x)

    def halve_in_place(x: Tensor) -> Tensor:
        x[..., :4] *= 0.5
        return x

    def halve(x: Tensor) -> Tensor:
        return torch.cat([x[..., :4] * 0.5, x[..., 4:]], dim=-1)

    for recipe in ("ge", "unipc", "heun"):
        for dtype in (torch.float32, torch.bfloat16):
            assert torch.equal(ended(halve_in_place, recipe, dtype), ended(halve, recipe, dtype))
            assert not torch.equal(ended(halve, recipe, dtype), ended(lambda x: x, recipe, dtype))


def test_half_precision_keeps_the_state_in_float32() -> None:
    """Small steps vanish in bfloat16 where states are rounded between them; ours are not."""
    ended = []
    for dtype in (torch.float32, torch.bfloat16):
        scheduler = DescentScheduler("ddim", clip_sample=False)
        scheduler.set_timesteps(200)
        x = latents().bfloat16().to(dtype)
        for t in scheduler.timesteps:
            x = scheduler.step(
                torch.full_like(x, 0.25), t, x
            ).prev_sample  # the same output, exactly, in both
        ended.append(x.float())
    assert apart(ended[1], ended[0]) < 2**-8


def test_flow_heun_is_the_flow_heun() -> None:
    for shift in (1.0, 3.0):
        theirs = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
        ours = DescentScheduler.from_config(theirs.config, recipe="FlowMatchHeunDiscreteScheduler")
        assert str(ours.recipe) == "heun(clock=time)"
        for steps in (1, 2, 9):
            assert apart(loop(ours, steps), loop(theirs, steps)) < 5e-5
            assert torch.allclose(ours.timesteps, theirs.timesteps)
            assert ours.order == (theirs.order if steps > 1 else 1)


@pytest.mark.parametrize(
    "recipe",
    ["ge | momentum", "heun", "unipc", "ddim | pnm", "dpmpp(order=3)", f"{PLMS} | momentum"],
)
@pytest.mark.parametrize("config", [{}, {"prediction_type": "flow_prediction"}])
def test_begun_later_is_the_engine_on_the_levels_that_are_left(
    recipe: str, config: dict[str, Any]
) -> None:
    """Image to image: start-up steps, history and momentum begin where the run begins, as in plain
    Python."""
    scheduler = DescentScheduler(recipe, clip_sample=False, **config)
    scheduler.set_timesteps(7)
    counts = scheduler.evaluations
    assert sum(counts) == len(scheduler.timesteps)
    if str(scheduler.recipe).startswith("plms"):
        counts[1], counts[0] = 1, counts[0] + counts[1] - 1  # its start is gone: see the next test
    first = sum(counts[:3])
    scheduler.set_begin_index(first)
    ended = run(scheduler, latents(), first, network=smooth)
    assert scheduler.grid is not None
    left = str(scheduler.recipe).replace("plms(start=heun)", "plms")
    kind = "flow" if config else "eps"
    tail = scheduler.grid.tail(scheduler.grid.points.index(scheduler._known().plan.rows[first].at))
    expected = Executor(
        sampler(left).plan(tail), latents(), displacements=sampler(left).displacements
    )
    while not expected.done:
        query = expected.ask()
        told = float(torch.tensor(query.at.t * (1000 if config else 1), dtype=torch.float32))
        expected.tell(Prediction(smooth(None, query.x, told), conversion(kind, query.at)))
    assert torch.equal(ended, expected.x)


@pytest.mark.parametrize("steps", [4, 10])
def test_plms_begun_at_its_repeated_timestep(steps: int) -> None:
    """Strength 0.9999 (an inpainting default) begins at index 1: the first evaluation of that level
    is spent."""
    ends = []
    for first in (1, 2):
        scheduler = DescentScheduler(f"{PLMS} | momentum", steps_offset=1)
        scheduler.set_timesteps(steps)
        scheduler.set_begin_index(first)
        ends.append(run(scheduler, latents(), first, network=smooth))
    assert torch.equal(*ends)
    scheduler.set_begin_index(1)
    given = scheduler.step(0.5 * latents(), scheduler.timesteps[1], latents())
    assert torch.equal(given.prev_sample, latents())
    assert scheduler.step_index == 2


@pytest.mark.parametrize(
    ("recipe", "order", "evaluations"),
    [
        ("ddim", 1, 6),
        ("heun", 2, 11),
        (PLMS, 1, 7),
        ("pndm", 1, 15),
        ("dpmpp(order=2, method=singlestep)", 2, 11),
    ],
)
def test_timesteps_list_evaluations(recipe: str, order: int, evaluations: int) -> None:
    scheduler = DescentScheduler(recipe, timestep_spacing="trailing")
    assert scheduler.order == order
    scheduler.set_timesteps(6)
    assert (scheduler.order, len(scheduler.timesteps)) == (order, evaluations)
    counts = {
        "heun": [2] * 5 + [1],
        PLMS: [2] + [1] * 5,
        "pndm": [4] * 3 + [1] * 3,
        "ddim": [1] * 6,
    }
    assert scheduler.evaluations == counts.get(recipe, [2] * 5 + [1])
    assert len(scheduler.sigmas) == evaluations + 1


def test_beginning_inside() -> None:
    scheduler = DescentScheduler("heun")
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(3)
    with pytest.raises(UserError, match="inside the step that begins at 2"):
        scheduler.step(latents(), scheduler.timesteps[3], latents())
    # PNDM begun after its start has no room for one: its history grows from order one.
    scheduler = DescentScheduler("pndm", timestep_spacing="trailing")
    scheduler.set_timesteps(8)
    target = latents().tanh()
    first = len(scheduler.timesteps) - 4
    scheduler.set_begin_index(first)
    alpha, sigma = (float(v) for v in scheduler._level_of(scheduler.timesteps[first], latents()))
    ended = run(
        scheduler,
        alpha * target + sigma * latents(),
        first,
        network=lambda s, x, t: oracle_of(s, x, t, target),
    )
    assert float((ended - target).abs().max()) < 0.06


def oracle_of(scheduler: DescentScheduler, x: Tensor, t: float, target: Tensor) -> Tensor:
    bar = float(scheduler.alphas_cumprod[round(t)])
    return (x - math.sqrt(bar) * target) / math.sqrt(1 - bar)


def test_learned_variance() -> None:
    scheduler = DescentScheduler("ddpm", variance_type="learned_range", clip_sample=False)
    theirs = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    ends = []
    for one in (scheduler, theirs):
        one.set_timesteps(6)
        x, generator = latents(), torch.Generator().manual_seed(2)
        for t in one.timesteps:
            both = torch.cat([smooth(one, x, float(t)), smooth(one, x, float(t) + 50)], dim=1)
            if one is theirs:  # it draws noise of the network's shape
                torch.manual_seed(0)
            x = one.step(both, t, x, generator=generator).prev_sample
        ends.append(x)
    assert apart(ends[0], ends[1]) < 1e-5


BAD = [
    ({"recipe": "gee"}, "Unknown sampler"),
    ({"recipe": 3}, "recipe must be a text"),
    ({"noise_seed": "seven"}, "noise_seed must be a whole number"),
    ({"grid": "karass"}, "Unknown grid"),
    ({"prediction_type": "noise"}, "prediction_type"),
    ({"beta_schedule": "laplace"}, "beta_schedule"),
    ({"timestep_spacing": "even"}, "timestep_spacing"),
    ({"final_sigmas_type": "one"}, "final_sigmas_type"),
    ({"use_karras_sigmas": True, "use_beta_sigmas": True}, "Only one"),
    ({"recipe": "ddpm", "variance_type": "learned"}, "variance_type"),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_bad_configs(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DescentScheduler(**config)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (lambda: diffusers.EDMEulerScheduler(), "preconditions"),
        (lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "invert_sigmas"),
        (
            lambda: diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
            "stochastic_sampling",
        ),
        (
            lambda: diffusers.EulerDiscreteScheduler(interpolation_type="log_linear"),
            "interpolation_type",
        ),
        (lambda: diffusers.LCMScheduler(), "consistency"),
        (
            lambda: diffusers.DPMSolverMultistepScheduler(lambda_min_clipped=-5.1),
            "lambda_min_clipped",
        ),
    ],
)
def test_configs_that_cannot_be_expressed(theirs: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DescentScheduler.from_config(theirs().config, recipe="dpmpp(order=2)")


@pytest.mark.parametrize(
    ("scheduler", "given", "message"),
    [
        (DescentScheduler, {"recipe": "ge", "gird": "loglinear"}, "did you mean 'grid'"),
        (DescentScheduler, {"recipes": "unipc"}, "did you mean 'recipe'"),
        (DescentScheduler, {"recipe": "unipc", "order": 3}, r"write recipe='unipc\(order=3\)'"),
        (GradientEstimationScheduler, {"gamma": 1.5}, r"recipe='ddim \| ge\(gamma=1.5\)'"),
        (MomentumDDIMScheduler, {"beta": -0.5}, r"recipe='ddim \| momentum\(beta=-0.5\)'"),
        (DescentScheduler, {"zzzz": 1}, "leave it out"),
    ],
)
def test_keywords_that_nobody_has(scheduler: Any, given: dict[str, Any], message: str) -> None:
    config = diffusers.EulerDiscreteScheduler().config
    with pytest.raises(UserError, match=message):
        scheduler.from_config(config, **given)


def test_fields_of_other_schedulers_pass() -> None:
    config = {**diffusers.EulerDiscreteScheduler().config, "of_a_pipeline": 1}
    made = DescentScheduler.from_config(config, algorithm_type="dpmsolver++", of_a_pipeline=2)
    assert str(made.recipe) == "ddim | ge"
    _, unused = DescentScheduler.from_config(config, return_unused_kwargs=True, zzzz=1)
    assert unused["zzzz"] == 1


@pytest.mark.parametrize(
    ("theirs", "recipe"), [(diffusers.LCMScheduler, "lcm"), (diffusers.TCDScheduler, "tcd")]
)
def test_configs_of_distilled_networks(theirs: Any, recipe: str) -> None:
    for config in (theirs().config, theirs(original_inference_steps=100).config):
        ours, reference = DescentScheduler.from_config(config, recipe=recipe), theirs(**config)
        for scheduler in (ours, reference):
            scheduler.set_timesteps(4)
        assert ours.timesteps.tolist() == reference.timesteps.tolist()
        plain = DescentScheduler.from_config(config, recipe="ge", original_inference_steps=None)
        assert plain.config["grid"] is None
        with pytest.raises(UserError, match=f"write the recipe '{recipe}"):
            DescentScheduler.from_config(config, recipe=theirs.__name__)


def test_levels_that_a_grid_leaves_out_are_seen() -> None:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    made = DescentScheduler(recipe="ge", grid="loglinear", **betas)
    with pytest.warns(UserWarning, match="7 steps where 8 were asked for: 1 duplicate"):
        made.set_timesteps(8)
    assert len(made.timesteps) == 7


EXPRESSED = {
    *(
        "DDIM",
        "DDIMParallel",
        "DDIMInverse",
        "DDPM",
        "DDPMParallel",
        "PNDM",
        "RePaint",
        "UnCLIP",
        "SASolver",
    ),
    *("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete"),
    *(
        "KDPM2AncestralDiscrete",
        "DPMSolverMultistep",
        "DPMSolverMultistepInverse",
        "DPMSolverSinglestep",
    ),
    *(
        "DPMSolverSDE",
        "UniPCMultistep",
        "DEISMultistep",
        "FlowMatchEulerDiscrete",
        "FlowMatchHeunDiscrete",
    ),
    # a scheduler made in this process is told by its fields, which are FlowMatchHeun's
    "FlowMapEulerDiscrete",
}


def test_every_scheduler_of_diffusers_is_expressed_or_refused_in_a_sentence() -> None:
    found = set()
    for name in (name for name in dir(diffusers) if name.endswith("Scheduler")):
        try:
            config = getattr(diffusers, name)().config
        except (TypeError, ImportError, ValueError):
            continue  # needs arguments that say what network it is for, or torchsde
        for recipe in ("ddim", "unipc | momentum"):
            if name.removesuffix("Scheduler") not in EXPRESSED:
                with pytest.raises(UserError, match="cannot be expressed"):
                    DescentScheduler.from_config(config, recipe=recipe)
                continue
            scheduler = DescentScheduler.from_config(config, recipe=recipe)
            assert bool(loop(scheduler, 4).isfinite().all()), name
            found.add(name.removesuffix("Scheduler"))
    assert {"DDIM", "PNDM", "EulerDiscrete", "UniPCMultistep", "FlowMatchEulerDiscrete"} <= found


def test_bad_calls() -> None:
    scheduler = DescentScheduler("ddim")
    with pytest.raises(UserError, match="set_timesteps"):
        scheduler.step(latents(), scheduler.timesteps[0], latents())
    for options, message in (
        ({"num_inference_steps": 1001}, "1001 steps are more than the 1000"),
        ({"timesteps": [1000, 500]}, "leave the 1000 training steps"),
        ({"timesteps": [500, 500]}, "falling order"),
        ({"sigmas": [3.0]}, "with the end"),
        ({}, "num_inference_steps"),
    ):
        with pytest.raises(UserError, match=message):
            scheduler.set_timesteps(**options)
    with pytest.raises(UserError, match="needs mu"):
        DescentScheduler(
            "ddim", prediction_type="flow_prediction", use_dynamic_shifting=True
        ).set_timesteps(4)
    scheduler.set_timesteps(5)
    with pytest.raises(UserError, match="timestep 123 is not among the 5"):
        scheduler.step(latents(), 123, latents())
    for output, message in (
        (latents()[:, :3], r"shape \(2, 3, 8, 8\), for a sample of shape \(2, 4, 8, 8\)"),
        ((latents(),), "a tuple, not a tensor"),
    ):
        with pytest.raises(UserError, match=message):
            scheduler.step(output, 800, latents())  # type: ignore[arg-type]
    scheduler.step(latents(), 800, latents())
    with pytest.raises(UserError, match="began with a sample of shape"):
        scheduler.step(latents(1), 600, latents(1))
    scheduler.set_timesteps(5)
    with pytest.raises(UserError, match="not both"):
        scheduler.step(
            latents(), 800, latents(), generator=torch.Generator(), variance_noise=latents()
        )


def test_without_a_generator_noise_is_torch_global() -> None:
    ends = []
    for _ in range(2):
        scheduler = DescentScheduler("ddpm")
        scheduler.set_timesteps(3)
        x = latents()
        torch.manual_seed(5)
        for t in scheduler.timesteps:
            x = scheduler.step(0.2 * x, t, x).prev_sample
        ends.append(x)
    assert torch.equal(*ends)


def test_one_sentence_without_diffusers() -> None:
    code = "import sys; sys.modules['diffusers'] = None; import diffdescent.apps.diffusers"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: diffdescent.apps.diffusers needs diffusers; install it with"
    )


def test_check_names_the_evaluation_that_broke() -> None:
    scheduler = DescentScheduler("unipc", timestep_spacing="trailing")
    scheduler.check()
    scheduler.set_timesteps(4)
    x = latents()
    for dtype, message in (
        (torch.float16, r"at evaluation 2 .*for 1 of 2 samples \(1\)"),
        (torch.float32, r"holds NaN or Inf after step 3 for 1 of 2 samples \(1\)"),
    ):
        x = latents().to(dtype)
        for i, t in enumerate(scheduler.timesteps):
            output = 0.2 * x
            if i == 2:
                output[1] = math.nan
            x = scheduler.step(output, t, x).prev_sample
        with pytest.raises(UserError, match=message):
            scheduler.check()


def test_dynamic_threshold_has_a_largest_bound() -> None:
    x0 = 3 * latents()
    assert float(DynamicThreshold(1.0, maximum=2.0).bound(x0).abs().max()) == 1.0
    assert torch.equal(DynamicThreshold(1.0, maximum=2.0).bound(x0), (x0.clamp(-2, 2) / 2))
    with pytest.raises(UserError, match="at least 1"):
        DynamicThreshold(maximum=0.5)


def test_a_recipe_object_is_its_text() -> None:
    chain = sampler("ge") | "momentum(-0.3)"
    made = DescentScheduler.from_config(diffusers.DDIMScheduler().config, recipe=chain)
    assert made.config["recipe"] == str(chain)
    again = DescentScheduler.from_config(made.config)
    assert str(again.recipe) == str(made.recipe)
