"""The text of a guidance: what it makes, how it is written back, and what is told of mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffdescent as dd
from diffdescent.core.grammar import print_element
from diffdescent.core.model_info import info
from diffdescent.core.options import options_of
from diffdescent.core.transforms import Threshold
from diffdescent.guidance import (
    APG,
    Classifier,
    ClassifierFree,
    ClassifierFreePlus,
    FreePxP,
    Guided,
    PxP,
    Rescale,
    apply_guidance,
    load_guide,
    parse_guidance,
)
from diffdescent.guidance.elements import ACTIONS, SOURCES
from diffdescent.guidance.pretrained import NoiseAware
from diffdescent.guidance.wrapper import Wrapper
from diffdescent.models.mixture import Mixture
from tests.paths import ROOT
from tests.unit.guidance.models import VP, mixture
from tests.unit.guidance.test_sources import clip, towards

__all__ = ["clip"]  # a fixture

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXACT = Classifier(mixture().class_log_prob, label_count=3)


def pictures() -> Mixture:
    """A model of CIFAR-10's shape and classes."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(10, 3, 32, 32, generator=generator) * 0.5
    return Mixture(
        torch.ones(10), means, means.abs() + 0.1, VP, labels=torch.arange(10), classes=NAMES
    )


def under(text: str, recipe: str = "ddim(eta=1)", guide: Any = EXACT) -> torch.Tensor:
    model, chain = apply_guidance(text, mixture(), dd.sampler(recipe), guide=guide)
    return dd.sample(model, chain, steps=5, n=4, labels=torch.tensor([0, 1, 2, 1])).images


def built(model: dd.Predictor, recipe: dd.Recipe) -> torch.Tensor:
    return dd.sample(model, recipe, steps=5, n=4, labels=torch.tensor([0, 1, 2, 1])).images


def ddim(*transforms: Any, text: str = "ddim(eta=1)") -> dd.Recipe:
    recipe = dd.sampler(text)
    return dd.Recipe(recipe.solver, (*transforms, *recipe.transforms))


EXAMPLES: dict[str, Any] = {
    "classifier(scale=2) | pxp": lambda m: (Guided(m, EXACT, 2.0), ddim(PxP())),
    "classifier(scale=2, shift=score)": lambda m: (Guided(m, EXACT, 2.0, "score"), ddim()),
    "classifier(1.5, score, on=x0, interval=[0.3, 2])": lambda m: (
        Guided(m, EXACT, 1.5, "score", on="x0", interval=(0.3, 2.0)),
        ddim(),
    ),
    "classifier(scale=2, shift=mean)": lambda m: (Guided(m, EXACT, 2.0), ddim()),
    "guide(scale=2, conditional=true) | pxp(delta=1,1,1e-3,1e-3, scope=channel)": lambda m: (
        Guided(m, EXACT, 2.0, conditional=True),
        ddim(PxP((1.0, 1.0, 1e-3, 1e-3), scope="channel")),
    ),
    "cfg(scale=1.5) | pxp(delta=0.5,0.25,1e-3,1e-3)": lambda m: (
        ClassifierFree(m, 1.5),
        ddim(FreePxP(den_weight=0.25, cond_weight=0.5)),
    ),
    "cfg(scale=3, interval=[0.3,2]) | rescale(0.7)": lambda m: (
        ClassifierFree(m, 3.0, interval=(0.3, 2.0)),
        ddim(Rescale(0.7)),
    ),
    "apg(scale=4, norm=1.5, momentum=-0.75) | rescale(0.5, of=x0) | pxp": lambda m: (
        ClassifierFree(m, 4.0),
        ddim(APG(4.0, 0.0, 1.5, -0.75), Rescale(0.5, "x0"), FreePxP()),
    ),
    "cfgpp(scale=0.6)": lambda m: (ClassifierFreePlus(m, 0.6), ddim()),
    "cfg(2) | classifier(1) | guide(0.5) | pxp": lambda m: (
        Guided(Guided(ClassifierFree(m, 2.0), EXACT, 1.0), EXACT, 0.5),
        ddim(PxP()),
    ),
    "cfg(2) | pxp | classifier(1) | pxp": lambda m: (
        Guided(ClassifierFree(m, 2.0), EXACT, 1.0),
        ddim(FreePxP(), PxP()),
    ),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_text_makes_what_python_makes(text: str) -> None:
    assert torch.equal(under(text), built(*EXAMPLES[text](mixture())))


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_text_is_written_back(text: str) -> None:
    guidance = parse_guidance(text)
    assert parse_guidance(str(guidance)) == guidance
    assert torch.equal(under(str(guidance)), under(text))


@pytest.mark.parametrize("name", [*SOURCES, *ACTIONS])
def test_every_name_with_its_defaults(name: str) -> None:
    before = "" if name in SOURCES else "cfg | "
    assert str(parse_guidance(before + name)) == before + name
    cls = SOURCES.get(name) or ACTIONS[name]
    assert options_of(cls)
    assert print_element(cls()) == name


@given(
    scale=st.floats(-20, 20),
    interval=st.none() | st.tuples(st.floats(0, 1), st.floats(1, 100)),
    prompt=st.text(
        st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="'\""),
        min_size=1,
        max_size=20,
    ),
    folder=st.sampled_from(["/models/clip", "./2024/clip|b", "true", "a b", "clip-vit"]),
)
def test_options_survive_a_round_trip(
    scale: float, interval: Any, prompt: str, folder: str
) -> None:
    given = SOURCES["clip"](scale=scale, interval=interval, prompt=prompt, model=folder)
    (back,) = parse_guidance(print_element(given)).elements
    assert back == given


