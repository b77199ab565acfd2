"""Whole runs on the tiny data set: what they leave, and what they refuse."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from diffdescent.base.errors import UserError
from diffdescent.lab.train import export_last, loop, make_config, train
from diffdescent.lab.train.checkpoint import load_checkpoint, save_checkpoint
from diffdescent.lab.train.compiled import compiled
from diffdescent.lab.train.networks import plain_attention
from diffdescent.models.classifiers import FeatureNet, GuideNet, load_classifier


def log_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (Path(values["out"]) / "log.jsonl").read_text().splitlines()
    ]


def same(a: Any, b: Any) -> bool:
    """Equality to the last bit of nested states."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_a_run_leaves_a_plain_diffusers_folder(values: dict[str, Any]) -> None:
    from diffusers import DDIMPipeline, DDPMScheduler, UNet2DModel

    values["run"]["picture_every"] = 3
    result = train(make_config(values), quiet=True)
    assert result.steps == 6
    assert math.isfinite(result.loss)
    unet = UNet2DModel.from_pretrained(result.folder / "unet")
    assert unet.config.num_class_embeds == 3  # two classes and "no class"
    assert unet.config.sample_size == 8
    scheduler = DDPMScheduler.from_pretrained(result.folder / "scheduler")
    assert (scheduler.config.prediction_type, scheduler.config.num_train_timesteps) == (
        "epsilon",
        1000,
    )
    assert DDIMPipeline.from_pretrained(result.folder).unet.config.in_channels == 3
    about = json.loads((result.folder / "diffdescent.json").read_text())
    assert (about["classes"], about["null_class"], about["images_seen"]) == (["0", "1"], 2, 24)
    entries = log_of(values)
    assert [e["step"] for e in entries] == [2, 4, 6]
    assert {"loss", "images_per_s", "lr", "grad_norm", "images"} <= entries[0].keys()
    assert sorted(p.name for p in (Path(values["out"]) / "samples").iterdir()) == [
        "0000003.png",
        "0000006.png",
    ]
    state = load_checkpoint(Path(values["out"]) / "checkpoint.pt")
    assert all(torch.equal(state["ema"][k], v) for k, v in unet.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {
            "loss": {"prediction": "v", "weighting": "min_snr"},
            "process": {"schedule": "cosine", "continuous": True},
        },
        {"process": {"kind": "edm"}},
        {"data": {"labels": False}, "run": {"channels_last": True, "precision": "fp32"}},
    ],
    ids=["v cosine continuous", "edm", "unconditional channels-last fp32"],
)
def test_every_kind_of_denoiser_trains_and_draws(
    values: dict[str, Any], change: dict[str, Any]
) -> None:
    values["run"]["picture_every"] = 6
    for section, settings in change.items():
        values.setdefault(section, {}).update(settings)
    result = train(make_config(values), quiet=True)
    assert (Path(values["out"]) / "samples" / "0000006.png").is_file()
    about = json.loads((result.folder / "diffdescent.json").read_text())
    assert ("null_class" in about, "classes" in about) == (values["data"].get("labels", True),) * 2
    kind = json.loads((result.folder / "scheduler" / "scheduler_config.json").read_text())
    assert kind["_class_name"] == (
        "EDMEulerScheduler" if "kind" in values.get("process", {}) else "DDPMScheduler"
    )


def test_v_prediction_on_a_cosine_schedule_exports_its_betas(values: dict[str, Any]) -> None:
    from diffdescent.core.process import make_betas

    values.update(loss={"prediction": "v"}, process={"schedule": "cosine", "steps": 50})
    values["run"]["steps"] = 1
    folder = train(make_config(values), quiet=True).folder
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
    assert np.allclose(scheduler["trained_betas"], make_betas("cosine", 50))


