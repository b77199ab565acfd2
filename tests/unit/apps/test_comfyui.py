"""The ComfyUI nodes against the host's node interface, and a run through a stand-in for the host's
sampling."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from diffdescent.apps import comfyui as nodes
from diffdescent.apps import kdiffusion as k
from diffdescent.base.errors import UserError
from diffdescent.core.grid import GRIDS, make_grid
from diffdescent.core.process import VE, VP, Flow, Point
from diffdescent.core.recipe import parse
from diffdescent.core.transforms.base import Evaluation
from diffdescent.guidance import FreePxP
from tests.parity.golden import error
from tests.paths import ROOT

FOLDER = ROOT / "comfyui"
WORKFLOWS = sorted((FOLDER / "example_workflows").glob("*.json"))
LINKED = ("MODEL", "CLIP", "VAE", "CONDITIONING", "LATENT", "SAMPLER", "SIGMAS", "IMAGE")


class CONST:
    """The host's flow models: x = (1 − σ) x0 + σ ε."""

    def noise_scaling(
        self, sigma: Tensor, noise: Tensor, latent: Tensor, max_denoise: bool = False
    ) -> Tensor:
        return sigma * noise + (1 - sigma) * latent


class EPS:
    """All others: x = x0 + σ ε, and from the top √(1 + σ²) ε."""

    def noise_scaling(
        self, sigma: Tensor, noise: Tensor, latent: Tensor, max_denoise: bool = False
    ) -> Tensor:
        return noise * torch.sqrt(1 + sigma**2) + latent if max_denoise else noise * sigma + latent


class Levels:
    """A table of σ, ascending."""

    def __init__(self, sigmas: Tensor, shift: float | None = None) -> None:
        self.sigmas = sigmas
        if shift is not None:
            self.shift = shift

    @property
    def sigma_min(self) -> Tensor:
        return self.sigmas[0]

    @property
    def sigma_max(self) -> Tensor:
        return self.sigmas[-1]


class ModelSamplingDiscrete(Levels):
    pass


class ModelSamplingDiscreteFlow(Levels):
    pass


class ModelSamplingFlux(Levels):
    pass


class Eps(ModelSamplingDiscrete, EPS):
    pass


class Sd3(ModelSamplingDiscreteFlow, CONST):
    pass


class Flux(ModelSamplingFlux, CONST):
    pass


class Edm(Levels, EPS):
    pass


SCALED = VP.named("scaled_linear")
DISCRETE = Eps(torch.tensor(SCALED.ratio(range(1000))).float())


class KSAMPLER:
    """What the host's class of this name does with a sampler function."""

    def __init__(self, sampler_function: Callable[..., Tensor], extra_options: Any = None) -> None:
        self.sampler_function, self.extra_options = sampler_function, extra_options or {}

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent: Tensor,
    ) -> Tensor:
        sampling = model_wrap.inner_model.model_sampling
        top = float(sigmas[0]) > float(sampling.sigma_max) or math.isclose(
            sigmas[0], sampling.sigma_max, rel_tol=1e-5
        )
        x = sampling.noise_scaling(sigmas[0], noise, latent, top)
        inpainted = _Asks(model_wrap)
        steps = len(sigmas) - 1
        seen = lambda at: callback(at["i"], at["denoised"], at["x"], steps)  # noqa: E731
        return self.sampler_function(
            inpainted,
            x,
            sigmas,
            extra_args=extra_args,
            callback=seen,
            disable=True,
            **self.extra_options,
        )


class _Asks:
    """The host's inner wrapper: x, σ of shape (B,), and the extra arguments."""

    def __init__(self, guider: Any) -> None:
        self.inner_model = guider

    def __call__(
        self, x: Tensor, sigma: Tensor, model_options: Any = None, seed: int | None = None
    ) -> Tensor:
        assert sigma.shape == (len(x),)
        return self.inner_model(x, sigma)


class Guider:
    """The host's CFG guider over a model that knows one image per prompt."""

    def __init__(
        self, sampling: Any, cond: Tensor, uncond: Tensor, scale: float, options: dict[str, Any]
    ) -> None:
        self.inner_model = type("BaseModel", (), {"model_sampling": sampling})()
        self.cond, self.uncond, self.scale, self.options = cond, uncond, scale, options

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        denoised = self.uncond + (self.cond - self.uncond) * self.scale
        for function in self.options.get("sampler_post_cfg_function", []):
            denoised = function(
                {
                    "denoised": denoised,
                    "cond_denoised": self.cond,
                    "uncond_denoised": self.uncond,
                    "cond_scale": self.scale,
                    "sigma": sigma,
                    "input": x,
                }
            )
        return denoised.expand_as(x)


