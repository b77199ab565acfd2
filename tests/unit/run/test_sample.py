"""sample() and invert(): the same image in any batch, starts from images, masks, callbacks, and
mistakes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

import diffdescent as dd
from diffdescent.base.images import to_uint8
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import Batch, collect, noise_for, prepare, watch

VP = dd.VP.named("linear")


def convolutional(size: int = 16) -> dd.Network:
    """A small random convolutional network with normalisation and attention-like mixing, as real
    ones have."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.GroupNorm(8, 32),
        nn.SiLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.SiLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.SiLU(),
        nn.ConvTranspose2d(64, 3, 2, 2),
    ).eval()
    return dd.Network(lambda x, t, cond: net(x), VP, shape=(3, size, size), name="convolutional")


def gaussian() -> Gaussian:
    torch.manual_seed(1)
    return Gaussian(torch.randn(3, 8, 8) * 0.3, torch.rand(3, 8, 8) * 0.2 + 0.02, VP)


@pytest.fixture(params=["network", "exact"])
def model(request: pytest.FixtureRequest) -> dd.Predictor:
    return convolutional() if request.param == "network" else gaussian()


@pytest.mark.parametrize("recipe", ["ge | momentum(-0.3)", "ddpm", "unipc"])
def test_batch_size_and_split_change_no_bit(model: dd.Predictor, recipe: str) -> None:
    whole = dd.sample(model, recipe, steps=6, n=65, seed=3).images
    for size in (1, 5):
        assert torch.equal(
            whole, dd.sample(model, recipe, steps=6, n=65, seed=3, batch_size=size).images
        )
    picked = [64, 7, 30, 2, 51]
    assert torch.equal(
        whole[picked], dd.sample(model, recipe, steps=6, samples=picked, seed=3).images
    )
    # At a width that is asked for, whatever the number of samples.
    wide = dd.sample(model, recipe, steps=6, n=65, seed=3, micro_batch=4).images
    few = dd.sample(model, recipe, steps=6, samples=picked[:3], seed=3, micro_batch=4).images
    assert torch.equal(wide[picked[:3]], few)


