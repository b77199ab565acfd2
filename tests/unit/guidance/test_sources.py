"""What gives a gradient: energies, classifiers and CLIP, on x_t and on the estimate of x0, in
batches and alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import diffdescent as dd
from diffdescent.core.predict import Prediction
from diffdescent.core.process import VE, Point
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.guidance import CLIP, Classifier, Energy, Guided, load_guide
from diffdescent.guidance.clip import STD, clip_pixels
from diffdescent.guidance.elements import SOURCES, Gradient, source
from diffdescent.guidance.guide import Guide
from diffdescent.guidance.pretrained import NoiseAware
from diffdescent.models.gaussian import Gaussian
from tests.unit.guidance.models import LABELS, VP, NoGradient, mixture, run

AT = VP.point(400)
CLEAN = Point(0.0, 1.0, 0.0)


def image(n: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 3, 6, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def towards(target: float) -> Energy:
    return Energy(lambda x, at, labels: 0.5 * (x - target).square().flatten(1).sum(1))


def test_the_gradient_of_an_energy() -> None:
    x = image()
    assert torch.allclose(towards(0.3)(x, AT, None), 0.3 - x, atol=1e-12, rtol=0)
    by_label = Energy(lambda x, at, labels: x.flatten(1).sum(1) * labels * at.sigma)  # type: ignore[operator]
    expected = -(LABELS.double() * AT.sigma).view(-1, 1, 1, 1).expand_as(x)
    assert torch.allclose(by_label(x, AT, LABELS.double()), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("value", "found"), [(None, "None .is a return missing"), (1.5, "a float")]
)
def test_an_energy_that_gives_no_tensor(value: object, found: str) -> None:
    energy = Energy(lambda x, at, labels: value)  # type: ignore[arg-type, return-value]
    with pytest.raises(dd.UserError, match=rf"a tensor of shape \(5,\), not {found}"):
        energy(image(), AT, None)


def test_a_source_of_guidance_that_is_not_whole() -> None:
    with pytest.raises(dd.UserError, match="Half lacks guide, which every guidance has"):

        @source("half")
        @dataclass(frozen=True)
        class Half(Gradient):
            pass

    @source("nothing")
    @dataclass(frozen=True)
    class Nothing(Gradient):
        def guide(self, model: dd.Predictor, given: Guide | None) -> Guide:
            return None  # type: ignore[return-value]

    try:
        with pytest.raises(dd.UserError, match="'nothing' gave None for a guide"):
            dd.sample("cifar10-mixture", "ddpm", guidance="nothing", steps=2, n=1)
    finally:
        del SOURCES["nothing"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_network_sees_its_dtype_and_the_gradient_is_single(dtype: torch.dtype) -> None:
    seen = []

    def energy(x: Tensor, at: Point, labels: Tensor | None) -> Tensor:
        seen.append(x.dtype)
        return x.square().flatten(1).sum(1)

    gradient = Energy(energy, dtype)(image(dtype=torch.float32), AT, None)
    assert seen == [dtype]
    assert gradient.dtype == torch.promote_types(dtype, torch.float32)


def test_no_graph_is_kept() -> None:
    """What comes out needs no gradient, and the weights of guide and network have none, though they
    could."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    guide = Energy(lambda x, at, labels: (weight * x).square().flatten(1).sum(1))

    def network(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return weight * x

    model = dd.Network(network, process=VP, shape=(3, 6, 5), dtype=torch.float64)
    for on in ("x", "x0_frozen", "x0"):
        with torch.no_grad():
            found = Guided(model, guide, shift="score", on=on)(image(), AT)
        assert not found.raw.requires_grad
        assert found.guidance.score is not None
        assert not found.guidance.score.requires_grad
        assert weight.grad is None


VARIANCES = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(4)).double() + 0.2


def gaussian() -> Gaussian:
    return Gaussian(
        torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(3)).double(), VARIANCES, VP
    )


