"""What cannot work together in an experiment with an ordered process, with the reasons."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models
from ddpm_jax.data import Description
from ddpm_jax.denoisers import HEADS, LIKELY
from ddpm_jax.errors import fail, nearest
from ddpm_jax.experiment.gaussian_checks import of, solver_refusals
from ddpm_jax.experiment.options import SCHEDULE_OPTIONS, make_objective, make_training_times, model_options
from ddpm_jax.experiment.ordered import SPACINGS, T_MIN, order_of, prediction, sampling_grid, sampling_order, sites_of
from ddpm_jax.objectives.losses import OBJECTIVES
from ddpm_jax.objectives.times import TIMES
from ddpm_jax.processes import Ordered, Refusal, Traits
from ddpm_jax.processes.orders import INDEPENDENT, ORDERS, make_order
from ddpm_jax.schedules.keeping import KEEPS, linear

LEAST_TIME = 1e-5


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Order, network, prediction, objective, times and sampler, each with its dotted key."""
    yield from _process(config)
    try:
        traits = _traits(config)
    except ValueError as error:
        yield Refusal("process.order", f"{config.process.order} cannot be made with these options: {error}")
        return
    yield from _model(config, traits)
    yield from _objective(config)
    yield from _sampler(config, traits)
    yield from _evaluation(config, traits)


def _traits(config: ConfigDict) -> Traits:
    """Of the process; those of an order do not depend on the image, so a small one does."""
    if config.process.order not in ORDERS:
        return Traits("ordered", continuous=False)  # one of the user's own is asked in `check_data`, where its space is
    return Ordered(make_order(config.process.order, (4, 4)), linear).traits()


def _process(config: ConfigDict) -> Iterator[Refusal]:
    process = config.process
    if process.schedule not in KEEPS:
        yield Refusal(
            "process.schedule",
            f"{process.schedule} is of noise; for hidden sites use {' or '.join(KEEPS)}, or start from a config of the "
            "ordered family, such as configs/digits/masked.py",
        )
    for option in SCHEDULE_OPTIONS:
        if process[option]:
            yield Refusal(f"process.{option}", "is of noise, which an ordered process has none of; leave it 0")
    if process.order == INDEPENDENT:
        if process.chunk != 1:
            yield Refusal(
                "process.chunk", "independent times reveal sites one by one; use 1, and config.sampler.steps for more"
            )
    else:
        if process.steps:
            yield Refusal("process.steps", f"the order {process.order} has as many steps as chunks; use 0")
        if process.t_min:
            yield Refusal("process.t_min", f"the order {process.order} is in discrete time; leave it 0")
        if process.schedule != "linear":
            yield Refusal("process.schedule", f"ranks of the order {process.order} are evenly spaced; use linear")
    if 0 < process.t_min < LEAST_TIME:
        yield Refusal(
            "process.t_min", f"{process.t_min} is below {LEAST_TIME}, where float32 loses the share of hidden sites"
        )
    if process.steps and process.t_min:
        yield Refusal("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0")