def test_one_image_costs_one_image() -> None:
    seen: list[int] = []

    def network(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        seen.append(len(x))
        return x * 0.1

    model = dd.Network(network, VP, shape=(3, 8, 8))
    for n, widths in ((1, {1}), (3, {3}), (4, {4}), (6, {4})):
        seen.clear()
        result = dd.sample(model, "ddim", steps=2, n=n)
        assert set(seen) == widths
        assert result.record.micro_batch == max(widths)
    asked = dd.sample(model, "ddim", steps=2, n=1, micro_batch=4)
    assert seen[-1] == asked.record.micro_batch == 4
    # The last bits follow the width, and nothing more than they.
    one = dd.sample(convolutional(), "ddim", steps=4, n=1).images
    padded = dd.sample(convolutional(), "ddim", steps=4, n=1, micro_batch=4).images
    torch.testing.assert_close(one, padded, atol=1e-5, rtol=1e-5)


def test_a_grid_of_times() -> None:
    model = gaussian()
    times = [999, 500, 0]
    found = dd.sample(model, "ddim", grid=times).plan
    assert found.grid.t.tolist() == times
    assert found.nfe == 2
    tensor = dd.sample(model, "ddim", grid=torch.tensor([999.0, 500.0, 0.0])).images
    assert torch.equal(tensor, dd.sample(model, "ddim", grid=times).images)
    for wrong, words in (
        ([0, 500], "must fall"),
        (["a"], "list of numbers"),
        (7, "list of numbers"),
    ):
        with pytest.raises(dd.UserError, match=words):
            dd.sample(model, "ddim", grid=wrong)  # type: ignore[arg-type]


def test_seeds_and_samples_differ(model: dd.Predictor) -> None:
    a = dd.sample(model, "ddim", steps=3, n=4, seed=0).images
    b = dd.sample(model, "ddim", steps=3, n=4, seed=1).images
    pairs = torch.cdist(torch.cat([a, b]).flatten(1), torch.cat([a, b]).flatten(1))
    assert (pairs + torch.eye(8) * 9 > 1e-3).all()


def test_a_gaussian_is_sampled_with_its_own_moments() -> None:
    model = gaussian()
    result = dd.sample(
        model,
        "dpmpp(order=2)",
        steps=40,
        grid="logsnr",
        n=4096,
        seed=0,
        batch_size=4096,
        micro_batch=4096,
    )
    images = result.images.double()
    assert (images.mean(0) - model.mean.reshape(3, 8, 8)).abs().max() < 0.03
    expected = model.marginal(result.plan.grid.points[-1])
    variance = (expected.sample(8192).double() - expected.mean.reshape(3, 8, 8)).var(0)
    assert (images.var(0) / variance - 1).abs().max() < 0.2


def test_float64_state_and_low_precision_network() -> None:
    net = convolutional()
    exact = dd.sample(net, "ddim", steps=4, n=2, dtype=torch.float64).images
    assert exact.dtype == torch.float64
    assert (exact - dd.sample(net, "ddim", steps=4, n=2).images).abs().max() < 1e-3

    def half(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        assert x.dtype == torch.bfloat16
        return x

    images = dd.sample(
        dd.Network(half, VP, shape=(3, 8, 8), dtype=torch.bfloat16), "ddim", steps=4, n=2
    ).images
    assert images.dtype == torch.float32


def test_trajectory_and_callback_see_every_evaluation() -> None:
    seen: list[dd.Progress] = []
    result = dd.sample(
        gaussian(), "heun", steps=4, n=3, batch_size=2, callback=seen.append, trajectory=True
    )
    assert result.plan.nfe == 7
    assert [p.index for p in seen] == [*range(7), *range(7)]
    assert [p.batch for p in seen] == [0] * 7 + [1] * 7
    assert seen[0].samples == (0, 1)
    assert seen[-1].samples == (2,)
    assert result.trajectory is not None
    assert result.trajectory.shape == (7, 3, 3, 8, 8)
    assert torch.equal(result.trajectory[:, :2], torch.stack([p.x0 for p in seen[:7]]))
    # At σ = 0 the last x0 is the image itself.
    torch.testing.assert_close(result.trajectory[-1], result.images, atol=1e-5, rtol=0)


def test_a_run_is_watched_evaluation_by_evaluation_and_can_be_left() -> None:
    asked: list[float] = []
    model = gaussian()

    def counting(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        asked.append(float(t[0]))
        return model(x, VP.point(float(t[0]))).to("eps", x)

    net = dd.Network(counting, VP, shape=(3, 8, 8))
    run = prepare(net, "heun", steps=4, n=3, batch_size=2)
    *seen, last = watch(run)
    assert [type(one) for one in [*seen, last]] == [*[dd.Progress] * 7, Batch] * 2
    assert isinstance(last, Batch)
    assert torch.equal(last.images, collect(run).images[2:])
    asked.clear()
    left = watch(run)
    first = next(left)
    assert isinstance(first, dd.Progress)
    left.close()
    assert first.index == 0
    assert len(asked) == 1
    assert torch.is_grad_enabled()  # also between two evaluations


def test_strength_is_a_noise_level() -> None:
    model = gaussian()
    image = model.sample(2).float()
    weak = dd.sample(model, "ddim", steps=50, n=2, init=image, strength=0.05).images
    strong = dd.sample(model, "ddim", steps=50, n=2, init=image, strength=0.9).images
    assert (weak - image).abs().mean() < 0.3 * (strong - image).abs().mean()
    plan = dd.sample(
        model, "ddim", steps=50, grid="uniform(spacing=leading)", n=2, init=image, strength=0.5
    ).plan
    assert plan.grid.t[0] == 480  # the first of 0, 20, … 980 at or below 499.5
    with pytest.raises(dd.UserError, match="below every step"):
        dd.sample(
            model, "ddim", steps=5, n=2, init=image, strength=0.01, grid="uniform(spacing=trailing)"
        )


@pytest.mark.parametrize("recipe", ["ddim", "unipc", "ddim | momentum(-0.3)", "ddpm"])
def test_a_mask_keeps_the_known_region(recipe: str) -> None:
    model = gaussian()
    known = model.sample(2).float()
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    free = dd.sample(model, recipe, steps=20, grid="uniform", n=2).images
    after = dd.sample(model, recipe, steps=20, grid="uniform", n=2, init=known, mask=mask).images
    torch.testing.assert_close(after[:, :, :4], known[:, :, :4], atol=1e-6, rtol=0)
    assert (free[:, :, :4] - known[:, :, :4]).abs().mean() > 0.05
    before = dd.sample(
        model, recipe, steps=20, grid="uniform", n=2, init=known, mask=mask, blend="before"
    ).images
    if "momentum" in recipe:
        # Momentum carries the blend's jumps on, so the region is close but not exact.
        assert 1e-6 < (before[:, :, :4] - known[:, :, :4]).abs().max() < 0.5
    else:
        assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("recipe", "error"), [("ddim", 0.1), ("dpmpp(order=2)", 0.01), ("heun", 0.01)]
)
def test_inversion_comes_back(recipe: str, error: float) -> None:
    model = gaussian()
    image = model.sample(3).float()
    latent = dd.invert(model, image, recipe, steps=200, grid="logsnr")
    back = dd.sample(model, recipe, grid=latent.plan.grid.reversed(), start=latent.images, n=3)
    assert (latent.images - image).abs().mean() > 0.3
    assert (back.images / float(back.plan.grid.alpha[-1]) - image).abs().max() < error


def test_inversion_of_a_grid_that_ends_at_zero_starts_at_the_lowest_trained_level() -> None:
    latent = dd.invert(
        gaussian(), torch.zeros(1, 3, 8, 8), "ddim", steps=10, grid="uniform(spacing=trailing)"
    )
    assert latent.plan.grid.t[0] == 0
    assert latent.plan.grid.t[-1] == 999


def test_a_stochastic_recipe_cannot_be_inverted() -> None:
    with pytest.raises(dd.UserError, match="stochastic"):
        dd.invert(gaussian(), torch.zeros(1, 3, 8, 8), "ddpm")


def test_brownian_noise_is_shared_between_step_counts() -> None:
    model = gaussian()

    def distance(noise: str) -> float:
        few, many = (
            dd.sample(
                model, "ddpm", steps=n, n=64, noise=noise, grid="uniform(spacing=trailing)"
            ).images  # type: ignore[arg-type]
            for n in (125, 250)
        )
        return float((few - many).pow(2).mean().sqrt())

    assert distance("brownian") < 0.5 * distance("independent")


def test_the_record_repeats_the_run() -> None:
    first = dd.sample(gaussian(), "ge(gamma=1.7)", steps=6, n=3, seed=9)
    record = json.loads(first.record.text())
    grid = dd.grid("loglinear", VP, 6)
    assert record["grid"]["t"] == grid.t.tolist()
    again = dd.sample(
        gaussian(),
        record["recipe"],
        grid=grid,
        n=3,
        seed=record["seed"],
        micro_batch=record["micro_batch"],
    )
    assert torch.equal(first.images, again.images)


def test_presets_by_step_count() -> None:
    assert dd.sample(gaussian(), steps=7, n=1).record.recipe == "ddim | ge"
    assert dd.sample(gaussian(), steps=8, n=1).record.recipe == "unipc"
    assert dd.sample(gaussian(), steps=8, n=1).record.grid.name == "loglinear"


def test_nan_is_reported_with_step_level_and_samples() -> None:
    def broken(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        bad = (t < 500) & (x.flatten(1).mean(1) > 0)
        return torch.where(bad[:, None, None, None], torch.nan, x * 0.1)

    model = dd.Network(broken, VP, shape=(3, 16, 16))
    positive = [
        i for i, noise in enumerate(noise_for(0, range(8), (3, 16, 16))) if noise.mean() > 0
    ]
    assert 0 < len(positive) < 8
    named = (
        rf"evaluation 5 \(step 5, t = 499, σ/α = 3\.424\) for {len(positive)} of 8 samples"
        rf" \({positive[0]}, "
    )
    with pytest.raises(dd.UserError, match=named):
        dd.sample(model, "ddim", steps=10, n=8, grid="uniform(spacing=trailing)")


def test_a_wrong_output_shape_is_explained() -> None:
    model = dd.Network(lambda x, t, cond: torch.cat([x, x], 1), VP, shape=(3, 8, 8))
    with pytest.raises(dd.UserError, match="learned_variance"):
        dd.sample(model, "ddim", steps=2)


def test_learned_variance_interpolates_between_small_and_large() -> None:
    def module(value: float) -> dd.Network:
        return dd.Network(
            lambda x, t, cond: torch.cat([x, torch.full_like(x, value)], 1),
            VP,
            shape=(3, 8, 8),
            learned_variance=True,
        )

    for value, name in ((-1.0, "small"), (1.0, "large")):
        learned = dd.sample(module(value), "ddpm(variance=learned)", steps=5, n=2).images
        fixed = dd.sample(module(value), f"ddpm(variance={name})", steps=5, n=2).images
        torch.testing.assert_close(learned, fixed, rtol=1e-5, atol=1e-5)
    with pytest.raises(dd.UserError, match="predicts none"):
        dd.sample(gaussian(), "ddpm(variance=learned)", steps=5)


MISTAKES = {
    "no such model": (lambda m: dd.sample("nothing"), "Unknown model"),
    "no samples": (lambda m: dd.sample(m, n=0), "at least 1"),
    "n against samples": (lambda m: dd.sample(m, n=3, samples=[1]), "disagree"),
    "batch size": (lambda m: dd.sample(m, batch_size=0), "at least 1"),
    "half precision state": (lambda m: dd.sample(m, dtype=torch.float16), "float32 or float64"),
    "labels": (lambda m: dd.sample(m, n=2, labels=[0, 1, 2]), "3 labels"),
    "labels are whole": (lambda m: dd.sample(m, n=1, labels=[1.5]), "whole numbers"),
    "steps": (lambda m: dd.sample(m, steps=2.5), "whole number"),
    "device": (lambda m: dd.sample(m, device="cuda:9"), "not available"),
    "labels out of range": (lambda m: dd.sample(m, n=2, labels=5), "label"),
    "init shape": (
        lambda m: dd.sample(m, n=2, init=torch.zeros(3, 9, 9)),
        r"init has shape \(3, 9, 9\)",
    ),
    "mask without init": (lambda m: dd.sample(m, mask=torch.ones(1, 8, 8)), "needs init"),
    "strength": (lambda m: dd.sample(m, init=torch.zeros(3, 8, 8), strength=0.0), r"\(0, 1\]"),
    "noise": (lambda m: dd.sample(m, "ddpm", noise="pink"), "brownian"),
    "blend": (
        lambda m: dd.sample(m, init=torch.zeros(3, 8, 8), mask=torch.ones(1, 8, 8), blend="during"),
        "before",
    ),
    "no shape": (lambda m: dd.sample(dd.Network(lambda x, t, c: x, VP)), "shape="),
    "prediction type": (lambda m: dd.Network(lambda x, t, c: x, VP, kind="noise"), "eps"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", sorted(MISTAKES))
def test_mistakes_are_answered_in_one_sentence(case: str) -> None:
    call, pattern = MISTAKES[case]
    with pytest.raises(dd.UserError, match=pattern) as caught:
        call(gaussian())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "recipe", ["ddim", "ge", "plms", "dpmpp(order=2)", "unipc", "heun", "ddpm"]
)
def test_flow_models_start_from_pure_noise(recipe: str) -> None:
    torch.manual_seed(1)
    model = Gaussian(
        torch.randn(3, 4, 4) * 0.3, torch.rand(3, 4, 4) * 0.2 + 0.02, dd.Flow(shift=3.0)
    )
    result = dd.sample(model, recipe, steps=60, n=256, micro_batch=256, batch_size=256)
    assert result.plan.grid.alpha[0] == 0
    images = result.images.double()
    assert (images.mean(0) - model.mean.reshape(3, 4, 4)).abs().max() < 0.2
    # First-order steps lose variance; the stochastic one loses most.
    assert abs(float(images.var(0).mean() / model.sample(4096).var(0).mean()) - 1) < (
        0.3 if recipe == "ddpm" else 0.15
    )


def test_an_eps_network_cannot_start_at_pure_noise() -> None:
    model = dd.Network(lambda x, t, cond: x, dd.Flow(), kind="eps", shape=(3, 4, 4))
    with pytest.raises(dd.UserError, match="undetermined at α = 0"):
        dd.sample(model, "ddim", steps=4)


def test_png_values_round_to_nearest() -> None:
    values = torch.tensor([-1.2, -1.0, 0.0, 1.0, 1.3]).reshape(1, 1, 5)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 255, 255]


def test_a_grey_image_starts_a_colour_run() -> None:
    model = gaussian()
    result = dd.sample(model, "ddim", steps=10, init=torch.zeros(2, 1, 8, 8), strength=0.5)
    assert result.images.shape == (2, 3, 8, 8)  # and one sample for each image


def test_strength_counts_with_a_mask_too() -> None:
    model = gaussian()
    known = model.sample(2).float()
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    result = dd.sample(
        model, "ddim", steps=20, grid="uniform", n=2, init=known, mask=mask, strength=0.2
    )
    assert result.plan.nfe == 4
    free = dd.sample(model, "ddim", steps=20, grid="uniform", n=2, init=known, mask=mask)
    assert free.plan.nfe == 20
    near, far = ((r.images - known)[:, :, 4:].abs().mean() for r in (result, free))
    assert near < 0.8 * far


def test_what_is_no_tensor_is_explained() -> None:
    model = dd.Network(lambda x, t, cond: (x,), VP, shape=(3, 8, 8))  # type: ignore[arg-type,return-value]
    with pytest.raises(dd.UserError, match="returned a tuple"):
        dd.sample(model, "ddim", steps=2)
    edm = dd.EDM(lambda x, c, cond: x[:, :1], dd.VE(), shape=(3, 8, 8))
    with pytest.raises(dd.UserError, match="must be equal"):
        dd.sample(edm, "heun", steps=2)


def test_an_update_that_overflows_is_not_blamed_on_the_model() -> None:
    model = dd.Network(lambda x, t, cond: torch.full_like(x, 1e13), VP, shape=(3, 8, 8))
    executor = dd.Executor(
        dd.sampler("ddim").plan(dd.grid("uniform", VP, 2)), torch.zeros(1, 3, 8, 8)
    )
    while not executor.done:
        query = executor.ask()
        executor.tell(model(query.x, query.at))
    executor.check()
    executor.edit(torch.full((1, 3, 8, 8), torch.inf))
    with pytest.raises(dd.UserError, match="own update"):
        executor.check()


def test_a_monitor_is_no_part_of_the_recipe() -> None:
    monitor = dd.monitor()
    result = dd.sample(gaussian(), dd.sampler("ddim") | monitor, steps=5, n=2)
    assert result.record.recipe == "ddim"
    assert [seen.step for seen in monitor.seen] == [0, 1, 2, 3, 4]
    assert torch.equal(result.images, dd.sample(gaussian(), "ddim", steps=5, n=2).images)


def test_one_image_is_everybody_s_turn() -> None:
    image = torch.rand(3, 16, 16)
    runs = (
        prepare(convolutional(), "ddim", steps=2, n=3, init=given, strength=0.5, by="sample")
        for given in (image, image[None])
    )
    one, other = (collect(run).images for run in runs)
    assert torch.equal(one, other)