def test_through_the_network_the_gradient_is_the_jacobians() -> None:
    """For a Gaussian x̂0 is linear in x_t with slope αv/(α²v + σ²); with ε̂ held fixed the slope is
    1/α."""
    model, x = gaussian(), image()
    x0 = model(x, AT).to("x0", x)
    slope = AT.alpha * VARIANCES / (AT.alpha**2 * VARIANCES + AT.sigma**2)
    true = Guided(model, towards(0.3), 2.0, "score", on="x0")(x, AT)
    frozen = Guided(model, towards(0.3), 2.0, "score", on="x0_frozen")(x, AT)
    assert torch.allclose(true.guidance.score, 2 * slope * (0.3 - x0), atol=1e-11, rtol=0)
    assert torch.allclose(frozen.guidance.score, 2 * (0.3 - x0) / AT.alpha, atol=1e-11, rtol=0)
    for prediction in (true, frozen):
        assert torch.equal(prediction.to("x0", x), x0)


def test_an_estimate_is_shown_as_clean() -> None:
    levels = []

    def energy(x: Tensor, at: Point, labels: Tensor | None) -> Tensor:
        levels.append(at)
        return x.flatten(1).sum(1)

    for on in ("x", "x0", "x0_frozen"):
        Guided(gaussian(), Energy(energy), on=on)(image(), AT)
    assert levels == [AT, CLEAN, CLEAN]


@pytest.mark.parametrize("nested", [False, True])
def test_each_sample_has_its_own_measurement(nested: bool) -> None:
    """Six samples in padded micro-batches of four, each drawn to a colour of its own."""
    goals = torch.linspace(-0.9, 0.9, 6).double()

    def energy(x: Tensor, at: Point, labels: Tensor | None, seen: Tensor) -> Tensor:
        assert len(seen) == len(x)
        return 5 * (x.flatten(1).mean(1) - seen).square()

    def guided(measured: Tensor) -> Any:
        model = Guided(
            gaussian(),
            Energy(energy, measured=measured),
            1.0,
            "score",
            on="x0_frozen",
            interval=(0.0, 2.0),
        )
        return Guided(model, towards(0.0), 0.1, "score") if nested else model

    model = guided(goals)
    both = {"steps": 20, "n": 6}
    whole = dd.sample(model, "ddim", **both, micro_batch=4).images
    assert torch.equal(whole, dd.sample(model, "ddim", **both, micro_batch=4, batch_size=3).images)
    for i, goal in enumerate(goals):
        alone = guided(goal.expand(1))
        one = dd.sample(alone, "ddim", steps=20, samples=[i], micro_batch=4).images
        assert torch.equal(one[0], whole[i])
    assert not torch.equal(one[0], dd.sample(gaussian(), "ddim", steps=20, samples=[5]).images[0])
    with pytest.raises(dd.UserError, match="measurements of 6 samples, and the run has more"):
        dd.sample(model, "ddim", steps=2, n=7)
    with pytest.raises(dd.UserError, match="6 measurements for 1 image"):
        model(image()[:1], VP.point(100))


def test_guiding_by_a_likelihood_gives_the_posterior() -> None:
    """A Gaussian prior and a look at x0 through noise of standard deviation s. The exact gradient
    of log p(y | x_t) is known, and DDIM along prior score + it ends at the posterior's mean and
    variance; the gradient on x̂0 leaves out the variance of x0 given x_t, and is longer."""
    prior = Gaussian(torch.zeros(3, 6, 5).double(), torch.ones(3, 6, 5).double(), VP)
    y, s2 = 1.0, 0.5

    def energy(x: Tensor, at: Point, labels: Tensor | None) -> Tensor:
        slope, spread = (
            at.alpha / (at.alpha**2 + at.sigma**2),
            at.sigma**2 / (at.alpha**2 + at.sigma**2),
        )
        return (y - slope * x).square().flatten(1).sum(1) / (2 * (s2 + spread))

    table = DDIM().plan(dd.grid("loglinear", VP, 400))
    ends = run(table, Guided(prior, Energy(energy), 1.0, "score"), width=5)
    mean, variance = y / (1 + s2), s2 / (1 + s2)
    spread = (ends - mean).square().mean()
    assert abs(float(ends.mean()) - mean) < 0.1
    assert abs(float(spread) / variance - 1) < 0.2
    x = image()
    on_x0 = Guided(
        prior, Energy(lambda x, at, labels: (y - x).square().flatten(1).sum(1) / (2 * s2)), on="x0"
    )
    exact = Guided(prior, Energy(energy))
    ratio = on_x0(x, AT).guidance.mean / exact(x, AT).guidance.mean
    assert torch.allclose(ratio, torch.full_like(ratio, (s2 + AT.sigma**2) / s2), rtol=1e-9, atol=0)


