"""The settings of published rows by name, for those who have the public checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffdescent.base.errors import UserError, unknown


@dataclass(frozen=True)
class Row:
    """One published row: its sampler and grid, and the FID of 50,000 images."""

    sampler: str
    grid: str
    fid: float


@dataclass(frozen=True)
class Preset:
    """Published settings for one checkpoint.

    ``checkpoint`` is the name that ``diffdescent convert`` gives the file, ``classifier`` that of
    the guide, if any; ``rows`` are by step count. ``guidance`` is a guidance text in which
    ``{classifier}`` stands for the guide's folder; ``labelled`` says that classes go in turn.
    """

    name: str
    checkpoint: str
    source: str
    rows: Mapping[int, Row]
    guidance: str | None = None
    classifier: str | None = None
    labelled: bool = False

    def arguments(
        self, steps: int | None = None, classifier: str | None = None, classes: int | None = None
    ) -> dict[str, Any]:
        """Keywords for :func:`diffdescent.sample` and :func:`~diffdescent.run.prepare`: ``recipe``,
        ``grid``, ``steps``, ``guidance`` and ``labels``.

        ``steps``: one of the published counts, the first by default. ``classifier``: the guide's
        folder. ``classes``: of the model, where the preset takes its labels in turn. Raises
        :class:`UserError` for a count that is not published and for a guide that is not given.
        """
        count = next(iter(self.rows)) if steps is None else steps
        if count not in self.rows:
            known = ", ".join(map(str, self.rows))
            raise UserError(
                f"The preset {self.name!r} has {known} steps, not {count}; ask for one of these, or"
                " give --sampler and --grid in place of a preset."
            )
        if self.classifier is not None and classifier is None:
            raise UserError(
                f"The preset {self.name!r} guides with a classifier; give the folder of"
                f" {self.classifier}, converted, as the classifier."
            )
        row = self.rows[count]
        found: dict[str, Any] = {"recipe": row.sampler, "grid": row.grid, "steps": count}
        if self.guidance is not None:
            found["guidance"] = self.guidance.replace("{classifier}", str(classifier))
        if self.labelled:
            if classes is None:
                raise UserError(
                    f"The preset {self.name!r} takes all classes in turn; say how many there are."
                )
            found["labels"] = ", ".join(map(str, range(classes)))
        return found


_GE = "Permenter and Yuan 2024 (arXiv 2306.04848), comparison of samplers"
_MOMENTUM = "Jang et al. 2024 (AAAI), table 3, quadratic grid"
_PXP1 = "Dinh et al. 2023 (ICML), table 1"
_PXP2 = "Dinh et al. 2023 (ICML), table 2"
_FIRST = "loglinear(start={start:g})"
_ANCESTRAL = ("ddpm(variance=learned) | threshold", "uniform(spacing=linspace)")


def _rows(sampler: str, grid: str, fids: Mapping[int, float]) -> dict[int, Row]:
    return {steps: Row(sampler, grid, fid) for steps, fid in fids.items()}


def _guided(
    name: str, checkpoint: str, classifier: str, scale: float, fid: float, delta: str = ""
) -> Preset:
    """Classifier guidance over 250 ancestral steps, with PxP where ``delta`` is given. An
    unconditional network's guide picks the class alone."""
    conditional = "uncond" not in checkpoint
    own = ", conditional=true" if conditional else ""
    text = f"classifier(scale={scale:g}, model='{{classifier}}'{own})"
    return Preset(
        name,
        checkpoint,
        _PXP2 if conditional else _PXP1,
        {250: Row(*_ANCESTRAL, fid)},
        guidance=f"{text} | pxp(delta=[{delta}])" if delta else text,
        classifier=classifier,
        labelled=True,
    )


_ALL, _FEW = "1, 1, 1, 1", "1, 1, 0.001, 0.001"

PRESETS: dict[str, Preset] = {
    one.name: one
    for one in (
        Preset(
            "ge-cifar10",
            "ddim_cifar10",
            _GE,
            _rows("ge(gamma=2)", _FIRST.format(start=40), {10: 3.85, 5: 12.53, 20: 3.39, 50: 3.43}),
        ),
        Preset(
            "ge-celeba",
            "ddim_celeba64",
            _GE,
            {
                10: Row("ge(gamma=2)", _FIRST.format(start=80), 4.30),
                5: Row("ge(gamma=2)", _FIRST.format(start=40), 10.73),
                20: Row("ge(gamma=2.4)", _FIRST.format(start=100), 3.56),
                50: Row("ge(gamma=2.8)", _FIRST.format(start=120), 3.78),
            },
        ),
        Preset(
            "ddim-cifar10",
            "ddim_cifar10",
            _GE,
            _rows("ddim", "ddim", {10: 16.86, 5: 47.20, 20: 8.28, 50: 4.81}),
        ),
        Preset(
            "momentum-ddim-cifar10",
            "ddpm_torch_cifar10",
            _MOMENTUM,
            _rows("ddim | momentum(beta=-0.8)", "quadratic", {50: 4.25, 100: 3.67, 250: 3.69}),
        ),
        Preset(
            "momentum-dpmpp-cifar10",
            "ddpm_torch_cifar10",
            _MOMENTUM,
            _rows("dpmpp | momentum(beta=-0.3)", "quadratic", {50: 3.45, 100: 3.50, 250: 3.64}),
        ),
        _guided("iddpm-64-guided", "iddpm_imagenet64_uncond", "adm_classifier64", 2, 13.62),
        _guided("iddpm-64-pxp", "iddpm_imagenet64_uncond", "adm_classifier64", 0.5, 8.49, _ALL),
        _guided("adm-256-uncond-guided", "adm_imagenet256_uncond", "adm_classifier256", 10, 11.96),
        _guided("adm-256-uncond-pxp", "adm_imagenet256_uncond", "adm_classifier256", 1, 9.03, _ALL),
        _guided("adm-64-guided", "adm_imagenet64", "adm_classifier64", 2, 2.47),
        _guided("adm-64-pxp", "adm_imagenet64", "adm_classifier64", 0.5, 1.84, _FEW),
        _guided("adm-128-guided", "adm_imagenet128", "adm_classifier128", 0.5, 2.98),
        _guided("adm-128-pxp", "adm_imagenet128", "adm_classifier128", 0.5, 2.64, _FEW),
        _guided("adm-256-guided", "adm_imagenet256", "adm_classifier256", 1, 4.58),
        _guided("adm-256-pxp", "adm_imagenet256", "adm_classifier256", 0.7, 4.00, _FEW),
    )
}


def preset(name: str) -> Preset:
    """The preset ``name``. Raises :class:`UserError` for one that is not there."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
