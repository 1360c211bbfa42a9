"""An experiment with a Gaussian process: schedule, prediction, bound and probability-flow likelihood."""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, Key

from ddpm_jax import keys as random
from ddpm_jax import likelihood, models, schedules
from ddpm_jax.denoisers import CATEGORICAL, Denoise, as_point, clip, gaussian_denoiser, outputs, threshold
from ddpm_jax.experiment import gaussian_grids as grids
from ddpm_jax.experiment.base import LIKELIHOOD, Experiment, Measure, purpose_key
from ddpm_jax.experiment.options import model_options, objective_options, times_options
from ddpm_jax.likelihood import Kind, interval_groups
from ddpm_jax.models import Network
from ddpm_jax.objectives import losses
from ddpm_jax.objectives.times import TimeDistribution, make_times
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import Parametrised


class GaussianExperiment(Experiment):
    """Information is removed by noise."""

    @cached_property
    def schedule(self) -> Parametrised:
        """The schedule, before its parameters."""
        return grids.family_of(self.config)

    def process(self, params: Any) -> Gaussian:
        """Removal of information, with these parameters."""
        values = None if self.description.levels is None else self.description.values
        return Gaussian(self.schedule.bind(params["schedule"]), values)

    @cached_property
    def network(self) -> Network:
        """The network; what it predicts decides how many numbers it puts out for each value."""
        model, description = self.config.model, self.description
        count = outputs(model.prediction, model.variance, description.levels)
        options = model_options(self.config, description)
        return models.make(model.name, description.shape, count * description.channels, **options)

    @cached_property
    def times(self) -> TimeDistribution:
        """Where in time training looks."""
        config, objective = self.config, self.config.objective
        schedule, least = grids.schedule_of(config), grids.t_min(config)
        options = times_options(config)
        return make_times(objective.times, schedule, config.process.steps, least, objective.decoder, **options)

    @cached_property
    def objective(self) -> losses.Objective:
        """What is minimised."""
        return losses.OBJECTIVES[self.config.objective.name](objective_options(self.config, self.config.process.steps))

    def denoiser(
        self, params: Any, dropout_keys: Key[Array, " batch"] | None = None, process: Gaussian | None = None
    ) -> Denoise:
        """The denoiser with these parameters; in training mode if there are keys for dropout."""

        def network(x: Array, time: Array, condition: Any) -> Array:
            return self.network.apply(params["network"], x, time, condition, dropout_keys)

        model = self.config.model
        return gaussian_denoiser(
            network,
            process or self.process(params),
            model.prediction,
            model.variance,
            model.time,
            model.input,
            self.config.process.steps or 1000,
            model.sigma_data,
        )

    def grid(self, steps: int | None = None) -> np.ndarray:
        """The sampler's time grid, of `steps` intervals if given."""
        return grids.sampling(self.config, steps)

    def finish(self, denoise: Denoise, film: bool) -> Denoise:
        """Thresholding or clipping, and a point where draws are not wanted."""
        config = self.config.sampler
        if config.threshold:
            denoise = threshold(denoise, config.threshold)
        elif config.clip:
            denoise = clip(denoise)
        # Draws of x serve the Markov process with a variance of its own; a film shows means, not draws.
        if config.eta < 1 or film or self.config.model.prediction == CATEGORICAL:
            denoise = as_point(denoise)
        return denoise

    @property
    def likelihood_kind(self) -> Kind | None:
        """The variational bound."""
        return "bound"

    def likelihood(self, params: Any, rows: dict[str, Array]) -> likelihood.Terms:
        """The variational bound's terms for stored images; noise belongs to row numbers."""
        steps = self.config.process.steps
        return likelihood.bound(
            self.process(params),
            self.denoiser(params),
            grids.bound(self.config),
            random.per_example(purpose_key(0, LIKELIHOOD), rows["row"]),
            self.description.encode(rows["image"]),
            self.condition(rows["label"]),
            (self.config.evaluation.likelihood_groups or None) if steps else None,
            continuous=not steps,
        )

    def likelihood_facts(self) -> dict[str, Any]:
        """Evaluations, intervals, and where the decoder takes over."""
        grid, groups = grids.bound(self.config), self.config.evaluation.likelihood_groups
        intervals = len(grid) - 1
        return {
            "network_evaluations": len(interval_groups(intervals, groups or intervals)) - 1,
            "intervals": self.config.process.steps or "continuous time",
            "decoder": "discrete",
            "decoder_from": float(grid[-2]),
        }

    def measures(self) -> dict[str, Measure]:
        """The likelihood by the probability-flow ODE: of another kind than a bound."""
        evaluation = self.config.evaluation
        if not evaluation.ode_images:
            return {}
        facts = {"divergence": evaluation.ode_divergence}
        return {"ode": Measure("ODE", self.ode, evaluation.ode_images, "ode", "uniform", evaluation.ode_draws, facts)}

    def ode(self, params: Any, rows: dict[str, Array]) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
        """-log of the discrete likelihood by the probability-flow ODE in nats, and the network evaluations it took.

        A table's log-SNR is joined by straight lines for this.
        """
        evaluation = self.config.evaluation
        schedule = self.schedule.bind(params["schedule"])
        process = Gaussian(schedules.interpolated(schedule), self.description.values)
        return likelihood.ode(
            process,
            self.denoiser(params, process=process),
            random.per_example(purpose_key(1, LIKELIHOOD), rows["row"]),
            self.description.encode(rows["image"]),
            self.condition(rows["label"]),
            t_min=grids.t_min(self.config),
            divergence=evaluation.ode_divergence,
            draws=evaluation.ode_draws,
            rtol=evaluation.ode_tolerance,
            atol=evaluation.ode_tolerance,
        )
