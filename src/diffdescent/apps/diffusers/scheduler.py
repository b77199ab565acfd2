"""A diffusers scheduler that is the engine's ask/tell: ``step`` is one ``tell``, and nothing is
computed here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import Recipe

from .config import is_flow, kind_of, own_grid, told_at
from .guidance import Guidance
from .keywords import check_keywords
from .laid_out import LaidOut
from .layout import lay_out
from .levels import RunLevels, warn_of_notes
from .quirks import stride
from .recipe import full_recipe
from .refusal import check, refuse, refuse_distilled, source_of, translated
from .run import DescentSchedulerOutput, Generators, PipelineRun, begin_run
from .timesteps import Timesteps
from .training import TrainingNoise


class DescentScheduler(RunLevels, TrainingNoise, SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Any recipe as a diffusers scheduler.

    ``pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe="ge")`` is all
    that is needed, for VP and flow-matching pipelines alike. States are in the network's own
    coordinates, so ``scale_model_input`` changes nothing.

    :attr:`recipe` says what is run, the config's part in it included. A stochastic recipe without a
    generator and without ``noise_seed`` draws from torch's global generator, as diffusers does.

    Args:
        recipe: a recipe's text; None takes the class's own.
        grid: a grid's text; None lays the levels out as the fields below say.
        noise_seed: stochastic recipes draw noise that belongs to (seed, sample, step) in place of
            ``generator``'s.
        timestep_spacing: as in diffusers, like ``steps_offset``, ``final_sigmas_type``,
            ``set_alpha_to_one`` and ``clip_sample``; None means what diffusers' scheduler of the
            solver's name takes.
        shift: a flow's, like ``use_dynamic_shifting`` and its fields, as in
            ``FlowMatchEulerDiscreteScheduler``. With ``use_flow_sigmas`` and ``flow_shift`` they
            are those of the multistep schedulers.

    Raises:
        UserError: recipes and grids that cannot be read and configs that cannot be expressed.
    """

    _compatibles: ClassVar[list[str]] = [e.name for e in KarrasDiffusionSchedulers]
    preset: ClassVar[str] = "ge"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        recipe: str | Recipe | None = None,
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
        check(self.config)
        self.num_inference_steps: int | None = None
        self._recipe = full_recipe(self.config)
        self._laid: LaidOut | None = None
        self._begin_index: int | None = None
        self._run: PipelineRun | None = None
        self.guidance: Guidance | None = None
        """What :func:`attach` has put here."""
        self.watch: Callable[[Tensor], object] | None = None
        self._told = Timesteps(self._training_times(), is_flow(self.config), None)
        self.timesteps = self._told.held

    def _remember(self, recipe: str | Recipe) -> None:
        """Keep in the config what was given by place: diffusers takes such options for defaults,
        which from_config leaves out. The recipe is never a default."""
        given = inspect.signature(type(self).__init__).parameters
        unsaid = [
            name
            for name in self.config.get("_use_default_values", ())
            if name != "recipe" and self.config[name] == given[name].default
        ]
        self.register_to_config(recipe=str(recipe) if isinstance(recipe, Recipe) else recipe)
        if "_use_default_values" in self.config:  # not where every option was read from a file
            self.register_to_config(_use_default_values=unsaid)

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Any:
        """The scheduler for the network of another scheduler's ``config``; keywords replace its
        fields.

        Raises:
            UserError: a config that cannot be expressed (why), and a keyword that nobody has.
        """
        if isinstance(chain := kwargs.get("recipe"), Recipe):
            kwargs["recipe"] = str(chain)
        if isinstance(config, Mapping):
            own = _own_recipe(config, cls)
            recipe = kwargs.get("recipe") or (config.get("recipe") if own else None) or cls.preset
            if not return_unused_kwargs:
                check_keywords(kwargs, cls, config, recipe)
            kwargs = {**translated(config, own, recipe), **kwargs}
            refuse_distilled({**config, **kwargs}, recipe)
            refuse({**config, **kwargs}, None if "recipe" in config else source_of(config))
        made, unused = super().from_config(config, return_unused_kwargs=True, **kwargs)
        check(made.config)  # with the fields that only other schedulers have
        return (made, unused) if return_unused_kwargs else made

    def _training_times(self) -> list[float]:
        """Every trained time, which is what a scheduler holds until ``set_timesteps`` is called."""
        total = self.config["num_train_timesteps"]
        last = 1 if is_flow(self.config) else 0
        return [float(t) for t in range(total - 1 + last, last - 1, -1)]

    def __len__(self) -> int:
        return int(self.config["num_train_timesteps"])

    @property
    def begin_index(self) -> int | None:
        """The first timestep's index that a pipeline has set."""
        return self._begin_index

    @property
    def step_index(self) -> int | None:
        """The index of the next timestep; None before the first ``step``."""
        return None if self._run is None else self._run.index

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
        :func:`~.layout.lay_out` for ``sigmas`` and ``timesteps``; ``mu`` is a dynamic flow's shift.

        Raises:
            UserError: levels that the config or the training steps do not allow.

        Warns:
            UserWarning: a grid has fewer levels than were asked for.
        """
        grid = lay_out(self.config, self._recipe, num_inference_steps, mu, sigmas, timesteps)
        self.num_inference_steps = num_inference_steps or grid.steps
        own = sigmas is None and timesteps is None
        if own and own_grid(self.config, self._recipe) is not None:
            warn_of_notes(grid, self.num_inference_steps)
        length = stride(self.config, self._recipe, grid, self.num_inference_steps) if own else None
        self._laid = LaidOut(self._recipe, grid, length)
        self._begin_index = self._run = None
        if self.guidance is not None:
            self.guidance.forget()
        told = [told_at(self.config, row.at) for row in self._laid.plan.rows]
        self._told = Timesteps(told, is_flow(self.config), device)
        self.timesteps = self._told.held

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

        Raises:
            UserError: a timestep that is not on the grid or lies inside a step, where no step can
                begin.
        """
        index = self._index_of(timestep)
        run = self._run
        if (
            run is None
            or (index is not None and index != run.index)
            or (index is None and run.executor.done)
        ):
            laid, asked = self._known(), self._begin_index if run is None else None
            first = index if asked is None else asked
            run = self._run = begin_run(
                laid,
                kind_of(self.config),
                len(laid.plan.rows) if first is None else first,
                sample,
                eta=eta,
                clipped=bool(use_clipped_model_output),
                half=isinstance(model_output, Tensor) and model_output.dtype == torch.float16,
                noise_seed=self.config["noise_seed"],
                guidance=self.guidance,
            )
        elif eta != run.eta:
            raise UserError(
                f"eta changed from {run.eta} to {eta} during a run; it belongs to the whole run."
            )
        prediction = run.prediction(model_output, sample, self.guidance)
        if run.noise is not None:
            if generator is not None and variance_noise is not None:
                raise UserError("Give a generator or variance_noise, not both.")
            run.noise.generator, run.noise.given = generator, variance_noise
            run.noise.dtype = model_output.dtype
        following = run.tell(prediction, sample)
        if not return_dict and self.watch is None:
            return (following,)
        x0 = (
            run.seen.x0
            if run.seen is not None and run.index > run.begin
            else prediction.to("x0", sample)
        )
        if self.watch is not None:
            self.watch(x0)
        if not return_dict:
            return (following,)
        return DescentSchedulerOutput(following, x0.to(sample.dtype))

    def check(self) -> None:
        """Raise :class:`UserError` if the last run holds NaN or Inf, for which samples, and with a
        float16 network, where numbers overflow, at which evaluation and level it began. This reads
        from the device; call it after the pipeline (a black image …)."""
        if self._run is not None:
            self._run.executor.check()

    def _index_of(self, timestep: float | Tensor) -> int | None:
        """Where ``timestep`` stands; None when only the device knows and a run is under way, which
        then goes on."""
        if isinstance(timestep, Tensor):
            own = self._told.place(timestep)
            if own is not None or (timestep.device.type != "cpu" and self._run is not None):
                return own
        places = self._told.places(timestep)
        if self._run is not None and self._run.index in places:
            return self._run.index
        if self._run is None and self._begin_index is not None:
            return self._begin_index
        if not places:
            raise self._told.unknown(timestep)
        laid = self._known()
        return next((i for i in places if laid.begins(i)), places[0])


def _own_recipe(config: Mapping[str, Any], cls: type[DescentScheduler]) -> bool:
    """Whether a scheduler of ours takes over the recipe of another's config: a preset keeps its
    own."""
    return cls is DescentScheduler or config.get("_class_name") == cls.__name__
