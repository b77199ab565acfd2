"""Which sampler is best for a model: :func:`compare` in Python, and what ``diffdescent compare``
shares with it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from diffdescent.apps.textimage import wants_prompt
from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.keywords import known_keywords
from diffdescent.base.words import counted
from diffdescent.core.calls import check_call
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe, parse
from diffdescent.models import load_model
from diffdescent.models.adapt import as_model

if TYPE_CHECKING:
    from diffdescent.lab.study import Recommendation, Results, StudyConfig

BUDGETS, IMAGES = (5, 10), 64
"""Evaluations and images of a comparison without data, unless asked otherwise."""
LISTED = "ddim; ge; plms; dpmpp(order=2); unipc; ddim | momentum(-0.3)"
LISTED_BUDGETS, LISTED_IMAGES = (5, 10, 20, 50), 1000
"""The samplers, evaluations and images of one with data."""
_CALLED = "The comparison"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; ``results`` has every number."""

    results: Results

    def __repr__(self) -> str:
        best = ", ".join(
            f"{one.sampler} at {one.evaluations} evaluations" for one in self.recommendations
        )
        compared = counted(len(self.results.lines), "run")
        return f"Comparison({self.results.study.config.model}: {compared}; best: {best or 'none'})"

    @property
    def recommendations(self) -> list[Recommendation]:
        """The sampler to take, at each number of evaluations."""
        from diffdescent.lab.study import recommendations

        return recommendations(self.results)

    @property
    def summary(self) -> str:
        """A sentence for each number of evaluations, the lines to copy, and what to beware of."""
        found = [
            line
            for one in self.recommendations
            for line in (one.sentence, *(f"  {place}: {text}" for place, text in one.lines))
        ]
        return "\n".join([*found, *(f"Note: {text}" for text in self.results.remarks)])


def study_of(net: Predictor, values: dict[str, Any], also: Sequence[str] = ()) -> StudyConfig:
    """The study of a comparison: ``values`` are its entries, None where they are open.

    Without a reference, and with no other metrics than those, the model is measured against its own
    solution; samplers that are not named are then the fixed ones that suit the model and the
    calibrated ones that were fitted to it; on ``grids`` that are named the fixed ones alone.
    ``also`` are further samplers.
    """
    from diffdescent.evaluate.own_solution import OWN
    from diffdescent.lab.study import make_study
    from diffdescent.lab.study.cells import USUAL
    from diffdescent.lab.study.rivals import BASE, RECIPES, rivals

    asked = values["metrics"]
    names = asked.split(",") if isinstance(asked, str) else asked or ()
    own = values["reference"] is None and all(name.strip() in OWN for name in names)
    filled = dict(values)

    def fill(name: str, value: Any) -> None:
        if filled.get(name) is None:
            filled[name] = value

    if values.get("steps") is None:
        fill("nfe", list(BUDGETS if own else LISTED_BUDGETS))
    fill("n", IMAGES if own else LISTED_IMAGES)
    cycled = own or hasattr(net, "prompts")
    fill("labels", _labels(net, str(values["guidance"])) if cycled else "none")
    if own:
        fill("metrics", list(OWN) if _seen(net) else ["solution_rmse"])
    if values.get("grids") not in (None, USUAL) and values["samplers"] is None and own:
        filled["samplers"] = "; ".join((BASE, *RECIPES))  # calibrated ones have grids of their own
    if filled["samplers"] is None and own and values.get("steps") is None:
        budgets = make_study({"samplers": LISTED, "nfe": filled["nfe"]}, _CALLED).nfe or ()
        blocks = rivals(net, budgets, str(filled["guidance"]), filled["labels"])
        filled["blocks"] = [*blocks, *([{"samplers": list(also)}] if also else [])]
    else:
        fill("samplers", LISTED)
        if also:
            filled["samplers"] = f"{_text(filled['samplers'])}; {'; '.join(also)}"
    return make_study(filled, _CALLED)


def _text(samplers: Any) -> str:
    return samplers if isinstance(samplers, str) else "; ".join(samplers)


def _labels(net: Predictor, guidance: str) -> str:
    """All labels in turn where the model cannot do without, or guidance needs them."""
    known = info(net)
    wanted = known.needs_label or (guidance != "none" and known.conditional)
    return "cycle" if wanted else "none"


def _seen(net: Predictor) -> bool:
    """Whether there are pictures to look at: grey or colour images, or a decoder to them."""
    return info(net).decode is not None or bool(net.shape and net.shape[0] in (1, 3))