@pytest.mark.parametrize(
    ("recipe", "shift"),
    [
        ("ddpm", "mean"),
        ("ddim(eta=1) | momentum(0.1)", "mean"),
        ("ddim(eta=0.3)", "mean"),
        ("dpmpp(order=2, eta=1)", "mean"),
        ("ddim", "score"),
        ("ge", "score"),
        ("unipc", "score"),
        (
            "dpmpp(order=2, method=singlestep, eta=1)",
            "score",
        ),  # an inner state: its steps are no Gaussians
        ("heun(s_churn=10)", "score"),
    ],
)
def test_shift_auto_is_what_the_sampler_can_do(recipe: str, shift: str) -> None:
    for process in (VP, dd.VE(), dd.Flow()):
        text = str(
            parse_guidance("classifier(2) | guide(shift=score) | pxp").settled(
                dd.sampler(recipe), process
            )
        )
        assert text == f"classifier(scale=2.0, shift={shift}) | guide(shift=score) | pxp"
    assert torch.equal(
        under("classifier(2)", recipe), under(f"classifier(2, shift={shift})", recipe)
    )


def test_the_guidances_transforms_come_first() -> None:
    recipe = dd.sampler("ddim(eta=1) | threshold | momentum(0.1)")
    _, chain = apply_guidance("cfg(2) | rescale | pxp", mixture(), recipe)
    assert chain.transforms == (Rescale(), FreePxP(), Threshold(), dd.momentum(0.1))
    _, chain = apply_guidance("classifier | pxp", mixture(), recipe, guide=EXACT)
    assert chain.transforms == (PxP(), Threshold(), dd.momentum(0.1))
    assert chain.solver == recipe.solver


def test_the_default_classifier_is_that_of_the_models_classes() -> None:
    model, _ = apply_guidance("classifier(scale=3, temperature=2)", pictures(), dd.sampler("ddpm"))
    assert isinstance(model, Guided)
    named, _ = apply_guidance(
        "classifier(scale=3, temperature=2, model=cifar10-guide)", pictures(), dd.sampler("ddpm")
    )
    images = [dd.sample(m, "ddpm", steps=3, n=2, labels=5).images for m in (model, named)]
    assert torch.equal(*images)
    guide = load_guide("cifar10-guide", temperature=2.0)
    assert torch.equal(
        images[0], dd.sample(Guided(pictures(), guide, 3.0), "ddpm", steps=3, n=2, labels=5).images
    )
    assert info(model).fingerprint == f"{pictures().fingerprint()}+{guide.fingerprint}"
    with pytest.raises(
        dd.UserError, match="no bundled classifier for a model that names no classes"
    ):
        apply_guidance("classifier", mixture(), dd.sampler("ddpm"))


def test_a_guide_from_a_folder(tmp_path: Path) -> None:
    from diffdescent.models.classifiers import FeatureNet, GuideNet, save_classifier

    torch.manual_seed(0)
    folder = tmp_path / "my guide"
    about = {
        "classes": ["a", "b", "c"],
        "process": {"kind": "vp", "schedule": "cosine", "steps": 500},
    }
    save_classifier(GuideNet(3, widths=(8, 8), groups=4), folder, about=about)
    logits = load_guide(str(folder)).logits
    assert isinstance(logits, NoiseAware)
    assert logits.process.ratio(250.0) == dd.VP.named("cosine", 500).ratio(250.0)
    model, chain = apply_guidance(f"classifier(2, model='{folder}')", mixture(), dd.sampler("ddpm"))
    assert info(model).classes == ("a", "b", "c")
    with pytest.raises(dd.UserError, match="no label 3"):
        dd.sample(model, chain, steps=3, n=1, labels=3)
    save_classifier(FeatureNet(3, widths=(4, 4, 4, 4)), tmp_path / "clean")
    with pytest.raises(dd.UserError, match="clean images alone"):
        apply_guidance(
            f"classifier(2, model='{tmp_path / 'clean'}')", mixture(), dd.sampler("ddpm")
        )
    for name, message in (("nowhere", "Unknown guide 'nowhere'"), ("/nowhere/at-all", "no folder")):
        with pytest.raises(dd.UserError, match=message):
            apply_guidance(f"classifier(model='{name}')", mixture(), dd.sampler("ddpm"))


def test_another_unconditional_model(tmp_path: Path) -> None:
    from diffdescent.models.mixture_file import save_mixture

    save_mixture(mixture(), tmp_path / "other")
    text = f"cfg(2, unconditional='{tmp_path / 'other'}')"
    assert torch.allclose(under(text), under("cfg(2)"), atol=1e-5)