GUIDES: dict[str, Callable[[], Guided]] = {
    "classifier": lambda: Guided(mixture(), Classifier(mixture().class_log_prob), 3.0, "score"),
    "classifier on x0": lambda: Guided(
        mixture(), Classifier(mixture().class_log_prob), 3.0, "score", on="x0"
    ),
    "energy": lambda: Guided(mixture(), towards(0.2), 0.5, "score"),
    "frozen energy": lambda: Guided(mixture(), towards(0.2), 0.01, "score", on="x0_frozen"),
}


@pytest.mark.parametrize("name", GUIDES)
def test_splitting_and_permuting_change_nothing(name: str) -> None:
    table, model = DDPM().plan(dd.grid("uniform(spacing=trailing)", VP, 4)), GUIDES[name]()
    whole = run(table, model, width=1)
    order = (3, 0, 4, 2, 1)
    assert torch.equal(whole[list(order)], run(table, model, order, width=1))
    assert torch.equal(whole[2:3], run(table, model, (2,), width=1))
    # One width, one place: a padded micro-batch gives the same bits as a full one.
    wide = run(table, model, width=3)
    assert torch.equal(wide[:3], run(table, model, (0, 1, 2), width=3))
    assert torch.allclose(wide, whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize("on", ["x", "x0", "x0_frozen"])
def test_scale_zero_is_the_model_alone(on: Any) -> None:
    table = DDIM(0.5).plan(dd.grid("uniform(spacing=trailing)", VP, 4))
    guided = Guided(mixture(), Classifier(mixture().class_log_prob), 0.0, "score", on=on)
    assert torch.equal(run(table, guided), run(table, NoGradient(mixture())))


def test_an_interval_of_a_gradient() -> None:
    """Outside it there is a zero gradient, and the guide is not asked."""
    asked = []

    def energy(x: Tensor, at: Point, labels: Tensor | None) -> Tensor:
        asked.append(at.ratio)
        return x.square().flatten(1).sum(1)

    table = DDPM().plan(dd.grid("uniform(spacing=trailing)", VP, 8))
    run(table, Guided(mixture(), Energy(energy), interval=(0.3, 2.0)))
    assert asked == [row.at.ratio for row in table.rows if 0.3 <= row.at.ratio <= 2.0]
    empty = Guided(mixture(), Energy(energy), interval=(0.0, 0.0))
    assert torch.equal(run(table, empty), run(table, NoGradient(mixture())))


# CLIP


@pytest.fixture(scope="module")
def clip() -> Any:
    """A real CLIP, small and with random weights."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**small, "vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 49},
        vision_config={**small, "image_size": 12, "patch_size": 4},
        projection_dim=16,
    )
    return CLIPModel(config).eval()


IDS = torch.tensor([[1, 5, 6, 49], [1, 7, 8, 49], [1, 9, 3, 49]])


def pixels(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_clip_pixels_are_those_of_the_reference_preprocessing() -> None:
    """transformers' own image processor, up to its rounding to 8 bits; no value here is so extreme
    that it clamps."""
    from transformers import CLIPImageProcessor

    pictures = ((pixels() / 4 + 1) * 127.5).round().to(torch.uint8)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}
    )
    reference = processor(
        images=[p.permute(1, 2, 0).numpy() for p in pictures], return_tensors="pt"
    )["pixel_values"]
    ours = clip_pixels(pictures / 127.5 - 1, 12)
    assert (ours - reference).abs().max() < 1.5 / 255 / min(STD)


def test_clip_pixels_of_wide_and_grey_images() -> None:
    wide = torch.arange(24.0).view(1, 1, 4, 6).expand(1, 3, 4, 6)
    cut = clip_pixels(wide, 4, mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(cut, (wide[..., 1:5] + 1) / 2)
    grey = clip_pixels(wide[:, :1], 4)
    assert torch.equal(grey, clip_pixels(wide, 4))
    with pytest.raises(dd.UserError, match="4 channels"):
        clip_pixels(torch.zeros(1, 4, 8, 8), 4)


def test_the_similarity_is_the_models_own(clip: Any) -> None:
    """transformers' logits_per_image, of the same pixels, and its gradient by finite
    differences."""
    guide = CLIP.of(clip, input_ids=IDS)
    x, labels = pixels(), torch.tensor([2, 0, -1])
    with torch.no_grad():
        logits = clip(input_ids=IDS, pixel_values=clip_pixels(x, 12)).logits_per_image
        ours = guide.similarity(x, CLEAN, labels)
    assert guide.label_count == 3
    assert torch.allclose(ours[:2], logits[[0, 1], [2, 0]], atol=1e-5)
    assert ours[2] == 0
    gradient = guide(x, CLEAN, labels)
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    h = 1e-2
    with torch.no_grad():
        both = [guide.similarity(x + sign * h * along, CLEAN, labels) for sign in (1, -1)]
    slope = (both[0] - both[1]) / (2 * h)
    assert torch.allclose(
        (gradient * along).flatten(1).sum(1), slope, atol=2e-3 * float(slope.abs().max())
    )
    assert not gradient[2].any()


def test_text_as_ids_or_embeddings_for_one_or_for_each(clip: Any) -> None:
    with torch.no_grad():
        text = clip.get_text_features(input_ids=IDS).pooler_output
    x = pixels()
    by_ids, by_text = CLIP.of(clip, input_ids=IDS), CLIP.of(clip, text=text)
    assert torch.equal(
        by_ids(x, CLEAN, torch.tensor([1, 1, 1])), by_text(x, CLEAN, torch.tensor([1, 1, 1]))
    )
    one = CLIP.of(clip, input_ids=IDS[1:2])
    assert one.label_count is None
    assert torch.allclose(one(x, CLEAN, None), by_ids(x, CLEAN, torch.tensor([1, 1, 1])), atol=1e-6)


def test_clip_guides_a_run_towards_its_text(clip: Any) -> None:
    """On the estimate of x0 of an exact model, through its Jacobian: the similarity grows with the
    scale."""
    model = Gaussian(torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.25), VP)
    guide = CLIP.of(clip, input_ids=IDS)
    labels = torch.tensor([0, 1, 2, 0])
    found = []
    for scale in (0.0, 1.0, 5.0):
        guided = Guided(model, guide, scale, "score", on="x0")
        images = dd.sample(guided, "ddim", steps=10, n=4, labels=labels).images
        with torch.no_grad():
            found.append(guide.similarity(images.float(), CLEAN, labels).mean())
    assert found[0] < found[1] < found[2]
    split = dd.sample(guided, "ddim", steps=10, n=4, labels=labels, batch_size=1)
    assert torch.equal(images, split.images)


def test_half_precision_clip(clip: Any) -> None:
    import copy

    guide, low = (
        CLIP.of(clip, input_ids=IDS),
        CLIP.of(copy.deepcopy(clip).bfloat16(), input_ids=IDS),
    )
    labels = torch.tensor([0, 1, 2])
    exact, rough = (g(pixels(), CLEAN, labels) for g in (guide, low))
    assert rough.dtype == torch.float32
    assert F.cosine_similarity(exact.flatten(1), rough.flatten(1)).min() > 0.95


# Guides from disk


def test_the_bundled_guide_at_any_process() -> None:
    """It reads the level off σ/α and the image at that level's own size."""
    guide = load_guide("cifar10-guide")
    assert guide.label_count == 10
    assert isinstance(guide.logits, NoiseAware)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5
    at = VP.point(300)
    ve = Point(0.0, 1.0, at.ratio)
    with torch.no_grad():
        direct = guide.logits.network(x, torch.full((2,), 300.0))
        assert torch.allclose(guide.logits(x, at), direct, atol=1e-4)
        assert torch.allclose(guide.logits(x / at.alpha, ve), direct, atol=1e-4)
        clean = guide.logits.network(x, torch.zeros(2))
        assert torch.allclose(guide.logits(x, CLEAN), clean, atol=1e-6)
        far = VE().point(80.0)
        assert guide.logits(x * 80, far).isfinite().all()
    labels = torch.tensor([3, 5])
    on_vp, on_ve = guide(x, at, labels), guide(x / at.alpha, ve, labels)
    assert torch.allclose(on_ve, on_vp * at.alpha, rtol=1e-2, atol=1e-4)


def test_guides_that_do_not_load() -> None:
    cases: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("cifar10-gide", {}, "did you mean 'cifar10-guide'"),
        ("./nowhere", {}, "no folder"),
        ("cifar10-features", {}, "clean images alone"),
        ("cifar10-guide", {"channels": 1}, "images with 3 channels, and the model's have 1"),
    )
    for name, options, message in cases:
        with pytest.raises(dd.UserError, match=message):
            load_guide(name, **options)
    assert load_guide("cifar10-features", on="x0").label_count == 10


