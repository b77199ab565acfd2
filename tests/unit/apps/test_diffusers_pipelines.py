"""Unmodified pipelines with DescentScheduler: the images of diffusers' schedulers, and of plain
Python."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffdescent as dd  # noqa: E402
from diffdescent.apps.diffusers import DescentScheduler, GradientEstimationScheduler  # noqa: E402
from diffdescent.models.checkpoints import load_checkpoint  # noqa: E402
from tests.unit.apps import pipelines as tiny  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
]

BUNDLED = Path(dd.__file__).parent / "assets" / "cifar10"

TEXT = {"prompt": "a cat", "num_inference_steps": 3, "height": tiny.SIZE, "width": tiny.SIZE}
SIZED = ("", "Inpaint")


def flux_inputs() -> dict[str, Any]:
    (positive, negative), pooled = tiny.embeds(8), torch.full((1, 8), 0.1)
    return {
        "prompt_embeds": positive,
        "pooled_prompt_embeds": pooled,
        "negative_prompt_embeds": negative,
        "negative_pooled_prompt_embeds": -pooled,
        "true_cfg_scale": 3.0,
        "height": tiny.SIZE,
        "width": tiny.SIZE,
        "num_inference_steps": 3,
    }


def inputs(kind: str, family: str) -> dict[str, Any]:
    given = flux_inputs() if family == "flux" else dict(TEXT)
    if kind:
        given |= {"image": tiny.picture(), "strength": 0.7, "num_inference_steps": 5}
    if kind == "Inpaint":
        given["mask_image"] = tiny.mask()
    if kind == "Img2Img" and family in ("stable_diffusion", "sdxl"):
        given = {k: v for k, v in given.items() if k not in ("height", "width")}
    return given


def images(pipe: Any, scheduler: Any, **given: Any) -> Tensor:
    """The latents that a pipeline ends with under a scheduler."""
    kept = pipe.scheduler
    pipe.scheduler = scheduler
    try:
        generator = torch.Generator().manual_seed(3)
        return pipe(**given, generator=generator, output_type="latent").images  # type: ignore[no-any-return]
    finally:
        pipe.scheduler = kept


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("kind", ["", "Img2Img", "Inpaint"])
@pytest.mark.parametrize(
    ("family", "recipe"),
    [("stable_diffusion", "ddim"), ("sdxl", "euler"), ("sd3", "euler"), ("flux", "ddim")],
)
def test_the_pipelines_own_scheduler(family: str, kind: str, recipe: str) -> None:
    pipe = getattr(tiny, family)(kind)
    given = inputs(kind, family)
    ours = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
    theirs = type(pipe.scheduler).from_config(pipe.scheduler.config)
    assert apart(images(pipe, ours, **given), images(pipe, theirs, **given)) < 1e-5


PLMS = "plms(start=heun)"
VP = {
    "ddpm": "DDPMScheduler",
    PLMS: "PNDMScheduler",
    "dpmpp(order=2)": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "DEISMultistepScheduler": "DEISMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("recipe", VP)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_stable_diffusion_with_every_named_scheduler(recipe: str, spacing: str, kind: str) -> None:
    if recipe == PLMS and kind == "v_prediction":
        pytest.skip(
            "diffusers' PNDM adds the v of different timesteps up: see"
            " test_diffusers.test_pndm_mixes_v"
        )
    pipe = tiny.stable_diffusion()
    config = {**tiny.SD, "clip_sample": False, "timestep_spacing": spacing, "prediction_type": kind}
    more = {"skip_prk_steps": True} if recipe == PLMS else {}
    known = {k: v for k, v in config.items() if k != "clip_sample" or recipe == "ddpm"}
    theirs = getattr(diffusers, VP[recipe])(**known, **more)
    ours = DescentScheduler(recipe, **config)
    assert apart(images(pipe, ours, **TEXT), images(pipe, theirs, **TEXT)) < 1e-4


@pytest.mark.parametrize("recipe", ["unipc", "dpmpp(order=2)"])
def test_flow_pipelines_with_multistep_schedulers(recipe: str) -> None:
    pipe = tiny.sd3()
    config = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    theirs = getattr(diffusers, VP[recipe])(**config)
    assert (
        apart(
            images(pipe, DescentScheduler(recipe, **config), **TEXT), images(pipe, theirs, **TEXT)
        )
        < 1e-4
    )


@pytest.mark.parametrize("recipe", ["ge | momentum", "heun", "unipc(order=3)", "ddim(eta=1)"])
@pytest.mark.parametrize("family", ["stable_diffusion", "sd3", "flux"])
def test_any_recipe_runs(recipe: str, family: str) -> None:
    for kind in ("", "Inpaint"):
        pipe = getattr(tiny, family)(kind)
        ours = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
        ended = images(pipe, ours, **inputs(kind, family))
        assert bool(ended.isfinite().all())
        assert float(ended.std()) > 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recipe", ["ddim", "ge | momentum", "unipc", "ddpm", PLMS])
def test_half_precision_pipeline(dtype: torch.dtype, recipe: str) -> None:
    """Stable Diffusion as it is mostly run, to pixels: near the float32 image, and free of NaN."""
    pipe = tiny.stable_diffusion()
    ours = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe, noise_seed=1)
    ends = []
    for kind in (torch.float32, dtype):
        made = tiny.quiet(
            type(pipe)(**copy.deepcopy(pipe.components), requires_safety_checker=False)
        ).to(kind)
        # Drawn in single precision: a generator's normals differ from dtype to dtype.
        start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        made.scheduler = ours
        latent = made(**TEXT, latents=start.to(kind), output_type="latent").images
        assert latent.dtype == kind
        assert bool(
            torch.as_tensor(made(**TEXT, latents=start.to(kind), output_type="pt").images)
            .isfinite()
            .all()
        )
        ends.append(latent.float())
        ours.check()
    assert apart(ends[1], ends[0]) < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_a_pipeline_called_again_gives_the_image_again() -> None:
    pipe = tiny.stable_diffusion()
    for recipe in ("ge | momentum", PLMS, "ddpm", "heun"):
        ours = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
        first = images(pipe, ours, **TEXT)
        images(pipe, ours, **{**TEXT, "num_inference_steps": 4})  # nothing of another run is left
        assert torch.equal(images(pipe, ours, **TEXT), first)


def test_inpainting_at_its_default_strength() -> None:
    """SDXL's is 0.9999: it begins at index 1, which for PLMS is inside its first step."""
    pipe = tiny.sdxl("Inpaint")
    given = {**inputs("Inpaint", "sdxl"), "strength": 0.9999}
    for recipe in (f"{PLMS} | momentum", PLMS, "heun", "unipc"):
        ours = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
        assert bool(images(pipe, ours, **given).isfinite().all())