class Patcher:
    """The host's MODEL."""

    def __init__(self, sampling: Any, options: dict[str, Any] | None = None) -> None:
        self.sampling, self.model_options = sampling, options or {}

    def clone(self) -> Patcher:
        return Patcher(
            self.sampling, {key: list(value) for key, value in self.model_options.items()}
        )

    def get_model_object(self, name: str) -> Any:
        return {"model_sampling": self.sampling}[name]

    def set_model_sampler_post_cfg_function(
        self, function: Any, disable_cfg1_optimization: bool = False
    ) -> None:
        self.model_options.setdefault("sampler_post_cfg_function", []).append(function)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """``comfy.samplers`` and ``comfy.model_sampling`` with the names that the nodes use."""
    package, samplers, sampling = (
        ModuleType(f"comfy{name}") for name in ("", ".samplers", ".model_sampling")
    )
    samplers.KSAMPLER = KSAMPLER  # type: ignore[attr-defined]
    for cls in (CONST, ModelSamplingDiscrete, ModelSamplingFlux):
        setattr(sampling, cls.__name__, cls)
    package.samplers, package.model_sampling = samplers, sampling  # type: ignore[attr-defined]
    for module in (package, samplers, sampling):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def images(seed: int) -> Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def widgets(name: str) -> dict[str, tuple[Any, ...]]:
    """The inputs of one of our nodes that are no links."""
    required = nodes.NODE_CLASS_MAPPINGS[name].INPUT_TYPES()["required"]
    return {key: value for key, value in required.items() if value[0] not in LINKED}


def defaults(name: str) -> dict[str, Any]:
    return {
        key: (
            (options[0].get("default") if options else None)
            if not isinstance(kind, list)
            else kind[0]
        )
        for key, (kind, *options) in widgets(name).items()
    }


