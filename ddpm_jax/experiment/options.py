"""Sections of a config as the arguments that the parts take, and what parts refuse as keys of the config."""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import models, plugins, samplers, schedules
from ddpm_jax.config.guidance import shares, weights
from ddpm_jax.config.keys import KEYS, OPTIONS
from ddpm_jax.data import Description
from ddpm_jax.denoisers.guidance_rules import Plain, Projected, Rescaled
from ddpm_jax.errors import UserError, fail
from ddpm_jax.files import Record
from ddpm_jax.objectives.losses import OBJECTIVES, Objective
from ddpm_jax.objectives.times import TimeDistribution, make_times
from ddpm_jax.plugins import Function, Options
from ddpm_jax.processes import Refusal, Traits
from ddpm_jax.samplers import Solver
from ddpm_jax.schedules import keeping
from ddpm_jax.schedules.keeping import Keep

SCHEDULE_OPTIONS = (
    *("beta_min", "beta_max", "sigma_min", "sigma_max", "rho", "shift", "gamma_min", "gamma_max"),
    *("offset", "cap", "zero_terminal", "table_file", "table_values"),
)

T_MIN = 1e-3
"""Where sites or values are kept or not: in continuous time, the least time that training looks at."""

LEAST_TIME = 1e-5

OF_OBJECTIVES = ("min_snr", "sigmoid_bias", "hybrid")
OF_TIMES = ("log_mean", "log_deviation", "logit_mean", "logit_deviation")


def own(config: ConfigDict, key: str) -> Options:
    """The options of the dotted path that a key names; empty for a name of ours."""
    section: Any = config
    for part in OPTIONS[key].split("."):
        section = section[part]
    return section.to_dict()


def schedule_options(config: ConfigDict) -> Options:
    """The options of the schedule that the config sets; a key's default leaves the schedule's own."""
    return {**{name: config.process[name] for name in options_set(config)}, **own(config, "process.schedule")}


def options_set(config: ConfigDict) -> list[str]:
    """The options of schedules of ours that the config sets."""
    return [name for name in SCHEDULE_OPTIONS if config.process[name] != KEYS[f"process.{name}"].default]


def files_of(config: ConfigDict) -> Record:
    """What the model is made of besides the config and the data, by its content: a schedule's table from a file."""
    if not config.process.table_file:
        return {}
    table: Any = make_schedule(config)
    digest = hashlib.sha256(table.alphas.tobytes() + table.sigmas.tobytes()).hexdigest()
    return {"schedule": {"table": digest[:32]}}


def make_keep(config: ConfigDict) -> Keep:
    """The share of visible sites. Raises ValueError for an exponent that cannot be."""
    return keeping.make_keep(config.process.schedule, config.process.exponent)


def make_schedule(config: ConfigDict) -> schedules.Schedule | schedules.Trained:
    """The schedule, before its parameters. Raises ValueError for options that cannot be."""
    return schedules.make(config.process.schedule, config.process.steps, **schedule_options(config))


def make_objective(config: ConfigDict, steps: int) -> Objective:
    """The objective; `steps` is T, 0 in continuous time. Raises ValueError for options that cannot be."""
    section = config.objective
    function = plugins.find(OBJECTIVES, section.name)
    chosen = {} if plugins.dotted(section.name) else {name: section[name] for name in OF_OBJECTIVES}
    given = plugins.given(function, steps=steps, sigma_data=config.model.sigma_data, **chosen)
    return plugins.made(section.name, function, {**given, **own(config, "objective.name")}, Objective)


def make_training_times(
    config: ConfigDict, schedule: Any, steps: int, t_min: float, decoder: float | None = None
) -> TimeDistribution:
    """Where in time training looks, with another decoder share if given. Raises ValueError for what cannot be."""
    section = config.objective
    share = section.decoder if decoder is None else decoder
    chosen = {
        **({} if plugins.dotted(section.times) else {name: section[name] for name in OF_TIMES}),
        **own(config, "objective.times"),
    }
    return make_times(section.times, schedule, steps, t_min, share, **chosen)


def make_times_of_keeping(config: ConfigDict, steps: int) -> TimeDistribution:
    """Where in time training looks, where sites or values are kept or not. Raises ValueError for what cannot be."""
    return make_training_times(config, make_keep(config), steps, config.process.t_min or T_MIN)