class Detached:
    """A model whose output has forgotten where it came from."""

    def __init__(self) -> None:
        self.model = mixture()
        self.process, self.shape = self.model.process, self.model.shape

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        prediction = self.model(x, point, cond)
        return replace(prediction, raw=prediction.raw.detach())


@pytest.mark.parametrize("on", ["x", "x0", "x0_frozen"])
@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x, at, labels: None, "not None"),
        (lambda x, at, labels: 0.5, "not a float"),
        (lambda x, at, labels: x.sum(), r"not a tensor of shape \(\)"),
        (lambda x, at, labels: x.flatten(1).sum(1), r"not a tensor of shape \(5,\)"),
        (lambda x, at, labels: x.half(), "not one in float16"),
        (lambda x, at, labels: x.long(), "not one in int64"),
    ],
)
def test_what_a_guide_gives_is_checked(on: Any, give: Any, message: str) -> None:
    with pytest.raises(dd.UserError, match=f"of the image's shape .* {message}; an energy"):
        Guided(gaussian(), give, on=on)(image(), AT)


def test_mistakes(clip: Any) -> None:
    x, labels = image(), LABELS
    small = pixels()
    for wrong, message in (
        (
            lambda: Energy(lambda x, at, y: x.detach().flatten(1).sum(1))(x, AT, None),
            "does not depend on x",
        ),
        (
            lambda: Energy(lambda x, at, y: torch.zeros(5, requires_grad=True))(x, AT, None),
            "does not depend on x",
        ),
        (lambda: Energy(lambda x, at, y: x.sum())(x, AT, None), r"shape \(5,\)"),
        (
            lambda: Classifier(lambda x, at: x.detach().flatten(1))(x, AT, labels),
            "does not depend on x",
        ),
        (
            lambda: Guided(Detached(), towards(0.0), on="x0")(x, AT, None),
            "its output does not depend on x",
        ),
        (lambda: Guided(gaussian(), towards(0.0), on="eps"), "image for the guide"),  # type: ignore[arg-type]
        (lambda: Guided(gaussian(), towards(0.0), interval=(2.0, 1.0)), "0 ≤ lo ≤ hi"),
        (lambda: CLIP.of(clip), "one text"),
        (lambda: CLIP(lambda x, at: x, torch.zeros(1, 1, 1)), "shape"),
        (lambda: CLIP(lambda x, at: x.flatten(1), torch.zeros(7))(small, CLEAN, None), "one model"),
        (lambda: CLIP.of(clip, input_ids=IDS)(small, CLEAN, None), "give labels"),
    ):
        with pytest.raises(dd.UserError, match=message):
            wrong()