@pytest.mark.parametrize("task", ["features", "guide"])
def test_classifiers_learn_and_come_back(values: dict[str, Any], data: Path, task: str) -> None:
    values.update(task=task, model={"widths": [8, 8, 8, 8]}, loss={"label_smoothing": 0.1})
    if task == "guide":
        values["model"] = {"widths": [8, 8], "groups": 4}
    values["data"].update(test=str(data), shift=1, flip=False)
    values["optimizer"] = {"lr": 0.02, "ema": 0.8}
    values["run"].update(steps=40, batch=20, evaluate_every=40, log_every=40, checkpoint_every=40)
    folder = train(make_config(values), quiet=True, half=True).folder
    about = json.loads((folder / "config.json").read_text())["about"]
    assert ("process" in about) == (task == "guide")  # a guide is asked at noise levels
    network = load_classifier(folder)
    assert isinstance(network, GuideNet if task == "guide" else FeatureNet)
    figures = log_of(values)[-1]
    assert (
        figures["accuracy_t=0" if task == "guide" else "accuracy"] == 1.0
    )  # dark and bright are easy
    x = torch.zeros(2, 3, 8, 8)
    logits = network(x, torch.tensor(3)) if isinstance(network, GuideNet) else network(x)
    assert logits.shape == (2, 2)
    if isinstance(network, FeatureNet):
        assert network.features(x).shape == (2, 8)
        assert torch.equal(network.head(network.features(x)), logits)