def keeping_refusals(config: ConfigDict) -> Iterator[Refusal]:
    """What of the times cannot be, where sites or values are kept or not."""
    process = config.process
    if 0 < process.t_min < LEAST_TIME:
        reason = f"{process.t_min} is below {LEAST_TIME}, where float32 loses the share that is lost"
        yield Refusal("process.t_min", reason)
    if process.steps and process.t_min:
        yield Refusal("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0")
    if not process.steps and config.evaluation.likelihood_groups == 1:
        yield Refusal("evaluation.likelihood_groups", "one stratum of continuous time is one step; use 100")


def cuts(config: ConfigDict) -> Options:
    """What a sampler is told of the levels' distribution."""
    return {name: config.sampler[name] for name in ("temperature", "top_k", "nucleus")}


def make_solver(config: ConfigDict) -> Solver:
    """The solver. Raises ValueError for options that cannot be."""
    return samplers.make(config.sampler.name, config.sampler.to_dict(), own(config, "sampler.name"))


def model_options(config: ConfigDict, description: Description) -> Options:
    """The model section as the arguments that its network takes."""
    ours = () if plugins.dotted(config.model.name) else models.options(config.model.name)
    chosen = {name: config.model[name] for name in ours}
    return {"conditioning": conditioning(config, description), **chosen, **own(config, "model.name")}


def conditioning(config: ConfigDict, description: Description) -> Any:
    """What the network reads of its conditions; None where it has none.

    Raises:
        UserError: the data have no such condition.
    """
    section = config.model
    if not section.conditions:
        return None
    try:
        told = description.conditions.only(section.conditions)
    except UserError as error:
        fail("model.conditions", f"{error} ({description.name!r})")
    return models.Conditioning(told, section.text_channels, section.text_depth, section.text_tokens)


def steps_by_hand(config: ConfigDict, steps: int | None = None) -> int:
    """How many intervals the times that the config gives have; 0 where it gives none.

    Raises:
        ValueError: other steps are asked for.
    """
    section = config.sampler
    number = max(len(section.times), len(section.sigmas)) - 1
    if number > 0 and steps not in (None, 0, number):
        raise ValueError(f"the sampler's times are given, {number} steps of them, and not {steps}")
    return max(number, 0)


def guidance(config: ConfigDict) -> Options:
    """What a sampler is told of guidance. Raises ValueError for two rules at once."""
    section = config.sampler
    if section.guidance_rescale and (section.guidance_parallel != 1 or section.guidance_limit):
        raise ValueError("rescaled and projected guidance are two rules; set one of them")
    rule: Any = Plain()
    if section.guidance_rescale:
        rule = Rescaled(section.guidance_rescale)
    elif section.guidance_parallel != 1 or section.guidance_limit:
        rule = Projected(section.guidance_parallel, section.guidance_limit or float("inf"))
    return {
        "guidance": section.guidance,
        "each": weights(section.guidance_each),
        "interval": tuple(section.guidance_interval),
        "rule": rule,
        "classifier_scale": section.classifier_scale,
    }


def drops(config: ConfigDict) -> Options:
    """How often a model is trained without its conditions."""
    section = config.objective
    return {
        "condition_drop": section.condition_drop,
        "condition_drop_each": section.condition_drop_each,
        "condition_drop_own": shares(section.condition_drop_own),
    }


def tried(key: str, words: str, make: Function, *arguments: Any) -> Generator[Refusal, None, Any]:
    """What it makes of the arguments; None where that cannot be, which is refused under the key."""
    try:
        return make(*arguments)
    except ValueError as error:
        yield Refusal(key, f"{words}{error}")
        return None


def of(section: str, found: Iterable[tuple[str, str]]) -> Iterator[Refusal]:
    """What parts refuse, with the dotted keys of the section that they are chosen in."""
    for part, reason in found:
        yield Refusal(f"{section}.{part}", reason)


def of_kind(kind: str, objective: Objective, times: TimeDistribution) -> Iterator[Refusal]:
    """Parts of the user's own may be for other processes."""
    for key, part in (("objective.name", objective), ("objective.times", times)):
        if kind not in part.kinds:
            yield Refusal(key, f"{type(part).__name__} is for {' and '.join(part.kinds)} processes")


def solver_refusals(config: ConfigDict, traits: Traits, causal: bool) -> Iterator[Refusal]:
    """What of the solver and its options cannot be."""
    name = config.sampler.name
    solver = yield from tried("sampler.name", f"{name} cannot be made with these options: ", make_solver, config)
    if solver is None:
        return
    found = list(solver.refusals(name, traits, causal))
    yield from of("sampler", found)
    if not any(one.part == "name" for one in found):
        yield from of("sampler", samplers.unread(name, config.sampler.to_dict()))