def test_clip_from_a_folder(tmp_path: Path, clip: Any) -> None:
    """One text for each class, by the folder's own tokenizer."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["<|startoftext|>", *(c for c in letters), *(f"{c}</w>" for c in letters[:20])]
    (tmp_path / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate(vocabulary)} | {"<|endoftext|>": 49})
    )
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    folder = tmp_path / "clip"
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    tokenizer.model_max_length = 8
    tokenizer.save_pretrained(folder)
    clip.save_pretrained(folder)
    model, chain = apply_guidance(
        f"clip(50, shift=score, model='{folder}', prompt='a {{}}')", pictures(), dd.sampler("ddim")
    )
    assert isinstance(model, Guided)
    assert model.on == "x0"
    assert model.info.label_count == 10
    images = dd.sample(model, chain, steps=3, n=2, labels=torch.tensor([0, 5])).images
    other = dd.sample(model, chain, steps=3, n=2, labels=torch.tensor([0, 6])).images
    assert torch.equal(images[0], other[0])
    assert not torch.equal(images[1], other[1])
    one, _ = apply_guidance(
        f"clip(model='{folder}', prompt='a dog')", mixture(), dd.sampler("ddpm")
    )
    assert isinstance(one, Guided)
    assert one.info.label_count is None
    for options, message in (
        ("", "needs a model and a prompt"),
        ("model=nowhere, prompt=dog", "no folder 'nowhere'"),
        (f"model='{folder}', prompt='a {{}}'", "names no classes"),
        (f"model='{tmp_path}', prompt=dog", "not a CLIP folder"),
    ):
        with pytest.raises(dd.UserError, match=message):
            apply_guidance(f"clip({options})", mixture(), dd.sampler("ddpm"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a name at position 0"),
        ("cfg |", "a name"),
        ("cfg(2", "',' or '\\)'"),
        ("cfg(2) pxp", "the end"),
        ("cgf(2)", "did you mean 'cfg'"),
        ("cfg(sacle=2)", "did you mean 'scale'"),
        ("cfg(scale=much)", "'scale' of 'cfg' must be a number"),
        ("cfg(1, [0, 1], 1, none, true, 6)", "at most 5 options"),
        ("cfg(nan)", "must be a number"),
        ("cfg(inf)", "finite"),
        ("cfg(2, interval=[2, 1])", "interval"),
        ("cfg(2, interval=0.3)", "interval"),
        ("classifier(shift=noise)", "'auto' or 'mean' or 'score'"),
        ("pxp", "acts on a guidance"),
        ("rescale | cfg", "acts on a guidance"),
        ("classifier | rescale", "follows cfg or apg, not classifier"),
        ("cfgpp | pxp", "stands alone"),
        ("cfgpp | rescale", "stands alone"),
        ("classifier | cfg", "comes first"),
        ("cfg | cfg", "cfg stands twice"),
        ("cfg | pxp | rescale", "comes after rescale"),
        ("cfg | pxp | pxp", "twice"),
        ("cfg | rescale | rescale", "twice"),
        ("classifier | pxp | pxp", "twice"),
        ("classifier | pxp | guide", "after guide"),
        ("cfg | pxp(delta=1,1,1)", "two or four"),
        ("cfg | pxp(gate=pair)", "Allowed: delta, scope, zero"),
        ("rescale(2)", "acts on a guidance"),
        ("cfg | rescale(2)", r"\[0, 1\]"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(dd.UserError, match=message):
        apply_guidance(text, mixture(), dd.sampler("ddpm"), guide=EXACT)


def test_models_that_cannot_be_guided_so() -> None:
    bare = dd.Network(lambda x, t, cond: x, process=VP, shape=(3, 6, 5), name="bare")
    needy = dd.Network(
        lambda x, t, cond: x,
        process=VP,
        shape=(3, 6, 5),
        label_count=3,
        needs_label=True,
        name="needy",
    )
    recipe = dd.sampler("ddpm")
    for text, model, message in (
        ("cfg", bare, "'bare' knows none"),
        ("apg", bare, "'bare' knows none"),
        ("cfg", needy, "no null class"),
        ("classifier(model=cifar10-guide)", needy, "conditional=True"),
        ("classifier", bare, "names no classes"),
        ("guide", bare, "of your own"),
    ):
        with pytest.raises(dd.UserError, match=message):
            apply_guidance(text, model, recipe)
    guided, _ = apply_guidance("guide(2)", bare, recipe, guide=towards(0.0))
    assert isinstance(guided, Wrapper)
    assert dd.sample(guided, recipe, steps=2, n=1).images.isfinite().all()


def test_the_page_on_guidance() -> None:
    """Its Python runs, and its texts are understood."""
    page = (ROOT / "docs" / "guidance.md").read_text()
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, namespace)
        assert namespace["images"].isfinite().all()
    texts = re.findall(r'--guidance "(.*?)"', page)
    assert len(texts) == 4
    for text in (*texts, "cfg(2) | pxp | classifier(1) | pxp"):
        assert text in page
        parse_guidance(text)