@known_keywords(
    {
        "steps": "dd.compare counts network evaluations, which cost the same for every sampler:"
        " give nfe=; plain steps are --steps of the command line and a study's."
    }
)
def compare(
    model: Predictor | str,
    samplers: str | Sequence[str | Recipe] | Recipe | None = None,
    *,
    nfe: Sequence[int] | int | None = None,
    also: Sequence[str] = (),
    guidance: str = "none",
    labels: str | int | Sequence[int] | None = None,
    prompts: Sequence[str] | None = None,
    pipeline: Mapping[str, Any] | None = None,
    n: int | None = None,
    seed: int = 0,
    reference: str | Path | None = None,
    metrics: str | Sequence[str] | None = None,
    features: str = "cifar10-features",
    solution: int = 64,
    micro_batch: int | None = None,
    device: str | None = None,
    resamples: int = 200,
    out: Path | str | None = None,
) -> Comparison:
    """Which sampler is best for ``model``, measured against its own solution from the same noise.

    Args:
        model: a :class:`Predictor` (wrap a module with :class:`diffdescent.Network`), a bundled
            name, a checkpoint folder, or with ``prompts`` a text-to-image pipeline folder.
        samplers: recipes or their texts, ``"ge @ loglinear"`` with a grid; None: the
            fixed ones that suit the model on several grids each, and the calibrated ones that were
            fitted to it.
        nfe: network evaluations, (5, 10) by default.
        also: further samplers, such as ``"calibrated('mine.json')"``.
        guidance: a guidance text for all samplers.
        labels: labels of the samples in turn, as a text or as numbers; None goes round over all
            classes that the model names.
        prompts: texts for a text-to-image folder, in turn over the samples.
        pipeline: options of such a folder's pipeline, such as ``guidance_scale``.
        n: how many images; None is the comparison's own choice.
        seed: of the noise.
        reference: images or statistics to compare with, for Fréchet distances; None needs none.
        metrics: which ones, as a list or a text with commas; None: all that apply.
        features: what looks at the images.
        solution: levels of the own solution, which is checked against twice as many.
        micro_batch: how many samples the network sees at once.
        device: where to run; None asks the model, else the CPU.
        resamples: halves for the intervals.
        out: the folder of table and report, where an interrupted comparison goes on; None: a
            temporary one.

    Returns:
        The :class:`Comparison`: its table, which sampler to take and why, and the report's path.

    Raises:
        UserError: bad input.
    """
    check_call(compare, locals())
    from diffdescent.lab.study import gather, missing, prepare, read_reference, run
    from diffdescent.lab.study.report import write

    net, name = loaded(model, prompts, guidance, device, pipeline)
    values: dict[str, Any] = {
        "title": f"Samplers compared on {name}",
        "model": name,
        "samplers": _texts(samplers),
        "nfe": nfe if nfe is None or isinstance(nfe, int) else list(nfe),
        "guidance": guidance,
        "labels": labels if labels is None or isinstance(labels, str) else _numbers(labels),
        "n": n,
        "seeds": [seed],
        "reference": None if reference is None else str(reference),
        "metrics": metrics if metrics is None or isinstance(metrics, str) else list(metrics),
        "features": features,
        "solution": solution,
        "micro_batch": micro_batch,
        "device": pick_device(device or info(net).device).type,
        "threads": torch.get_num_threads(),
        "resamples": resamples,
    }
    config = study_of(net, values, also)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "comparison" if out is None else Path(out)
        named = isinstance(model, str) and prompts is None
        study = prepare(config, folder, net, named=named)
        todo = missing(study.tasks, folder)
        read = read_reference(study) if todo else None
        run(study, todo)
        results = gather(study, None, read)
        if out is not None:
            write(results)
    return Comparison(results)


def _texts(samplers: str | Sequence[str | Recipe] | Recipe | None) -> str | list[str] | None:
    if samplers is None or isinstance(samplers, str):
        return samplers
    return list(map(_written, [samplers] if isinstance(samplers, Recipe) else samplers))


def _written(sampler: str | Recipe) -> str:
    """A sampler as a study has it: a recipe with the grid that it brings, where its text does not
    say that."""
    if isinstance(sampler, str):
        return sampler
    text, grid = str(sampler), _brought(sampler)
    return text if grid in (None, _brought(parse(text))) else f"{text} @ {grid}"


def _brought(recipe: Recipe) -> str | None:
    return recipe.grid or recipe.usual_grid


def _numbers(labels: int | Sequence[int]) -> str:
    """Labels as a study has them."""
    found = [labels] if isinstance(labels, int) else list(labels)
    return ",".join(map(str, found))


def loaded(
    model: Predictor | str,
    prompts: Sequence[str] | None,
    guidance: str = "none",
    device: str | None = None,
    pipeline: Mapping[str, Any] | None = None,
) -> tuple[Predictor, str]:
    """The model of a comparison or a calibration, and what it is called.

    Raises:
        UserError: a bare module, and prompts of what takes none.
    """
    given = {key: value for key, value in (pipeline or {}).items() if value is not None}
    if prompts is not None:
        if not isinstance(model, str):
            raise UserError("Prompts are for text-to-image pipeline folders; give the folder.")
        from diffdescent.apps.textimage.predictor import load_predictor

        found = load_predictor(
            model, prompts, bare=guidance != "none", device=device or "cpu", options=given
        )
        return found, model
    if given:
        raise UserError(
            f"{next(iter(given))} belongs to a text-to-image pipeline; give prompts too."
        )
    if not isinstance(model, str):
        net = as_model(model, device)
        return net, info(net).name
    if wants_prompt(Path(model)):
        raise UserError(
            f"{model!r} is a text-to-image pipeline; give the texts that it is asked for with"
            " --prompts FILE (prompts= in Python)."
        )
    return load_model(model, device), model