def test_the_loss_of_a_denoiser_falls(values: dict[str, Any]) -> None:
    values["run"].update(steps=150, batch=10, log_every=50)
    values["optimizer"] = {"lr": 5e-3, "warmup": 10}
    values["model"]["dropout"] = 0.0
    train(make_config(values), quiet=True)
    losses = [e["loss"] for e in log_of(values)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    values: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    values["optimizer"]["kind"] = kind
    values["run"]["channels_last"] = True
    train(make_config(values), quiet=True)
    whole = load_checkpoint(Path(values["out"]) / "checkpoint.pt")
    values["out"] = str(tmp_path / "again")
    values["run"]["steps"] = 4
    train(make_config(values), quiet=True)
    values["run"]["steps"] = 6
    train(make_config(values), quiet=True)
    again = load_checkpoint(Path(values["out"]) / "checkpoint.pt")
    assert same(
        {k: whole[k] for k in ("model", "ema", "optimizer", "step")},
        {k: again[k] for k in ("model", "ema", "optimizer", "step")},
    )
    assert [e["step"] for e in log_of(values)] == [2, 4, 6]


def test_export_and_a_warm_start(values: dict[str, Any], tmp_path: Path) -> None:
    config = make_config(values)
    train(config, quiet=True)
    folder = export_last(config, half=True)
    assert folder == Path(values["out"]) / "model"
    from safetensors.torch import load_file

    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    for source in (folder, Path(values["out"]) / "checkpoint.pt"):
        values["out"] = str(tmp_path / source.name)
        train(
            make_config(
                {**values, "init_from": str(source), "optimizer": {"lr": 1e-12, "ema": 0.0}}
            ),
            quiet=True,
        )
        state = load_checkpoint(Path(values["out"]) / "checkpoint.pt")["model"]
        assert all(torch.allclose(state[k], weights[k].float(), atol=1e-3) for k in weights)
    with pytest.raises(UserError, match=r"do not fit the recipe's network.*model:"):
        train(
            make_config(
                {
                    **values,
                    "out": str(tmp_path / "x"),
                    "init_from": str(folder),
                    "data": {**values["data"], "labels": False},
                }
            )
        )


def test_a_checkpoint_of_another_config_is_refused_by_name(values: dict[str, Any]) -> None:
    train(make_config(values), quiet=True)
    values["optimizer"]["lr"] = 2e-3
    values["run"]["batch"] = 10
    with pytest.raises(
        UserError, match=r"optimizer\.lr was 0\.001 and is 0\.002, run\.batch was 4 and is 10"
    ):
        train(make_config(values), quiet=True)


def test_a_checkpoint_of_other_images_is_refused(values: dict[str, Any], data: Path) -> None:
    images = np.load(data)["arr_0"]
    train(make_config(values), quiet=True)
    np.savez(data, np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2)
    with pytest.raises(UserError, match="trained on other images"):
        train(make_config(values), quiet=True)
    np.savez(data, images, 1 - np.arange(20) % 2)  # the same ones, called by other names
    with pytest.raises(UserError, match="trained on other images"):
        train(make_config(values), quiet=True)


def test_a_training_claims_its_folder_before_its_first_checkpoint(values: dict[str, Any]) -> None:
    out = Path(values["out"])
    values["optimizer"]["lr"] = 1e9
    with pytest.raises(UserError, match="no checkpoint was written yet"):
        train(make_config(values), quiet=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    values["optimizer"]["lr"] = 1e-3
    other = r"holds a training that differs in optimizer\.lr \(1000000000\.0 there, 0\.001 now\)"
    with pytest.raises(UserError, match=other):
        train(make_config(values), quiet=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_training_goes_into_no_folder_of_other_files(values: dict[str, Any]) -> None:
    out = Path(values["out"])
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds files, but not the training\.json"):
        train(make_config(values), quiet=True)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    train(make_config(values), quiet=True)
    (out / "training.json").unlink()  # as before there were records
    (out / "notes.txt").write_text("lr too high?")
    values["run"]["steps"] = 8
    assert train(make_config(values), quiet=True).steps == 8
    assert json.loads((out / "training.json").read_text())["config"]["run"]["steps"] == 8


def test_a_training_from_when_recipes_could_freeze_layers_goes_on(values: dict[str, Any]) -> None:
    train(make_config(values), quiet=True)
    out = Path(values["out"])
    record, state = (
        json.loads((out / "training.json").read_text()),
        load_checkpoint(out / "checkpoint.pt"),
    )
    config = json.loads(state["config"])
    values["run"]["steps"] = 8

    def write(freeze: list[str]) -> None:
        for one in (record["config"], config):
            one["optimizer"]["freeze"] = freeze
        (out / "training.json").write_text(json.dumps(record))
        save_checkpoint(out / "checkpoint.pt", {**state, "config": json.dumps(config)})

    write(["conv_in"])
    with pytest.raises(UserError, match=r"optimizer\.freeze"):
        train(make_config(values), quiet=True)
    write([])
    assert train(make_config(values), quiet=True).steps == 8


def test_a_damaged_checkpoint_is_named(values: dict[str, Any]) -> None:
    train(make_config(values), quiet=True)
    path = Path(values["out"]) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"checkpoint\.pt is not a whole checkpoint"):
        train(make_config(values), quiet=True)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="is not a checkpoint of"):
        train(make_config(values), quiet=True)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_one(
    values: dict[str, Any],
) -> None:
    values["run"].update(steps=4, precision="fp32")
    train(make_config(values), quiet=True)
    path = Path(values["out"]) / "checkpoint.pt"
    state = load_checkpoint(path)
    state["model"]["conv_in.weight"][0] = math.nan  # what a diverged step leaves
    torch.save(state, path)
    before = path.read_bytes()
    values["run"]["steps"] = 6
    with pytest.raises(
        UserError,
        match=r"stopped being finite between steps 4 and 6; the last good checkpoint is .*lr",
    ):
        train(make_config(values), quiet=True)
    assert path.read_bytes() == before


def test_labels_that_are_missing(values: dict[str, Any], data: Path) -> None:
    np.savez(data, np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"class-conditional.*no labels.*data\.labels=false"):
        train(make_config(values), quiet=True)
    with pytest.raises(UserError, match="'guide' needs labels"):
        train(make_config({**values, "task": "guide", "model": {}}), quiet=True)
    with pytest.raises(UserError, match=r"test images .* have no labels"):
        train(
            make_config(
                {**values, "data": {"path": str(data), "labels": False, "test": str(data)}}
            ),
            quiet=True,
        )


def test_a_network_that_cannot_be_built(values: dict[str, Any]) -> None:
    right = dict(values["model"])
    values["model"]["norm_num_groups"] = 5
    with pytest.raises(UserError, match=r"refuses the recipe's model: section"):
        train(make_config(values), quiet=True)
    values["model"] = {"blocks": 3}
    with pytest.raises(UserError, match=r"refuses the recipe's model: section"):
        train(make_config(values), quiet=True)
    values["model"] = {**right, "block_out_channels": [0, 8]}
    with pytest.raises(UserError, match=r"refuses the recipe's model: section"):
        train(make_config(values), quiet=True)


def test_images_that_the_network_cannot_take(values: dict[str, Any], data: Path) -> None:
    values["data"]["shift"] = 8
    with pytest.raises(UserError, match=r"data\.shift=8 is as much as the images are large"):
        train(make_config(values), quiet=True)
    np.savez(data, np.zeros((4, 9, 9, 3), np.uint8), np.arange(4) % 2)
    values["data"]["shift"] = 0
    with pytest.raises(UserError, match=r"or images of 9 × 9 .* each level can halve"):
        train(make_config(values), quiet=True)


def test_the_check_of_a_compiler_moves_no_running_mean(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run goes on: it then is checked a second time."""
    values.update(task="features", model={"widths": [4, 4, 4, 4]})
    train(make_config(values), quiet=True)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    found = [load_checkpoint(Path(values["out"]) / "checkpoint.pt")["model"]]
    for name, cuts in (("-whole", [6]), ("-cut", [2, 6])):
        again = {**values, "out": values["out"] + name}
        for steps in cuts:
            again["run"] = {**values["run"], "compile": True, "steps": steps}
            train(make_config(again), quiet=True)
        found.append(load_checkpoint(Path(again["out"]) / "checkpoint.pt")["model"])
    for name, value in found[0].items():
        assert all(torch.equal(other[name], value) for other in found[1:]), name


def test_a_finished_run_says_its_last_loss_again(values: dict[str, Any]) -> None:
    first = train(make_config(values), quiet=True)
    assert train(make_config(values), quiet=True).loss == pytest.approx(first.loss, abs=1e-6)


def test_tensorboard_is_asked_for_by_name_when_missing(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    values["run"]["tensorboard"] = True
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        train(make_config(values), quiet=True)


def test_tensorboard_holds_what_the_log_holds(values: dict[str, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values["run"].update(tensorboard=True, picture_every=6)
    train(make_config(values), quiet=True)
    events = EventAccumulator(str(Path(values["out"]) / "tensorboard")).Reload()
    for name in ("loss", "grad_norm", "lr"):
        shown = {e.step: e.value for e in events.Scalars(name)}
        assert shown == pytest.approx({e["step"]: e[name] for e in log_of(values)}, rel=1e-6), name
    (picture,) = events.Images("samples")
    written = Image.open(Path(values["out"]) / "samples" / "0000006.png")
    shown_picture = Image.open(io.BytesIO(picture.encoded_image_string))
    assert (picture.step, np.array(shown_picture).tolist()) == (6, np.array(written).tolist())


def test_the_command_line(values: dict[str, Any], tmp_path: Path) -> None:
    import typer
    from typer.testing import CliRunner

    from diffdescent.apps.cli.train import train as command
    from tests.unit.lab.train.conftest import write_recipe

    app = typer.Typer()
    app.command()(command)
    recipe = write_recipe(tmp_path / "a.yaml", values)
    done = CliRunner().invoke(app, [str(recipe), "--set", "run.steps=4", "--half"])
    assert done.exit_code == 0, done.output
    assert "4 steps, loss" in done.output
    assert "images/s" in done.output
    again = CliRunner().invoke(app, [str(recipe), "--export-only"])
    assert again.exit_code == 0, again.output
    assert "The model is in" in again.output


def test_a_kill_between_checkpoint_and_picture_loses_no_picture(
    values: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values["run"].update(steps=4, picture_every=2, checkpoint_every=2)
    whole = Path(values["out"]) / "samples"
    train(make_config(values), quiet=True)
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert before.keys() == {"0000002.png", "0000004.png"}
    for killed_at in (2, 4):
        values["out"] = f"{values['out']}-{killed_at}"
        out = Path(values["out"])
        look = loop._Run._look

        def kill(run: Any, resumed: bool = False, at: int = killed_at, look: Any = look) -> None:
            if run.step == at and not resumed:
                raise KeyboardInterrupt
            look(run, resumed)

        with monkeypatch.context() as patched:
            patched.setattr(loop._Run, "_look", kill)
            with pytest.raises(KeyboardInterrupt):
                train(make_config(values), quiet=True)
        assert not (out / "samples" / f"{killed_at:07d}.png").exists()
        train(make_config(values), quiet=True)
        assert {path.name: path.read_bytes() for path in (out / "samples").iterdir()} == before


def test_a_kill_before_the_accuracy_measures_it_once(
    values: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values.update(task="features", model={"widths": [4, 4, 4, 4]})
    values["data"]["test"] = str(data)
    values["run"].update(steps=2, evaluate_every=2, checkpoint_every=2)

    def kill(*given: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "accuracy", kill)
        with pytest.raises(KeyboardInterrupt):
            train(make_config(values), quiet=True)
    for _ in range(2):
        train(make_config(values), quiet=True)
    log = (Path(values["out"]) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log if "loss" not in line] == [2]


def test_a_full_disk_leaves_the_exported_model_whole(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(make_config(values), quiet=True)
    model = Path(values["out"]) / "model"
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    values["run"]["steps"] = 8

    def full(*given: Any, **more: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_text", full)
        with pytest.raises(UserError, match="No space left on device"):
            train(make_config(values), quiet=True)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    train(make_config(values), quiet=True)
    assert {path for path in model.rglob("*") if path.is_file()} == set(before)


@pytest.mark.parametrize("line", ["5", '{"step": "x"}', '{"loss": 1}', '{"step": 9', "\ufffd"])
def test_a_damaged_log_is_cut_back(line: str, values: dict[str, Any]) -> None:
    train(make_config(values), quiet=True)
    log = Path(values["out"]) / "log.jsonl"
    whole = log.read_text(encoding="utf-8")
    log.write_text(f"{whole}{line}", encoding="utf-8")
    train(make_config(values), quiet=True)
    assert log.read_text(encoding="utf-8") == whole


def test_a_place_that_cannot_be_written_is_one_sentence(values: dict[str, Any]) -> None:
    for place in ("/dev/null/run", "/proc/run"):
        values["out"] = place
        with pytest.raises(UserError, match=f"Cannot make the folder {place}"):
            train(make_config(values), quiet=True)


def test_plain_attention_is_the_fused_one() -> None:
    """Same parameters, outputs and gradients, up to rounding."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    x = torch.randn(2, 3, 8, 8)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        out = network(x, 10).sample
        out.square().sum().backward()
        grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return out.detach(), torch.cat(grads)

    names, fused = list(network.state_dict()), run()
    plain_attention(network)
    assert list(network.state_dict()) == names
    for one, other in zip(run(), fused, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert any(
        type(m.processor) is AttnProcessor for m in network.modules() if hasattr(m, "processor")
    )


def test_compiled_gradients_are_those_of_the_network(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that is right trains to the same bits; one that drops the gradients of the inner
    layers, as PyTorch 2.13 does on a CPU, is refused, though its output is right."""
    values["run"]["steps"] = 2
    values["model"]["dropout"] = 0.0
    plain = train(make_config(values), quiet=True)
    values["run"]["compile"] = True

    right = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network: right(network, backend="eager"))
    values["out"] += "-right"
    assert train(make_config(values), quiet=True).loss == plain.loss

    class Dropping(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, *args: Any, **options: Any) -> Any:
            hook = self.network.get_submodule("mid_block").register_forward_hook(
                lambda module, given, output: output.detach()
            )
            try:
                return self.network(*args, **options)
            finally:
                hook.remove()

    monkeypatch.setattr(torch, "compile", Dropping)
    values["out"] += "-wrong"
    with pytest.raises(UserError, match=r"other gradients.*the first: .*compile=false"):
        train(make_config(values), quiet=True)
    assert not Path(values["out"]).exists()


def test_a_machine_that_cannot_compile_is_said_to_be_one(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: object, inputs: object) -> object:
        raise RuntimeError("no C++ compiler was found")

    right = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network: right(network, backend=backend))
    values["run"].update(steps=2, compile=True)
    with pytest.raises(UserError, match=r"no C\+\+ compiler was found.*run\.compile=false"):
        train(make_config(values), quiet=True)
    assert not Path(values["out"]).exists()


def test_what_compiling_itself_refuses_is_told_from_too_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = torch.nn.Linear(2, 1)

    def refuse(error: Exception) -> None:
        def fail(network: object) -> object:
            raise error

        monkeypatch.setattr(torch, "compile", fail)
        compiled(network, lambda runner: runner(torch.ones(1, 2)).sum())

    with pytest.raises(UserError, match=r"not supported on Python.*run\.compile=false"):
        refuse(RuntimeError("torch.compile is not supported on Python 3.99"))
    with pytest.raises(torch.cuda.OutOfMemoryError, match="12 GiB"):
        refuse(torch.cuda.OutOfMemoryError("tried to allocate 12 GiB"))