def _model(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    process, model = config.process, config.model
    if models.causal(model.name) and traits.exchangeable:
        yield Refusal(
            "process.order",
            f"{model.name} is causal: it predicts a site from those before it in one fixed order, which "
            f"{process.order} has not; use raster, fixed or spread, or model.name=transformer",
        )
    if model.prediction not in HEADS:
        yield Refusal(
            "model.prediction", f"{model.prediction} is of noise; for hidden sites choose from {', '.join(HEADS)}"
        )
    if model.prediction != "categorical" and process.sites == "channels":
        yield Refusal(
            "model.prediction", f"{model.prediction} predicts a pixel with its channels; use categorical, or pixels"
        )
    if model.variance != "fixed_small":
        yield Refusal("model.variance", f"{model.variance} is the variance of a Gaussian step; use fixed_small")
    if model.time != "hidden":
        yield Refusal("model.time", f"a network of hidden sites is told their share, not {model.time}; use hidden")
    yield from of("model", models.refusals(model.name, "hidden"))
    if model.input != "none":
        yield Refusal("model.input", "visible sites are not scaled; use none")


def _objective(config: ConfigDict) -> Iterator[Refusal]:
    section, model = config.objective, config.model
    likely, causal = model.prediction in LIKELY, models.causal(model.name)
    try:
        objective = make_objective(config, 0)
    except ValueError as error:
        yield Refusal("objective.name", str(error))
        return
    try:
        keep = KEEPS.get(config.process.schedule)
        times = make_training_times(config, keep, 0, config.process.t_min or T_MIN)
    except ValueError as error:
        yield Refusal("objective.times", str(error))
        return
    if "ordered" not in objective.kinds:
        names = [name for name, one in OBJECTIVES.items() if "ordered" in one.kinds]
        yield Refusal("objective.name", f"{section.name} weighs noise levels; choose from {', '.join(names)}")
    elif objective.points is likely:
        better = "bound or likelihood" if likely else "regression"
        reason = f"{section.name} does not train the prediction {model.prediction}; use {better}"
        yield Refusal("objective.name", reason)
    if objective.one_look and not causal:
        better = "bound" if likely else "regression"
        reason = f"{model.name} would see the answers: only a causal network learns all at once; use {better}"
        yield Refusal("objective.name", reason)
    if "ordered" not in times.kinds:
        names = [name for name, one in TIMES.items() if "ordered" in one.kinds and not one.clean]
        yield Refusal("objective.times", f"{section.times} is of noise levels; choose from {', '.join(names)}")
    elif objective.one_look != times.clean:
        better = "clean" if objective.one_look else "stratified"
        yield Refusal("objective.times", f"{section.times} does not go with the objective {section.name}; use {better}")
    if section.decoder:
        yield Refusal("objective.decoder", "hidden sites need no decoder; use 0")


def _sampler(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    sampler, process = config.sampler, config.process
    asked = {"sampler.order": (sampler.order,), "evaluation.curve_orders": tuple(config.evaluation.curve_orders)}
    for key, orders in asked.items():
        for name in filter(None, orders):
            if not traits.exchangeable:
                yield Refusal(key, f"a network of the order {process.order} knows that one alone; leave it empty")
            elif name not in ORDERS:
                yield Refusal(key, f"unknown name {name!r}; {nearest(name, ORDERS)}")
    if sampler.order and sampler.name == "confidence":
        yield Refusal("sampler.order", "confidence chooses the order itself; leave it empty")
    drawn = replace(traits, independent=(sampler.order or process.order) == INDEPENDENT)
    yield from solver_refusals(config, drawn, models.causal(config.model.name))
    if sampler.spacing not in SPACINGS:
        yield Refusal("sampler.spacing", f"{sampler.spacing} is of noise levels; choose from {', '.join(SPACINGS)}")
    if sampler.clip or sampler.threshold:
        yield Refusal(
            "sampler.clip" if sampler.clip else "sampler.threshold",
            "levels cannot leave their range; turn it off",
        )
    if config.model.prediction not in LIKELY:
        for name, value in (("temperature", 1), ("top_k", 0), ("nucleus", 1)):
            if sampler[name] != value:
                yield Refusal(f"sampler.{name}", f"a point is not drawn from; leave it {value}")
        if sampler.name == "confidence":
            yield Refusal("sampler.name", "a point is as sure of one site as of another; use first_order")


def _evaluation(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    evaluation, process = config.evaluation, config.process
    for name in ("ode_images", "decoder_noise"):
        if evaluation[name]:
            yield Refusal(f"evaluation.{name}", "is of noise; leave it 0")
    exact = not traits.exchangeable or config.model.prediction not in LIKELY
    if evaluation.exact_images and exact:
        yield Refusal("evaluation.exact_images", f"the order {process.order} has no bound to set it beside; leave it 0")
    if process.order == INDEPENDENT and not process.steps and evaluation.likelihood_groups == 1:
        yield Refusal("evaluation.likelihood_groups", "one stratum of continuous time is one step; use 100")


def check_data(config: ConfigDict, description: Description) -> None:
    """The order on these sites, the levels, the network, the number of steps.

    Raises:
        UserError: as `check`.
    """
    model = config.model
    if description.levels is None:
        fail("data.name", f"{description.name!r} has real values; hidden sites are predicted as levels")
    try:
        order = order_of(config, description)
        sites = sites_of(config, description)
    except ValueError as error:
        fail("process.chunk", str(error))
    shape = prediction(config, description).network_shape(description.shape)
    models.check(model.name, shape, sites=sites, **model_options(config, description))
    if order.groups and config.sampler.steps > order.groups:
        fail(
            "sampler.steps",
            f"{config.sampler.steps} is more than the {order.groups} groups of {order.chunk} there are; 0 is one each",
        )
    if config.sampler.order:
        order = sampling_order(config, description)
        if order.groups and config.sampler.steps not in (0, order.groups):
            fail(
                "sampler.steps", f"{config.sampler.steps} steps in groups of {order.chunk} are {order.groups}; use that"
            )
    grid = sampling_grid(config, order)
    if not (np.diff(grid) < 0).all():
        fail(
            "sampler.steps",
            f"{len(grid) - 1} {config.sampler.spacing} steps are finer than the groups; use fewer",
        )
    if order.sequence is not None and len(grid) - 1 != order.groups:
        fail(
            "sampler.steps",
            f"in the order {config.process.order} only the next group of sites is learned, so each takes a step; use 0",
        )