def test_dit() -> None:
    pipe = tiny.dit()
    theirs = pipe.scheduler
    ends = []
    for scheduler in (theirs, DescentScheduler.from_config(theirs.config, recipe="ddim")):
        pipe.scheduler = scheduler
        made = pipe(
            [1, 7],
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(1),
            output_type="pt",
        ).images
        ends.append(torch.as_tensor(made))
    pipe.scheduler = theirs
    assert float((ends[0] - ends[1]).abs().max()) < 1e-5


def test_lists_of_generators() -> None:
    """Each image of a batch is the image of its own generator."""
    pipe = tiny.stable_diffusion()
    ours = DescentScheduler.from_config(pipe.scheduler.config, recipe="ddpm")

    def ended(seeds: list[int]) -> Tensor:
        pipe.scheduler = ours
        given = {**TEXT, "prompt": ["a cat"] * len(seeds)}
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        return pipe(**given, generator=generators, output_type="latent").images  # type: ignore[no-any-return]

    kept = pipe.scheduler
    try:
        assert apart(ended([4, 5])[1:], ended([5])) < 1e-5
    finally:
        pipe.scheduler = kept


def test_saved_pipelines_load_it(tmp_path: Path) -> None:
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    pipe = diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler())
    pipe.scheduler = GradientEstimationScheduler.from_config(
        pipe.scheduler.config, recipe="ge(gamma=1.5)"
    )
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path, local_files_only=True)
    assert type(loaded.scheduler) is GradientEstimationScheduler
    assert loaded.scheduler.config.recipe == "ge(gamma=1.5)"


