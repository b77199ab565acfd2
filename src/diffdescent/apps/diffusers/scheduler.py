"""A diffusers scheduler that is the engine's ask/tell: ``step`` is one ``tell``, and nothing is
computed here."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid
from diffdescent.core.guidance_terms import UNGUIDED
from diffdescent.core.noise import Keyed, NoiseSource
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Conversion, Prediction, conversion
from diffdescent.core.process import VP, Point
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.pndm import PNDM
from diffdescent.core.transforms import Estimate, Evaluation, Threshold

from . import levels
from .attach import Guidance

Generators = torch.Generator | list[torch.Generator] | None


@dataclass
class DescentSchedulerOutput(BaseOutput):  # type: ignore[misc]
    """What ``step`` returns: the next state, and the clean image that was estimated (after the
    recipe's thresholds)."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class _Seen(Estimate):
    """An estimate transform that changes nothing and keeps x0: ``pred_original_sample``."""

    name: ClassVar[str] = "seen"
    linear: ClassVar[bool] = False
    x0: Tensor

    def correct(self, evaluation: Evaluation) -> None:
        self.x0 = evaluation.x0


class _PipelineNoise:
    """Noise as diffusers draws it: from the generator (or the list of them) that a step is given,
    in the network's dtype, or the noise that it is given itself."""

    def __init__(self) -> None:
        self.generator: Generators = None
        self.given: Tensor | None = None
        self.dtype = torch.float32

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise NotImplementedError("a pipeline draws its own latents")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        if self.given is not None:
            return self.given.to(x.dtype)
        drawn: Tensor = randn_tensor(
            x.shape, generator=self.generator, device=x.device, dtype=self.dtype
        )
        return drawn.to(x.dtype)


@dataclass
class _Run:
    """One run. ``index`` is the next timestep's, and ``begin`` where the run's first step begins:
    until then it waits. ``given`` is the state handed out last, with its version: it is the
    executor's own unless somebody has changed it. ``remembers``: transforms keep earlier states."""

    executor: Executor
    conversions: list[Conversion]
    seen: _Seen | None
    noise: _PipelineNoise | None
    begin: int
    index: int
    eta: float
    remembers: bool
    shape: torch.Size
    given: Tensor | None = None
    version: int = -1

    def tell(self, prediction: Prediction, sample: Tensor) -> Tensor:
        """Advance by one evaluation at ``sample``; the next state, in the sample's dtype."""
        if self.index < self.begin:
            self.index += 1
            return sample
        executor = self.executor
        executor.tell(prediction, None if self._unchanged(sample) else sample)
        given = executor.current
        # What a caller does to it in place must reach the engine as an edit, not as another base or
        # memory.
        shared = given is executor.x and not self.remembers
        if not shared or given.dtype != sample.dtype:
            given = given.to(sample.dtype, copy=not shared)
        self.given, self.version = given, -1 if given.is_inference() else given._version
        self.index += 1
        return given

    def _unchanged(self, sample: Tensor) -> bool:
        return sample is self.given and self.version >= 0 and sample._version == self.version


class DescentScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Any recipe as a diffusers scheduler.

    ``pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe="ge")`` is all
    that is needed, for VP and flow-matching pipelines alike. States are in the network's own
    coordinates, so ``scale_model_input`` changes nothing.

    Args:
        recipe: a recipe's text; None takes the class's own.
        grid: a grid's text; None lays the levels out as the fields below say.
        noise_seed: stochastic recipes draw noise that belongs to (seed, sample, step) in place of
            ``generator``'s.
        timestep_spacing, steps_offset, final_sigmas_type, set_alpha_to_one, clip_sample: as in
            diffusers; None means what diffusers' scheduler of the solver's name takes.
        shift, use_dynamic_shifting, …: a flow's, as in ``FlowMatchEulerDiscreteScheduler``. With
            ``use_flow_sigmas`` and ``flow_shift`` they are those of the multistep schedulers.

    :attr:`recipe` says what is run, the config's part in it included. A stochastic recipe without a
    generator and without ``noise_seed`` draws from torch's global generator, as diffusers does.
    Raises :class:`UserError` for recipes and grids that cannot be read and configs that cannot be
    expressed.
    """

    _compatibles: ClassVar[list[str]] = [e.name for e in KarrasDiffusionSchedulers]
    preset: ClassVar[str] = "ge"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        recipe: str | None = None,
        grid: str | None = None,
        noise_seed: int | None = None,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        prediction_type: str = "epsilon",
        timestep_spacing: str | None = None,
        steps_offset: int = 0,
        final_sigmas_type: str | None = None,
        set_alpha_to_one: bool | None = None,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        clip_sample: bool | None = None,
        clip_sample_range: float = 1.0,
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        variance_type: str | None = None,
        use_flow_sigmas: bool = False,
        flow_shift: float | None = None,
        shift: float | None = None,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        base_shift: float | None = 0.5,
        max_shift: float | None = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        shift_terminal: float | None = None,
    ) -> None:
        self._remember(self.preset if recipe is None else recipe)
        levels.check(self.config)
        self.num_inference_steps: int | None = None
        self._grid: Grid | None = None
        self._plan: Plan | None = None
        self._recipe = levels.full_recipe(self.config)
        self._stride: int | None = None
        self._begin_index: int | None = None
        self._run: _Run | None = None
        self.guidance: Guidance | None = None
        """What :func:`attach` has put here."""
        self._table: Tensor | None = None
        self._place_timesteps(self._training_times(), None)

    def _remember(self, recipe: str) -> None:
        """Keep in the config what was given by place: diffusers takes such options for defaults,
        which from_config leaves out. The recipe is never a default."""
        given = inspect.signature(type(self).__init__).parameters
        unsaid = [
            name
            for name in self.config.get("_use_default_values", ())
            if name != "recipe" and self.config[name] == given[name].default
        ]
        self.register_to_config(recipe=recipe, _use_default_values=unsaid)

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Any:
        """The scheduler for the network of another scheduler's ``config``; keywords replace its
        fields.

        Raises :class:`UserError` for a config that cannot be expressed: what, and why.
        """
        if isinstance(config, Mapping):
            kwargs = {**_translated(config, cls), **kwargs}
            levels.refuse(
                {**config, **kwargs}, None if "recipe" in config else levels.source_of(config)
            )
        made, unused = super().from_config(config, return_unused_kwargs=True, **kwargs)
        levels.check(made.config)  # with the fields that only other schedulers have
        return (made, unused) if return_unused_kwargs else made

    def _training_times(self) -> list[float]:
        """Every trained time, which is what a scheduler holds until ``set_timesteps`` is called."""
        total = self.config.num_train_timesteps
        last = 1 if levels.is_flow(self.config) else 0
        return [float(t) for t in range(total - 1 + last, last - 1, -1)]

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def recipe(self) -> Recipe:
        """What is run: the recipe with what the config adds to it. Its text does the same outside
        diffusers."""
        return self._recipe

    @property
    def grid(self) -> Grid | None:
        """The levels of the run, after ``set_timesteps``."""
        return self._grid

    @property
    def order(self) -> int:
        """Evaluations in a step, where all but the last have as many; else 1 (see
        :attr:`evaluations`)."""
        plan = self._plan or self._recipe.plan(levels.lay_out(self.config, self._recipe, 8, mu=1.0))
        counts = _counts(plan)
        whole = counts[:-1] if len(counts) > 1 else counts
        return int(whole[0]) if (whole == whole[0]).all() and counts[-1] <= whole[0] else 1

    @property
    def evaluations(self) -> list[int]:
        """How many of the :attr:`timesteps` belong to each step; of another number at PNDM's start
        and Heun's end."""
        self._rows()
        assert self._plan is not None
        return [int(count) for count in _counts(self._plan)]

    @property
    def init_noise_sigma(self) -> float:
        """What pipelines multiply unit noise by."""
        return levels.initial_scale(self.config, self._recipe, self._grid)

    @property
    def begin_index(self) -> int | None:
        """The first timestep's index that a pipeline has set."""
        return self._begin_index

    @property
    def step_index(self) -> int | None:
        """The index of the next timestep; None before the first ``step``."""
        return None if self._run is None else self._run.index

    @property
    def sigmas(self) -> Tensor:
        """σ̃ = σ/α (a flow's σ) where each timestep evaluates, and the end; on the CPU."""
        if self._plan is None or self._grid is None:
            raise UserError("The levels are known after set_timesteps; call it first.")
        points = [*(row.at for row in self._plan.rows), self._grid.points[-1]]
        flow = levels.is_flow(self.config)
        return torch.tensor([p.sigma if flow else p.ratio for p in points], dtype=torch.float32)

    @property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ_t of the trained steps, float32 on the CPU (what losses and guidance methods read)."""
        process = levels.process_of(self.config)
        if not isinstance(process, VP):
            raise AttributeError("a flow has no alphas_cumprod")
        return torch.from_numpy(process.alpha_bar).to(torch.float32)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at this index of ``timesteps`` (image to image). The history of an earlier run is
        dropped."""
        self._begin_index, self._run = begin_index, None

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        timesteps: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay out the levels and make the plan; ``timesteps`` then lists every evaluation. See
        :func:`~.levels.lay_out` for ``sigmas`` and ``timesteps``; ``mu`` is a dynamic flow's shift.

        Raises :class:`UserError` for levels that the config or the training steps do not allow.
        """
        known = sigmas if sigmas is not None else timesteps
        self._grid = levels.lay_out(
            self.config, self._recipe, num_inference_steps, mu, sigmas, timesteps
        )
        self.num_inference_steps = num_inference_steps or self._grid.steps
        own = known is None and num_inference_steps is not None
        self._stride = (
            levels.stride(self.config, self._recipe, self._grid, self.num_inference_steps)
            if own
            else None
        )
        self._plan = self._plan_of(self._recipe, self._grid)
        kind = levels.kind_of(self.config)
        self._conversions = [conversion(kind, row.at) for row in self._plan.rows]
        self._begin_index = self._run = None
        if self.guidance is not None:
            self.guidance.forget()
        self._place_timesteps(
            [levels.told_at(self.config, row.at) for row in self._plan.rows], device
        )

    def _place_timesteps(self, times: Sequence[float], device: str | torch.device | None) -> None:
        whole = not levels.is_flow(self.config) and all(float(t).is_integer() for t in times)
        held = torch.tensor(times, dtype=torch.int64 if whole else torch.float32)
        self._values: list[float] = held.tolist()
        self.timesteps = held.to(device)
        self._storage = self.timesteps.untyped_storage().data_ptr()

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """``sample``: states are in the network's coordinates already."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> DescentSchedulerOutput | tuple[Tensor]:
        """One evaluation further: ``model_output`` (B, …) is the network's output at ``sample`` and
        ``timestep``.

        A ``sample`` that is not the one handed out last (inpainting) takes its place; a
        ``timestep`` other than the next one starts a new run there. ``eta`` above 0 makes a
        ``ddim`` recipe stochastic, and ``use_clipped_model_output`` says that ε follows a clipped
        x0. Without ``return_dict`` the next state alone is returned, in a tuple. Nothing here waits
        for the device.

        Raises :class:`UserError` for a timestep that is not on the grid or lies inside a step,
        where no step can begin.
        """
        index = self._index_of(timestep)
        run = self._run
        if (
            run is None
            or (index is not None and index != run.index)
            or (index is None and run.executor.done)
        ):
            half = isinstance(model_output, Tensor) and model_output.dtype == torch.float16
            run = self._run = self._begin(index, sample, eta, bool(use_clipped_model_output), half)
        elif eta != run.eta:
            raise UserError(
                f"eta changed from {run.eta} to {eta} during a run; it belongs to the whole run."
            )
        prediction = self._prediction(run, model_output, sample)
        if run.noise is not None:
            if generator is not None and variance_noise is not None:
                raise UserError("Give a generator or variance_noise, not both.")
            run.noise.generator, run.noise.given, run.noise.dtype = (
                generator,
                variance_noise,
                model_output.dtype,
            )
        following = run.tell(prediction, sample)
        if not return_dict:
            return (following,)
        x0 = (
            run.seen.x0
            if run.seen is not None and run.index > run.begin
            else prediction.to("x0", sample)
        )
        return DescentSchedulerOutput(following, x0.to(sample.dtype))

    def check(self) -> None:
        """Raise :class:`UserError` if the last run holds NaN or Inf, for which samples, and with a
        float16 network, where numbers overflow, at which evaluation and level it began. This reads
        from the device; call it after the pipeline (a black image …)."""
        if self._run is not None:
            self._run.executor.check()

    def _prediction(self, run: _Run, output: Tensor, sample: Tensor) -> Prediction:
        if not isinstance(output, Tensor):
            raise UserError(
                f"model_output is a {type(output).__name__}, not a tensor; pass the network's"
                " .sample, or its [0]."
            )
        variance, shape = None, sample.shape
        if shape != run.shape:
            raise UserError(
                f"The run began with a sample of shape {tuple(run.shape)}, and is given one of"
                f" shape {tuple(shape)}; call set_timesteps before another run."
            )
        if output.shape != shape:
            if output.ndim > 1 and output.shape[1] == 2 * shape[1]:
                output, variance = output.chunk(2, dim=1)
            if output.shape != shape:
                raise UserError(
                    f"model_output has the shape {tuple(output.shape)}, for a sample of shape"
                    f" {tuple(shape)}; they must be equal (twice the channels where the variance is"
                    " learned)."
                )
        guidance = UNGUIDED
        if self.guidance is not None:
            output, guidance = self.guidance.take(output)
        how = run.conversions[max(run.index - run.begin, 0)]
        return Prediction(output, how, variance, guidance)

    def _index_of(self, timestep: float | Tensor) -> int | None:
        """Where ``timestep`` stands; None when only the device knows and a run is under way, which
        then goes on."""
        if isinstance(timestep, Tensor):
            if timestep.untyped_storage().data_ptr() == self._storage:
                return int(timestep.storage_offset() - self.timesteps.storage_offset())
            if timestep.device.type != "cpu" and self._run is not None:
                return None
            timestep = float(timestep.flatten()[0])
        value = float(np.float32(timestep))
        places = [i for i, known in enumerate(self._values) if known == value]
        if self._run is not None and self._run.index in places:
            return self._run.index
        if self._run is None and self._begin_index is not None:
            return self._begin_index
        if not places:
            raise UserError(
                f"The timestep {value:g} is not among the {len(self._values)} of this scheduler"
                f" ({self._values[0]:g} … {self._values[-1]:g}); pass the elements of"
                " scheduler.timesteps, after set_timesteps."
            )
        return next((i for i in places if self._begins(i)), places[0])

    def _begins(self, index: int) -> bool:
        """Whether a step begins at this evaluation."""
        rows = self._rows()
        return index == 0 or (index < len(rows) and rows[index].step != rows[index - 1].step)

    def _rows(self) -> tuple[Any, ...]:
        if self._plan is None:
            raise UserError("No levels are laid out yet; call set_timesteps before step.")
        return self._plan.rows

    def _begin(
        self, index: int | None, sample: Tensor, eta: float, clipped: bool, half: bool
    ) -> _Run:
        """A run from evaluation ``index`` on, its plan made for the levels that are left. The
        evaluations of a float16 network (``half``) are recorded for :meth:`check`."""
        rows, grid = self._rows(), self._grid
        assert grid is not None
        begin = self._begin_index if self._run is None and self._begin_index is not None else index
        if begin is None or not 0 <= begin < len(rows):
            raise UserError(
                f"There is no timestep {begin if begin is not None else len(rows)} in a run of"
                f" {len(rows)}; call set_timesteps before another run."
            )
        first, begin = begin, self._step_from(begin)
        recipe = self._asked(eta, clipped)
        plan = self._tail(recipe, grid, begin)
        if plan.start:
            raise UserError(
                f"{plan.name} raises the noise before the first evaluation, which a pipeline has"
                f" already made; set its s_max below σ/α = {plan.grid.ratio[0]:.4g}."
            )
        dtype = torch.float64 if sample.dtype == torch.float64 else torch.float32
        noise = None
        source: NoiseSource
        if self.config.noise_seed is None:
            source = noise = _PipelineNoise()
        else:
            source = Keyed(
                int(self.config.noise_seed), torch.arange(len(sample), device=sample.device)
            )
        estimates = (
            *(self.guidance.estimates if self.guidance is not None else ()),
            *recipe.estimates,
        )
        seen = _Seen() if estimates else None  # else x0 is the network's own
        executor = Executor(
            plan,
            sample,
            noise=source,
            estimates=(*estimates, seen) if seen is not None else (),
            displacements=recipe.displacements,
            dtype=dtype,
            record=half,
        )
        return _Run(
            executor,
            self._conversions[begin:],
            seen,
            noise,
            begin,
            first,
            eta,
            bool(recipe.displacements),
            sample.shape,
        )

    def _step_from(self, index: int) -> int:
        """Where the step begins that a run begun at evaluation ``index`` takes first: there, or at
        the next evaluation where pipelines count evaluations (``order`` 1) and that is of the same
        level.

        Raises :class:`UserError` inside a step.
        """
        rows = self._rows()
        if self._begins(index):
            return index
        if self.order == 1 and self._begins(index + 1) and rows[index + 1].at == rows[index].at:
            return index + 1
        first = max(i for i in range(index) if self._begins(i))
        raise UserError(
            f"A run cannot begin at timestep {index}, inside the step that begins at {first}:"
            f" {self._recipe} takes several evaluations there; begin at another one (a slightly"
            " different strength)."
        )

    def _asked(self, eta: float, clipped: bool) -> Recipe:
        """The recipe with what a pipeline passes to ``step``."""
        recipe = self._recipe
        if eta and isinstance(recipe.solver, DDIM):
            noisy: Any = DDIM(float(eta))
            recipe = dataclasses.replace(recipe, solver=noisy)
        elif eta:
            warnings.warn(
                f"eta={eta} means the eta of ddim; {recipe} does not take it.", stacklevel=4
            )
        if not clipped:
            return recipe
        follow = [
            dataclasses.replace(t, eps="recompute") if isinstance(t, Threshold) else t
            for t in recipe.transforms
        ]
        return dataclasses.replace(recipe, transforms=tuple(follow))

    def _tail(self, recipe: Recipe, grid: Grid, begin: int) -> Plan:
        """The plan of the levels from evaluation ``begin`` on: start-up rows come first in it,
        too."""
        rows = self._rows()
        if begin == 0 and recipe is self._recipe and self._plan is not None:
            return self._plan
        level = self._level(grid, begin)
        left = [row.at.t for row in rows[begin:]]
        for tried in (recipe, _without_start(recipe)):
            plan = self._plan_of(tried, grid.tail(level) if level else grid)
            if [row.at.t for row in plan.rows] == left:
                return plan
        raise UserError(
            f"{recipe} begun at timestep {begin} would take {plan.nfe} evaluations, not the"
            f" {len(left)} that are left; use a recipe of one evaluation a step for image to image,"
            " such as unipc or dpmpp."
        )

    def _plan_of(self, recipe: Recipe, grid: Grid) -> Plan:
        plan = recipe.plan(grid)
        return (
            plan if self._stride is None or plan.stochastic else levels.unjoined(plan, self._stride)
        )

    def _level(self, grid: Grid, begin: int) -> int:
        """The index in the grid of the level at which evaluation ``begin`` starts a step."""
        rows, points = self._rows(), grid.points
        if rows[begin].at in points:
            return points.index(rows[begin].at)
        # Churn has raised it: the step began where the one before was committed.
        return (
            points.index(next(o.point for o in reversed(rows[begin - 1].outputs) if o.commit))
            if begin
            else 0
        )

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """α x0 + σ noise at ``timesteps``, (B,) or (1,): any trained times, or the levels of the
        run."""
        alpha, sigma = self._level_of(timesteps, original_samples)
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """:meth:`add_noise`, as flow-matching pipelines call it."""
        if noise is None:
            raise UserError("scale_noise needs noise=, of the sample's shape.")
        return self.add_noise(sample, noise, timestep)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """α noise − σ x0: the target of a v-predicting network."""
        alpha, sigma = self._level_of(timesteps, sample)
        return alpha * noise - sigma * sample

    def _level_of(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(α, σ) at ``timesteps``, of a shape that multiplies ``like``: at a time of the run whose
        level lies between trained steps, that level; else the trained step."""
        times = timesteps.to(device=like.device).flatten().view(-1, *[1] * (like.ndim - 1))
        if levels.is_flow(self.config):
            sigma = times.to(torch.float32) / self.config.num_train_timesteps
            return (1 - sigma).to(like.dtype), sigma.to(like.dtype)
        table = self._level_table(like)
        found = table[:, times.round().to(torch.int64).clamp(0, table.shape[1] - 1)]
        if self._plan is not None and self._between():
            own = torch.tensor(
                [(row.at.alpha, row.at.sigma) for row in self._plan.rows], device=like.device
            ).T
            off, place = (times[..., None] - self.timesteps.to(times.device)).abs().min(dim=-1)
            found = torch.where(off < 1e-3, own[:, place], found)
        alpha, sigma = found.to(like.dtype)
        return alpha, sigma

    def _between(self) -> bool:
        """Whether the run's levels lie between trained steps, or have other times than they
        are."""
        assert self._grid is not None
        with np.errstate(invalid="ignore"):
            off = (
                np.abs(self._grid.process.ratio(self._grid.t[:-1]) / self._grid.ratio[:-1] - 1)
                > 1e-3
            )
        return bool(off.any() or (self._grid.t[:-1] % 1).any())

    def _level_table(self, like: Tensor) -> Tensor:
        """α and σ of the trained steps, (2, T), on the device."""
        if self._table is None or self._table.device != like.device:
            process = levels.process_of(self.config)
            pair = np.stack(process.alpha_sigma(np.arange(self.config.num_train_timesteps)))
            self._table = torch.from_numpy(pair).to(torch.float32).to(like.device)
        return self._table


def _counts(plan: Plan) -> Any:
    """Evaluations in each step."""
    return np.bincount([row.step for row in plan.rows])


def _without_start(recipe: Recipe) -> Recipe:
    """The recipe with one evaluation a step where its method starts with more: its history grows
    from order one."""
    if not isinstance(recipe.solver, (PNDM, PLMS)):
        return recipe
    plain: Any = PLMS("ramp", recipe.solver.order)
    return dataclasses.replace(recipe, solver=plain)


def _translated(config: Mapping[str, Any], cls: type[DescentScheduler]) -> dict[str, Any]:
    """Fields that another scheduler's config says without writing them down."""
    if "recipe" in config:
        # A preset is a recipe: it does not take over another one's.
        return (
            {}
            if cls is DescentScheduler or config.get("_class_name") == cls.__name__
            else {"recipe": None}
        )
    said: dict[str, Any] = {"clip_sample": bool(config.get("clip_sample", False))}
    if levels.source_of(config).startswith("FlowMatch"):
        said["prediction_type"] = "flow_prediction"
    return said
