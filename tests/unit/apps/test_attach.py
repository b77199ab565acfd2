"""Guidance attached to unmodified pipelines, against the engine's own guided models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffdescent import UserError, sampler  # noqa: E402
from diffdescent.apps.diffusers import DescentScheduler, attach, detach  # noqa: E402
from diffdescent.apps.diffusers.guidance import Guidance  # noqa: E402
from diffdescent.core.executor import Executor  # noqa: E402
from diffdescent.core.guidance_terms import GuidanceTerms  # noqa: E402
from diffdescent.core.predict import Prediction, conversion  # noqa: E402
from diffdescent.guidance import APG, FreePxP, Rescale  # noqa: E402
from tests.unit.apps import pipelines as tiny  # noqa: E402
from tests.unit.apps.test_diffusers_pipelines import apart, flux_inputs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SCALE = 3.0


@pytest.fixture(autouse=True)
def clean_denoisers() -> Iterator[None]:
    """A test that fails leaves no hook on the networks that all tests share."""
    yield
    for family in FAMILIES:
        made = getattr(tiny, family)()
        (made.unet if hasattr(made, "unet") else made.transformer)._forward_hooks.clear()


def prepared(family: str, recipe: str = "ddim") -> tuple[Any, dict[str, Any]]:
    """A pipeline with our scheduler, and what it is called with."""
    made = getattr(tiny, family)()
    parts = {**made.components}
    pipe = tiny.quiet(
        type(made)(
            **parts, **({"requires_safety_checker": False} if "safety_checker" in parts else {})
        )
    )
    pipe.scheduler = DescentScheduler.from_config(made.scheduler.config, recipe=recipe)
    text = {
        "prompt": "a cat",
        "guidance_scale": SCALE,
        "num_inference_steps": 3,
        "height": 16,
        "width": 16,
    }
    if family == "dit":
        text = {"class_labels": [3, 5], "guidance_scale": SCALE, "num_inference_steps": 3}
    return pipe, flux_inputs() if family == "flux" else text


def ended(pipe: Any, given: dict[str, Any]) -> Tensor:
    kind = "pt" if "class_labels" in given else "latent"
    made = pipe(**given, generator=torch.Generator().manual_seed(3), output_type=kind).images
    return torch.as_tensor(made)


FAMILIES = ["stable_diffusion", "sdxl", "sd3", "flux", "dit"]


@pytest.mark.parametrize("family", FAMILIES)
def test_neutral_guidance_changes_nothing(family: str) -> None:
    pipe, given = prepared(family)
    plain = ended(pipe, given)
    for text in (
        "cfg",
        "cfg | pxp(delta=0,0)",
        f"cfg(scale={SCALE})",
        f"apg(scale={SCALE}, eta=1, momentum=0)",
    ):
        attach(pipe, text)
        assert apart(ended(pipe, given), plain) < 2e-5, text
        detach(pipe)
    assert torch.equal(ended(pipe, given), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_detach_restores_the_pipeline(family: str) -> None:
    pipe, _ = prepared(family)
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    before = {name: id(part) for name, part in pipe.components.items()}
    state = (
        dict(pipe.scheduler.__dict__),
        dict(denoiser.__dict__),
        type(denoiser).forward,
        list(denoiser._forward_hooks),
    )
    attach(pipe, "cfg | pxp")
    detach(pipe)
    assert {name: id(part) for name, part in pipe.components.items()} == before
    after = (
        dict(pipe.scheduler.__dict__),
        dict(denoiser.__dict__),
        type(denoiser).forward,
        list(denoiser._forward_hooks),
    )
    for old, new in zip(state[:2], after[:2], strict=True):
        assert old.keys() == new.keys()
        assert all(new[key] is value for key, value in old.items())
    assert state[2:] == after[2:]
    with pytest.raises(UserError, match="No guidance is attached"):
        detach(pipe)


def recorded(
    family: str, text: str, recipe: str
) -> tuple[Tensor, list[tuple[Tensor, Tensor]], DescentScheduler]:
    """A run, and the (conditional, unconditional) outputs that a listener of the test's own saw in
    it."""
    pipe, given = prepared(family, recipe)
    seen: list[Tensor] = []
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    handle = denoiser.register_forward_hook(lambda m, a, out: seen.append(out[0]))
    attach(pipe, text)
    try:
        final = ended(pipe, given)
    finally:
        detach(pipe)
        handle.remove()
    if family == "flux":
        pairs = list(zip(seen[::2], seen[1::2], strict=True))
    else:
        pairs = [(o.chunk(2)[1], o.chunk(2)[0]) for o in seen]
    return final, pairs, pipe.scheduler


@pytest.mark.parametrize("family", ["stable_diffusion", "sd3", "flux"])
@pytest.mark.parametrize(
    ("text", "scale", "transforms"),
    [
        ("cfg | pxp", SCALE, (FreePxP(),)),
        ("cfg(scale=-3) | pxp", -3.0, (FreePxP(),)),  # away from the prompt: in conflict
        (
            "cfg(scale=5) | rescale(0.7) | pxp(delta=0.5,0.2)",
            5.0,
            (Rescale(0.7), FreePxP(0.2, 0.5)),
        ),
        ("apg(scale=4, norm=2)", 4.0, (APG(4.0, norm=2.0),)),
    ],
)
def test_the_engine_with_the_two_predictions(
    family: str, text: str, scale: float, transforms: tuple[Any, ...]
) -> None:
    """The images are those of an executor that is told u_∅ + w(u_c − u_∅) and its direction (w −
    1)(u_c − u_∅)."""
    final, pairs, scheduler = recorded(family, text, "ge | momentum")
    recipe = sampler("ge | momentum")
    assert scheduler.grid is not None
    shape = pairs[0][0].shape
    if family == "flux":  # the pipeline packs the same noise
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        start = noise.view(1, 4, 4, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(shape)
    else:
        start = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    kind = "eps" if family == "stable_diffusion" else "flow"
    executor = Executor(
        recipe.plan(scheduler.grid), start, estimates=(*transforms, *recipe.estimates),
        displacements=recipe.displacements,
    )  # fmt: skip
    for with_label, without in pairs:
        direction = (scale - 1) * (with_label - without)
        at = executor.ask().at
        executor.tell(
            Prediction(
                with_label + direction,
                conversion(kind, at),
                None,
                GuidanceTerms(direction=direction),
            )
        )
    assert apart(final, executor.x) < 2e-5
    if text != "cfg | pxp":  # towards the prompt these networks have no conflict
        assert apart(recorded(family, f"cfg(scale={scale})", "ge | momentum")[0], final) > 1e-4


def test_dit_halves_are_told_apart() -> None:
    """DiT steps both halves at once, with the conditional one first and the learned variance beside
    it."""
    pipe, given = prepared("dit")
    plain = ended(pipe, given)
    attach(pipe, "cfg(scale=1)")  # the conditional prediction alone
    one = ended(pipe, given)
    detach(pipe)
    assert apart(one, ended(pipe, {**given, "guidance_scale": 1.0})) < 1e-4
    attach(pipe, "cfg(scale=-3) | pxp")
    conflicting = ended(pipe, given)
    detach(pipe)
    assert apart(conflicting, plain) > 1e-5


def test_without_guidance_in_the_pipeline() -> None:
    pipe, given = prepared("stable_diffusion")
    attach(pipe, "cfg | pxp")
    with pytest.raises(UserError, match="without classifier-free guidance"):
        ended(pipe, {**given, "guidance_scale": 1.0})
    detach(pipe)
    attach(pipe, "cfg")
    assert bool(ended(pipe, {**given, "guidance_scale": 1.0}).isfinite().all())
    detach(pipe)


def test_a_run_that_was_broken_off_leaves_nothing() -> None:
    pipe, given = prepared("stable_diffusion")
    attach(pipe, "cfg(scale=5) | rescale(0.7)")
    expected = ended(pipe, given)

    def stop(pipe: Any, step: int, t: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        pipe.unet(torch.ones(2, 4, 8, 8), t, encoder_hidden_states=torch.ones(2, 16, 8))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(**given, callback_on_step_end=stop)
    assert torch.equal(ended(pipe, given), expected)
    detach(pipe)


def test_what_cannot_be_attached() -> None:
    pipe, _ = prepared("stable_diffusion")
    for text, message in (
        ("cfg | momentum", "Unknown guidance"),
        ("cfgpp", "cannot be attached"),
        ("classifier(scale=2)", "cannot be attached"),
        ("cfg(scale=3, interval=[0.3, 2])", "no interval"),
        ("pxp", "stands after"),
    ):
        with pytest.raises(UserError, match=message):
            attach(pipe, text)
    attach(pipe, "cfg")
    with pytest.raises(UserError, match="already"):
        attach(pipe, "cfg")
    detach(pipe)
    pipe.scheduler = diffusers.DDIMScheduler()
    with pytest.raises(UserError, match="needs a DescentScheduler"):
        attach(pipe, "cfg")


def test_an_exchanged_scheduler_is_followed() -> None:
    pipe, text = prepared("stable_diffusion")

    def drawn() -> Any:
        return pipe(**text, generator=torch.Generator().manual_seed(0), output_type="np").images

    plain, config = drawn(), pipe.scheduler.config
    attach(pipe, "cfg(scale=6)")
    guided, before = drawn(), pipe.scheduler
    pipe.scheduler = DescentScheduler.from_config(config, recipe="ddim")
    assert (drawn() == guided).all()
    assert (guided != plain).any()
    assert before.guidance is None
    exchanged, pipe.scheduler = pipe.scheduler, diffusers.DDIMScheduler()
    with pytest.raises(UserError, match="now a DDIMScheduler"):
        drawn()
    detach(pipe)
    pipe.scheduler = exchanged
    assert (drawn() == plain).all()


def test_unknown_pipelines() -> None:
    class Mine(diffusers.DiffusionPipeline):
        def __init__(self, unet: Any, scheduler: Any) -> None:
            super().__init__()
            self.register_modules(unet=unet, scheduler=scheduler)

    pipe = Mine(tiny.unet(), DescentScheduler("ddim"))
    with pytest.raises(UserError, match="does not know how Mine asks"):
        attach(pipe, "cfg")
    with pytest.raises(UserError, match="Unknown form"):
        attach(pipe, "cfg", form="batched")  # type: ignore[arg-type]
    attach(pipe, "cfg", form="uncond-cond")
    detach(pipe)
    with pytest.raises(UserError, match="neither a unet nor a transformer"):
        attach(object(), "cfg")


def test_halves_belong_to_the_named_form() -> None:
    first, second = torch.full((1, 2, 2, 2), 1.0), torch.full((1, 2, 2, 2), 2.0)
    for form, outputs in (
        ("uncond-cond", [torch.cat([first, second])]),
        ("cond, uncond", [second, first]),
    ):
        guidance = Guidance("cfg", form)  # type: ignore[arg-type]
        for output in outputs:
            guidance(torch.nn.Identity(), (), (output,))
        merged, left = guidance.take(torch.full((1, 2, 2, 2), 4.0))
        assert left.direction is not None
        assert torch.equal(merged - left.direction, second), form