def labelled(unet: torch.nn.Module, label: int) -> Callable[[], None]:
    """DDIMPipeline knows no labels: a hook adds one to every call of a class-conditional
    network."""

    def add(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        labels = torch.full((len(args[0]),), label, dtype=torch.long)
        return args, {**kwargs, "class_labels": labels}

    return unet.register_forward_pre_hook(add, with_kwargs=True).remove  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def bundled() -> Any:
    unet = load_checkpoint(BUNDLED).module.unet
    pipe = diffusers.DDIMPipeline(
        unet=unet, scheduler=diffusers.DDPMScheduler.from_pretrained(BUNDLED / "scheduler")
    )
    pipe.set_progress_bar_config(disable=True)
    remove = labelled(unet, 8)
    yield pipe
    remove()


@pytest.mark.parametrize(
    ("recipe", "grid"),
    [
        ("ge(gamma=2) | momentum(beta=-0.3)", "loglinear"),
        ("ddim | threshold(eps=keep)", None),
        ("ddpm", "trailing"),
        ("unipc", "karras"),
    ],
)
def test_bundled_model_gives_the_images_of_plain_python(
    bundled: Any, recipe: str, grid: str | None
) -> None:
    config = diffusers.DDPMScheduler.from_pretrained(BUNDLED / "scheduler").config
    ours = DescentScheduler.from_config(
        config, recipe=recipe, grid=grid, noise_seed=11, clip_sample=False
    )
    bundled.scheduler = ours
    made = bundled(
        batch_size=2,
        num_inference_steps=5,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )
    start = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = dd.load_model("cifar10")
    result = dd.sample(
        model, str(ours.recipe), grid=ours.grid, start=start, seed=11, labels=8, n=2, micro_batch=2
    )  # fmt: skip
    plain = (result.images / 2 + 0.5).clamp(0, 1)
    assert float((torch.as_tensor(made.images) - plain).abs().max()) < 1e-5
    assert float(plain.std()) > 0.1


def test_bundled_model_gives_images(bundled: Any) -> None:
    """Ships are blue: real images of the asked class come out of an unmodified DDIMPipeline."""
    config = diffusers.DDPMScheduler.from_pretrained(BUNDLED / "scheduler").config
    bundled.scheduler = GradientEstimationScheduler.from_config(config, grid="loglinear")
    made = bundled(
        batch_size=8,
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
    )
    pictures = torch.as_tensor(made.images)
    assert 0.15 < float(pictures.std()) < 0.4
    neighbours = (pictures[..., 1:] - pictures[..., :-1]).abs().mean()
    assert float(neighbours) < 0.12  # noise of this spread has 0.25


def test_compiled_denoiser() -> None:
    """A loop over a compiled network, and the same loop over the plain one."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 3, padding=1)
    )
    ends = []
    for denoiser in (network, torch.compile(network, backend="eager", fullgraph=True)):
        scheduler = DescentScheduler("ge | momentum")
        scheduler.set_timesteps(4)
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for t in scheduler.timesteps:
                x = scheduler.step(
                    denoiser(scheduler.scale_model_input(x, t)), t, x, return_dict=False
                )[0]
        ends.append(x)
    assert apart(ends[1], ends[0]) < 1e-6


@pytest.mark.slow
def test_compiled_pipeline() -> None:
    pipe = tiny.stable_diffusion()
    ours = DescentScheduler.from_config(pipe.scheduler.config, recipe="ge | momentum")
    expected = images(pipe, ours, **TEXT)
    plain = pipe.unet
    pipe.unet = torch.compile(plain, backend="eager")
    try:
        assert apart(images(pipe, ours, **TEXT), expected) < 1e-5
    finally:
        pipe.unet = plain
