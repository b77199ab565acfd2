"""diffusers checkpoint folders: what they mean, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)
from safetensors.torch import load_file, save_file

import diffdescent as dd
from diffdescent.models import load_model
from diffdescent.models.checkpoints import process_from_config
from diffdescent.run import noise_for
from tests.trial.judge import FORBIDDEN


def unet(**options: Any) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        **options,
    ).eval()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "pipeline"
    DDIMPipeline(unet(), DDIMScheduler(clip_sample=False)).save_pretrained(str(folder))
    return folder


def test_a_pipeline_folder_gives_the_images_that_diffusers_gives(pipeline: Path) -> None:
    model = load_model(str(pipeline))
    result = dd.sample(model, "ddim", steps=10, grid="uniform(spacing=leading)", n=3, seed=0)
    scheduler = DDIMScheduler.from_pretrained(str(pipeline), subfolder="scheduler")
    network = unet()
    scheduler.set_timesteps(10)
    x = noise_for(0, range(3), (3, 8, 8))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
    torch.testing.assert_close(result.images, x, rtol=1e-4, atol=1e-4)


def test_a_real_network_gives_identical_bits_in_any_batch(pipeline: Path) -> None:
    model = load_model(str(pipeline))
    whole = dd.sample(model, "dpmpp(order=2)", steps=5, n=9).images
    for size in (1, 4, 64):
        assert torch.equal(
            whole, dd.sample(model, "dpmpp(order=2)", steps=5, n=9, batch_size=size).images
        )
    assert torch.equal(
        whole[[8, 2]],
        dd.sample(model, "dpmpp(order=2)", steps=5, samples=[8, 2], micro_batch=4).images,
    )


def test_a_bare_network_folder_and_a_bin_file(tmp_path: Path) -> None:
    unet().save_pretrained(str(tmp_path / "bare"), safe_serialization=False)
    assert (tmp_path / "bare" / "diffusion_pytorch_model.bin").is_file()
    model = load_model(str(tmp_path / "bare"))
    assert np.array_equal(model.process.betas, dd.VP.named("linear").betas)  # type: ignore[attr-defined]
    assert torch.isfinite(dd.sample(model, "ddim", steps=2).images).all()


class Payload:
    """What a malicious checkpoint does: it runs a function when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    unet().save_pretrained(str(folder), safe_serialization=False)
    marker = tmp_path / "was-run"
    torch.save({"conv_in.weight": Payload(marker)}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(dd.UserError, match="runs code") as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(dd.UserError):
        load_model(str(folder))
    assert not marker.exists()


def labelled(tmp_path: Path, **extra: Any) -> Path:
    folder = tmp_path / "labelled"
    DDIMPipeline(unet(num_class_embeds=4), DDIMScheduler()).save_pretrained(str(folder))
    (folder / "diffdescent.json").write_text(json.dumps(extra))
    return folder


def test_labels_and_the_null_class(tmp_path: Path) -> None:
    model = load_model(str(labelled(tmp_path, classes=["cat", "dog", "ship"])))
    assert model.classes == ("cat", "dog", "ship")  # type: ignore[attr-defined]
    free = dd.sample(model, "ddim", steps=3, n=2).images
    assert torch.equal(free, dd.sample(model, "ddim", steps=3, n=2, labels=3).images)
    assert torch.equal(free, dd.sample(model, "ddim", steps=3, n=2, labels=-1).images)
    dogs = dd.sample(model, "ddim", steps=3, n=2, labels=[1, 1]).images
    assert not torch.equal(free, dogs)
    with pytest.raises(dd.UserError, match=r"label 4"):
        dd.sample(model, "ddim", steps=3, n=2, labels=[0, 4])


def test_a_conditional_network_without_null_class_needs_labels(tmp_path: Path) -> None:
    model = load_model(str(labelled(tmp_path)))
    with pytest.raises(dd.UserError, match=r"needs a label"):
        dd.sample(model, "ddim", steps=2)
    with pytest.raises(dd.UserError, match=r"no label -1"):
        dd.sample(model, "ddim", steps=2, labels=-1)


def test_labels_for_an_unconditional_network_are_refused(pipeline: Path) -> None:
    with pytest.raises(dd.UserError, match="knows no classes"):
        dd.sample(load_model(str(pipeline)), "ddim", steps=2, labels=1)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_beta_schedules_are_those_of_diffusers(schedule: str) -> None:
    for zero in (False, True):
        theirs = (
            DDPMScheduler(beta_schedule=schedule)
            if not zero
            else DDIMScheduler(beta_schedule="linear", rescale_betas_zero_snr=True)
        )
        ours = process_from_config(dict(theirs.config))
        assert isinstance(ours, dd.VP)
        np.testing.assert_allclose(
            ours.alpha_bar, theirs.alphas_cumprod.double().numpy(), rtol=2e-4, atol=1e-9
        )


def test_trained_betas_and_flow() -> None:
    betas = np.linspace(1e-3, 0.3, 20)
    ours = process_from_config({"trained_betas": betas.tolist()})
    assert isinstance(ours, dd.VP)
    np.testing.assert_array_equal(ours.betas, betas)
    flow = process_from_config({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    assert flow == dd.Flow(shift=3.0)


def test_a_zero_snr_model_with_v_prediction_runs_from_pure_noise(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"
    )
    DDIMPipeline(unet(), scheduler).save_pretrained(str(tmp_path / "zero"))
    model = load_model(str(tmp_path / "zero"))
    result = dd.sample(model, "dpmpp(order=2)", steps=6, grid="uniform(spacing=trailing)", n=2)
    assert result.plan.grid.alpha[0] == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(result.images).all()


def damage(folder: Path, name: str, text: str | None) -> Path:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("unet/config.json", "{", "is not JSON"),
        ("unet/config.json", "[]", "JSON object"),
        ("unet/config.json", '{"_class_name": "Transformer2DModel"}', "Transformer2DModel"),
        ("unet/diffusion_pytorch_model.safetensors", None, "cannot be loaded"),
        ("unet/diffusion_pytorch_model.safetensors", "short", "cannot be loaded"),
        ("scheduler/scheduler_config.json", '{"beta_schedule": "wavy"}', "wavy"),
        ("scheduler/scheduler_config.json", '{"prediction_type": "dream"}', "dream"),
    ],
)
def test_damaged_folders(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    folder = tmp_path / "model"
    DDIMPipeline(unet(), DDIMScheduler()).save_pretrained(str(folder))
    with pytest.raises(dd.UserError, match=words) as caught:
        load_model(str(damage(folder, name, text)))
    assert "\n" not in str(caught.value)


def test_a_path_is_a_folder_too(tmp_path: Path) -> None:
    unet().save_pretrained(str(tmp_path / "net"))
    of_path = dd.sample(tmp_path / "net", "ddim", steps=2, n=1)  # type: ignore[arg-type]
    of_text = dd.sample(str(tmp_path / "net"), "ddim", steps=2, n=1)
    assert torch.equal(of_path.images, of_text.images)
    assert of_path.record.fingerprint == of_text.record.fingerprint


def test_half_precision_weights_run_in_float32_on_a_cpu(tmp_path: Path) -> None:
    unet().half().save_pretrained(str(tmp_path / "half"))
    model = load_model(str(tmp_path / "half"))
    assert model.dtype == torch.float32  # type: ignore[attr-defined]
    assert torch.isfinite(dd.sample(model, "ddim", steps=3).images).all()


def saved(tmp_path: Path, scheduler: object) -> Path:
    DDIMPipeline(unet(), DDIMScheduler()).save_pretrained(str(tmp_path / "model"))
    scheduler.save_pretrained(str(tmp_path / "model" / "scheduler"))  # type: ignore[attr-defined]
    return tmp_path / "model"


def test_an_edm_scheduler_makes_an_edm_model(tmp_path: Path) -> None:
    folder = saved(tmp_path, EDMEulerScheduler(sigma_data=0.7))
    model = load_model(str(folder))
    assert isinstance(model, dd.EDM)
    assert (model.process, model.sigma_data) == (dd.VE(0.002, 80.0), 0.7)
    scheduler = EDMEulerScheduler.from_pretrained(str(folder), subfolder="scheduler")
    x, sigma, network = torch.randn(2, 3, 8, 8), 3.0, unet()
    scheduler.set_timesteps(5)
    with torch.no_grad():
        noise = torch.tensor(sigma)
        raw = network(
            scheduler.precondition_inputs(x, noise), scheduler.precondition_noise(noise)
        ).sample
        expected = scheduler.precondition_outputs(x, raw, noise)
    found = model(x, dd.Point(sigma, 1.0, sigma)).to("x0", x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_flow_scheduler_makes_a_flow_model_that_is_told_1000_t(tmp_path: Path) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    model = load_model(str(saved(tmp_path, scheduler)))
    result = dd.sample(model, "euler", steps=6, n=2)
    scheduler.set_timesteps(sigmas=result.plan.grid.t[:-1].tolist())
    x, network = noise_for(0, range(2), (3, 8, 8)), unet()
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
    torch.testing.assert_close(result.images, x, rtol=1e-4, atol=1e-4)


def test_a_scheduler_of_unknown_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dd.UserError, match="ScoreSdeVeScheduler"):
        load_model(str(saved(tmp_path, ScoreSdeVeScheduler())))


def test_weights_and_config_of_two_networks_are_refused(tmp_path: Path) -> None:
    """diffusers says so in its log, leaves the weights out or draws random ones, and goes on."""
    folder = labelled(tmp_path, classes=["a", "b"])
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    for changed, said in (
        ({"num_class_embeds": None}, r"class_embedding\.weight is not in the config"),
        ({"attention_head_dim": -1}, "describes a network that cannot be evaluated"),
        ({"downsample_padding": -1}, "describes a network that cannot be evaluated"),
        ({"sample_size": 0}, "sample_size must hold whole numbers from 1"),
        ({"sample_size": [8]}, "sample_size must hold whole numbers from 1"),
        ({"sample_size": 2**63}, "sample_size must hold whole numbers from 1"),
        ({"layers_per_block": 10**60}, "layers_per_block must hold whole numbers from 1 to 64"),
    ):
        path.write_text(json.dumps({**config, **changed}))
        with pytest.raises(dd.UserError, match=said):
            load_model(str(folder))
    path.write_text(json.dumps(config))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if k != "conv_out.bias"}, weights)
    with pytest.raises(dd.UserError, match=r"conv_out\.bias is not in the weights"):
        load_model(str(folder))


@pytest.mark.parametrize("wrong", [2**63, float("nan"), "x"], ids=str)
@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_every_key_of_a_config_at_a_wrong_value_is_one_sentence(
    file: str, wrong: object, pipeline: Path, tmp_path: Path
) -> None:
    """`make trial` does the same with more values, on the command line."""
    folder = tmp_path / "net"
    shutil.copytree(pipeline, folder)
    config = json.loads((folder / file).read_text())
    refused = {}
    for name in config:
        (folder / file).write_text(json.dumps({**config, name: wrong}))
        try:
            images = dd.sample(load_model(str(folder)), "ddim", steps=1, progress=False).images
            assert torch.isfinite(images).all(), name
        except dd.UserError as error:
            refused[name] = str(error)
    assert refused
    for name, said in refused.items():
        assert not FORBIDDEN.search(said), f"{name}: {said}"
        assert "\n" not in said
        assert len(said) < 700