def test_the_folder_registers_the_nodes() -> None:
    spec = importlib.util.spec_from_file_location("custom_node", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS is nodes.NODE_CLASS_MAPPINGS
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(module.NODE_CLASS_MAPPINGS)


@pytest.mark.parametrize("name", nodes.NODE_CLASS_MAPPINGS)
def test_node_interface(name: str) -> None:
    cls = nodes.NODE_CLASS_MAPPINGS[name]
    assert cls.CATEGORY.startswith("sampling/")
    assert set(cls.RETURN_TYPES) <= set(LINKED)
    required = cls.INPUT_TYPES()["required"]
    made = getattr(cls(), cls.FUNCTION)
    code = made.__func__.__code__
    assert list(code.co_varnames[1 : code.co_argcount]) == list(required)
    for kind, *options in required.values():
        assert isinstance(kind, list) or kind in {*LINKED, "STRING", "INT", "FLOAT"}
        if kind in ("INT", "FLOAT"):
            assert options[0]["min"] <= options[0]["default"] <= options[0]["max"]
    json.dumps(cls.INPUT_TYPES())  # the host sends it to the browser


@pytest.mark.parametrize(
    ("sampling", "process"),
    [
        (DISCRETE, VP),
        (Sd3(torch.linspace(0.001, 1, 1000), shift=3.0), Flow),
        (Flux(torch.linspace(0.001, 1, 1000), shift=1.15), Flow),
        (Edm(torch.linspace(0.002, 120, 1000)), VE),
    ],
)
@pytest.mark.parametrize(
    "recipe", ["ge(gamma=2)", "ddim(eta=1) | momentum(-0.2)", "dpmpp(order=3)", "unipc"]
)
def test_a_run_ends_on_the_guided_image(sampling: Any, process: type, recipe: str) -> None:
    model = Patcher(sampling)
    (sampler,) = nodes.SamplerNode().make(**{**defaults("DiffdescentSampler"), "recipe": recipe})
    (sigmas,) = nodes.SchedulerNode().make(model, "uniform(spacing=trailing)", 6, 1.0)
    assert isinstance(nodes.process_of(sampling), process)
    assert sigmas.dtype == torch.float32
    assert torch.all(sigmas.diff() < 0)
    assert sigmas[0] == pytest.approx(float(sampling.sigma_max), rel=1e-4)
    assert sigmas[-1] == 0
    shown: list[tuple[int, int]] = []
    cond, uncond = images(1), images(2)
    ended = sampler.sample(
        Guider(sampling, cond, uncond, 2.0, model.model_options),
        sigmas,
        {"seed": 7, "model_options": {}},
        lambda i, denoised, x, total: shown.append((i, total)),
        torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(3, 4, 8, 8),
    )
    if "momentum" not in recipe:  # which moves the last step too
        assert torch.allclose(ended, (2 * cond - uncond).expand(3, -1, -1, -1), atol=1e-4)
    assert torch.isfinite(ended).all()
    assert shown == [(i, 6) for i in range(6)]


def test_the_widgets_make_the_recipe() -> None:
    assert nodes.chain("ddim", 2.0, -0.3) == parse("ge(gamma=2) | momentum(-0.3)")
    assert nodes.chain("unipc") == nodes.chain("unipc", 1.0, 0.0)
    with pytest.raises(UserError, match="one gradient estimation"):
        nodes.chain("ge", 2.0)


@pytest.mark.parametrize("noise", ["independent", "brownian"])
def test_noise_options_reach_the_sampler(noise: str) -> None:
    class Shrinks(Guider):
        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            return x / (1 + sigma**2).view(-1, 1, 1, 1)

    guider = Shrinks(DISCRETE, images(1), images(1), 1.0, {})
    sigmas = k.get_sigmas(5, "karras", SCALED)
    common = (guider, sigmas, {"seed": 7}, lambda *a: None, images(0), torch.zeros(1, 4, 8, 8))
    base = {**defaults("DiffdescentSampler"), "recipe": "dpmpp(order=2)", "noise": noise}

    def run(**changed: Any) -> Tensor:
        return nodes.SamplerNode().make(**{**base, **changed})[0].sample(*common)

    direct = k.sampler("dpmpp(order=2, eta=1)", process=k.discrete(DISCRETE.sigmas))
    x = DISCRETE.noise_scaling(sigmas[0], images(0), torch.zeros(1), True)
    expected = direct(lambda x, s: guider(x, s), x, sigmas, disable=True, seed=7, noise=noise)
    assert error(run(eta=1.0), expected) < 1e-5
    assert torch.equal(run(), run(eta=0.0))
    assert not torch.equal(run(eta=1.0), run(eta=1.0, s_noise=0.5))


def test_the_scheduler_counts_denoise_as_the_host_does() -> None:
    model = Patcher(DISCRETE)
    whole = nodes.SchedulerNode().make(model, "karras", 20, 1.0)[0]
    half = nodes.SchedulerNode().make(model, "karras", 10, 0.5)[0]
    assert torch.equal(half, whole[-11:])
    assert nodes.SchedulerNode().make(model, "karras", 10, 0.0)[0].tolist() == []
    grid = make_grid("karras", SCALED, 20)
    assert whole.tolist() == pytest.approx(grid.ratio.tolist(), rel=1e-4)


def test_flow_shift_moves_the_levels() -> None:
    t = torch.tensor([1 - i / 4 for i in range(4)])
    for sampling, shift in (
        (Sd3(torch.linspace(0.001, 1, 1000), 3.0), 3.0),
        (Flux(t.flip(0), 1.15), math.exp(1.15)),
    ):
        sigmas = nodes.SchedulerNode().make(Patcher(sampling), "simple", 4, 1.0)[0]
        assert sigmas[:-1].tolist() == pytest.approx(
            (shift * t / (1 + (shift - 1) * t)).tolist(), rel=1e-5
        )


def test_pxp_resolves_the_conflict_and_leaves_the_model_alone() -> None:
    model, scale = Patcher(DISCRETE), 3.0
    cond, uncond = images(1), images(2)
    (patched,) = nodes.PxPNode().patch(model, 0.7, 0.4, "sample")
    assert model.model_options == {}
    guided = Guider(DISCRETE, cond, uncond, scale, patched.model_options)(cond, torch.ones(1))
    plain = uncond + (cond - uncond) * scale
    direction = (cond - uncond) * (scale - 1)
    ours = FreePxP(0.7, 0.4).correct(
        Evaluation(cond + direction, cond, Point(0, 1, 1), 0, 0, direction)
    )
    assert torch.allclose(guided, plain + ours, atol=1e-6)
    # By hand: A and B conflict where ⟨A, B⟩ < 0.
    inner = (cond * direction).sum()
    if inner < 0:
        expected = (
            plain
            - 0.7 * inner / (direction**2).sum() * direction
            - 0.4 * inner / (cond**2).sum() * cond
        )
    else:
        expected = plain
    assert torch.allclose(guided, expected, atol=1e-5)


def test_pxp_does_something_where_there_is_a_conflict() -> None:
    cond = images(1)
    (patched,) = nodes.PxPNode().patch(Patcher(DISCRETE), 1.0, 1.0, "sample")
    (none,) = nodes.PxPNode().patch(Patcher(DISCRETE), 0.0, 0.0, "sample")
    plain = Guider(DISCRETE, cond, 2 * cond, 3.0, {})(cond, torch.ones(1))
    assert torch.equal(
        Guider(DISCRETE, cond, 2 * cond, 3.0, none.model_options)(cond, torch.ones(1)), plain
    )
    resolved = Guider(DISCRETE, cond, 2 * cond, 3.0, patched.model_options)(cond, torch.ones(1))
    assert (
        error(resolved, torch.zeros_like(cond)) < 1e-5
    )  # A = D, B = −2 D: all of both is conflict
    (again,) = nodes.PxPNode().patch(patched, 0.0, 0.0, "batch")
    assert len(again.model_options["sampler_post_cfg_function"]) == 2
    once = Guider(DISCRETE, cond, 2 * cond, 1.0, patched.model_options)(cond, torch.ones(1))
    assert torch.equal(once, cond)  # a scale of 1 is no guidance


def test_bad_input_is_told_before_the_queue_runs() -> None:
    assert nodes.SamplerNode.VALIDATE_INPUTS("ge | momentum(-0.3)") is True
    assert nodes.SamplerNode.VALIDATE_INPUTS(None) is True
    assert "did you mean" in str(nodes.SamplerNode.VALIDATE_INPUTS("unipcc"))
    assert "Unknown grid" in str(nodes.SchedulerNode.VALIDATE_INPUTS("karas"))
    for name in (*GRIDS, "loglinear(end=zero)", "normal"):
        if name != "explicit":
            assert nodes.SchedulerNode.VALIDATE_INPUTS(name) is True, name
    with pytest.raises(UserError, match="does not say its scale"):
        nodes.resolver(FreePxP())({"denoised": images(0)})


def linked(workflow: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[Any]]]:
    by_id = {node["id"]: node for node in workflow["nodes"]}
    for link in workflow["links"]:
        yield by_id[link[1]]["outputs"][link[2]], by_id[link[3]]["inputs"][link[4]], link


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_example_workflows_fit_the_nodes(path: Path) -> None:
    workflow = json.loads(path.read_text())
    for output, slot, link in linked(workflow):
        assert link[0] in output["links"]
        assert slot["link"] == link[0]
        assert output["type"] == slot["type"] == link[5]
    assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])
    ours = [node for node in workflow["nodes"] if node["type"].startswith("Diffdescent")]
    assert {node["type"] for node in ours} == set(nodes.NODE_CLASS_MAPPINGS)
    for node in ours:
        cls = nodes.NODE_CLASS_MAPPINGS[node["type"]]
        required = cls.INPUT_TYPES()["required"]
        assert [(slot["name"], slot["type"]) for slot in node["inputs"]] == [
            (key, kind)
            for key, (kind, *_) in required.items()
            if isinstance(kind, str) and kind in LINKED
        ]
        assert all(slot["link"] is not None for slot in node["inputs"])
        assert [out["type"] for out in node["outputs"]] == list(cls.RETURN_TYPES)
        values = dict(zip(widgets(node["type"]), node["widgets_values"], strict=True))
        for key, value in values.items():
            kind, *options = required[key]
            if isinstance(kind, list):
                assert value in kind
            elif kind == "STRING":
                assert isinstance(value, str)
            else:
                assert options[0]["min"] <= value <= options[0]["max"]
        if hasattr(cls, "VALIDATE_INPUTS"):
            first = "recipe" if "recipe" in values else "grid"
            assert cls.VALIDATE_INPUTS(values[first]) is True


def test_there_is_an_example() -> None:
    assert WORKFLOWS
