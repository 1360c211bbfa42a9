"""The parts of an experiment with an ordered process, sites hidden one after another, and what cannot work together."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, plugins
from ddpm_jax.data import Description
from ddpm_jax.denoisers import HEADS, LIKELY, OrderedPrediction
from ddpm_jax.errors import fail, nearest
from ddpm_jax.experiment import options
from ddpm_jax.experiment.options import make_keep, make_solver, model_options, of, own, steps_by_hand, tried
from ddpm_jax.files import Record
from ddpm_jax.generative import Bound, Measure, Model, Sampling, default_estimator
from ddpm_jax.models import Sites
from ddpm_jax.processes import PROCESSES, Ordered, Refusal, Traits
from ddpm_jax.processes.orders import INDEPENDENT, ORDERS, Order, make_order
from ddpm_jax.schedules.grids import grid_of_times
from ddpm_jax.schedules.keeping import Keep, linear


def model(config: ConfigDict, description: Description) -> Model:
    """What is trained; a network that is not causal is told which sites are visible, beside their values."""
    said, order = prediction(config, description), order_of(config, description)
    network = models.make(
        config.model.name,
        said.network_shape(description.shape),
        said.numbers(description.channels, description.levels),
        sites=sites_of(config, description),
        **model_options(config, description),
    )
    steps, process = order.groups or config.process.steps, make_process(config, order, make_keep(config))
    times = options.make_times_of_keeping(config, steps)
    return Model(
        description=description,
        process=process,
        network=network,
        prediction=said,
        objective=options.make_objective(config, steps),
        times=times,
        **options.drops(config),
        estimator=default_estimator(process, said, times, config.evaluation.likelihood_groups),
    )


def make_process(config: ConfigDict, order: Order, keep: Keep) -> Ordered:
    """Removal of information in an order, at a pace."""
    function = plugins.find(PROCESSES, config.process.name)
    apart = config.process.sites == "channels"
    parts = {"order": order, "keep": keep, "apart": apart, **own(config, "process.name")}
    return plugins.made(config.process.name, function, parts, Ordered)


def prediction(config: ConfigDict, description: Description) -> OrderedPrediction:
    """What the network's output means."""
    section = config.model
    values = None if description.levels is None else description.values
    causal = models.causal(section.name)
    return OrderedPrediction(section.prediction, values, description.channels, section.components, causal)


def order_of(config: ConfigDict, description: Description, name: str = "", chunk: int = 0) -> Order:
    """The config's order on images of this description, or another. Raises ValueError for a chunk that cannot be."""
    section = config.process
    apart = section.sites == "channels"
    count = description.dimensions if apart else description.dimensions // description.channels
    return make_order(
        name or section.order,
        description.space,
        description.channels,
        apart,
        chunk or section.chunk or count,
        section.order_seed,
        **({} if name else own(config, "process.order")),
    )


def sites_of(config: ConfigDict, description: Description) -> Sites:
    """The image as the sequence that a network reads; in row-major order where the process has no fixed one."""
    order = order_of(config, description)
    sequence = range(order.count) if order.sequence is None else order.sequence
    apart = config.process.sites == "channels"
    return Sites(tuple(int(site) for site in sequence), order.chunk, apart, description.levels or 0)


def facts(config: ConfigDict, model: Model) -> Record:
    """Evaluations, and the order."""
    if model.estimator is None:
        return {}
    order = order_of(config, model.description)
    return {
        "network_evaluations": model.estimator.evaluations,
        "intervals": model.times.steps or "continuous time",
        "order": config.process.order,
        "chunk": order.chunk,
    }


def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
    """For a network of any order, the exact likelihood of the model that takes the sites in one order."""
    section, name = config.evaluation, config.evaluation.order
    if not section.exact_images or model.estimator is None or model.estimator.kind != "bound":
        return {}
    order = order_of(config, model.description, name)
    process = make_process(config, order, linear)  # an even pace, to reveal one chunk an interval
    chain = Bound(process.grid(0), kind="exact", process=process, number=1)
    kept = {"order": name, "chunk": order.chunk}
    return {"in_order": Measure(f"exact in {name} order", chain, section.exact_images, "exact", facts=kept)}


def sampling(config: ConfigDict, model: Model, steps: int | None = None, order: str | None = None) -> Sampling:
    """How images are drawn, perhaps in another order than that of training."""
    section, name = config.sampler, config.sampler.order if order is None else order
    process: Any = model.process
    if name:
        process = make_process(config, sampling_order(config, model.description, steps, name), linear)
        steps = process.order.groups or steps  # an order has so many groups, which may be fewer than asked for
    grid = sampling_grid(config, process, steps)
    if section.remask_cap < 1:
        process = replace(process, order=replace(process.order, remask_cap=section.remask_cap))
    return Sampling(
        make_solver(config),
        grid,
        process=None if process is model.process else process,
        **options.guidance(config),
        **options.cuts(config),
    )


def sampling_grid(config: ConfigDict, process: Any, steps: int | None = None) -> np.ndarray:
    """The sampler's time grid, of `steps` intervals if given; of an order it visits whole groups.

    Raises ValueError where times given by hand cannot be.
    """
    section = config.sampler
    if steps_by_hand(config, steps):
        times = tuple(map(float, section.times))
        return grid_of_times(process.keep, times, 0.0, process.order.groups or 0)
    return process.grid(steps or section.steps, section.spacing)


def sampling_order(
    config: ConfigDict, description: Description, steps: int | None = None, name: str | None = None
) -> Order:
    """The order in which samples are revealed: the process's, or another in groups that make `steps` steps."""
    own_order, name = order_of(config, description), config.sampler.order if name is None else name
    if not name:
        return own_order
    count = steps or config.sampler.steps or own_order.count
    return order_of(config, description, name, -(-own_order.count // min(count, own_order.count)))


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Order, network, prediction, objective, times and sampler, each with its dotted key."""
    yield from _process(config)
    if (yield from tried("process.exponent", "", make_keep, config)) is None:
        return
    words = f"{config.process.order} cannot be made with these options: "
    traits = yield from tried("process.order", words, _traits, config)
    if traits is None:
        return
    yield from _model(config, traits)
    yield from _objective(config)
    yield from _sampler(config, traits)
    evaluation, process = config.evaluation, config.process
    exact = not traits.exchangeable or config.model.prediction not in LIKELY
    if evaluation.exact_images and exact:
        yield Refusal("evaluation.exact_images", f"the order {process.order} has no bound to set it beside; leave it 0")


def _traits(config: ConfigDict) -> Traits:
    """Of the process; those of an order do not depend on the image, so a small one does."""
    if config.process.order not in ORDERS:
        return Traits("ordered", continuous=False)  # one of the user's own is asked in `check_data`, where its space is
    return Ordered(make_order(config.process.order, (4, 4)), linear).traits()


def _process(config: ConfigDict) -> Iterator[Refusal]:
    process, order = config.process, config.process.order
    if order == INDEPENDENT:
        if process.chunk != 1:
            reason = "independent times reveal sites one by one; use 1, and config.sampler.steps for more"
            yield Refusal("process.chunk", reason)
        yield from options.keeping_refusals(config)
    else:
        if process.steps:
            yield Refusal("process.steps", f"the order {order} has as many steps as chunks; use 0")
        if process.t_min:
            yield Refusal("process.t_min", f"the order {order} is in discrete time; leave it 0")
        if process.schedule != "linear":
            yield Refusal("process.schedule", f"ranks of the order {order} are evenly spaced; use linear")


def _model(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    process, model = config.process, config.model
    if models.causal(model.name) and traits.exchangeable:
        reason = (
            f"{model.name} is causal: it predicts a site from those before it in one fixed order, which "
            f"{process.order} has not; use raster, fixed or spread, or model.name=transformer"
        )
        yield Refusal("process.order", reason)
    if process.sites == "channels" and model.prediction in HEADS and not HEADS[model.prediction].apart:
        reason = f"{model.prediction} predicts a pixel with its channels; use categorical, or pixels"
        yield Refusal("model.prediction", reason)
    yield from of("model", models.refusals(model.name, "hidden"))


def _objective(config: ConfigDict) -> Iterator[Refusal]:
    section, model = config.objective, config.model
    likely = model.prediction in LIKELY
    objective = yield from tried("objective.name", "", options.make_objective, config, 0)
    times = yield from tried("objective.times", "", options.make_times_of_keeping, config, 0)
    if objective is None or times is None:
        return
    yield from options.of_kind("ordered", objective, times)
    if objective.points is likely:
        better = "bound or likelihood" if likely else "regression"
        reason = f"{section.name} does not train the prediction {model.prediction}; use {better}"
        yield Refusal("objective.name", reason)
    if objective.one_look and not models.causal(model.name):
        better = "bound" if likely else "regression"
        reason = f"{model.name} would see the answers: only a causal network learns all at once; use {better}"
        yield Refusal("objective.name", reason)
    if objective.one_look != times.clean:
        better = "clean" if objective.one_look else "stratified"
        yield Refusal("objective.times", f"{section.times} does not go with the objective {section.name}; use {better}")


def _sampler(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    sampler, process = config.sampler, config.process
    asked = {"sampler.order": (sampler.order,), "evaluation.curve_orders": tuple(config.evaluation.curve_orders)}
    for key, orders in asked.items():
        for name in filter(None, orders):
            if not traits.exchangeable:
                yield Refusal(key, f"a network of the order {process.order} knows that one alone; leave it empty")
            elif name not in ORDERS:
                yield Refusal(key, f"unknown name {name!r}; {nearest(name, ORDERS)}")
    if sampler.name == "cached" and tuple(sampler.guidance_interval) != (0, 1):
        yield Refusal("sampler.guidance_interval", "a memory cannot leave out groups; use first_order, or (0, 1)")
    if sampler.order and sampler.times:
        yield Refusal("sampler.times", "another order is revealed in even groups; leave it empty")
    if sampler.order and sampler.name == "confidence":
        yield Refusal("sampler.order", "confidence chooses the order itself; leave it empty")
    drawn = replace(traits, independent=(sampler.order or process.order) == INDEPENDENT)
    yield from options.solver_refusals(config, drawn, models.causal(config.model.name))
    if sampler.remask_cap < 1 and not (drawn.independent and sampler.eta):
        reason = "nothing is hidden again: set config.sampler.eta=1 and config.process.order=independent, or leave it 1"
        yield Refusal("sampler.remask_cap", reason)
    if config.model.prediction not in LIKELY:
        for name, value in (("temperature", 1), ("top_k", 0), ("nucleus", 1)):
            if sampler[name] != value:
                yield Refusal(f"sampler.{name}", f"a point is not drawn from; leave it {value}")
        if sampler.name == "confidence":
            yield Refusal("sampler.name", "a point is as sure of one site as of another; use first_order")


def check_data(config: ConfigDict, description: Description) -> None:
    """The order on these sites, the levels, the network, the number of steps.

    Raises:
        UserError: one line that starts with the key to change.
    """
    model, sampler = config.model, config.sampler
    if description.levels is None:
        fail("data.name", f"{description.name!r} has real values; hidden sites are predicted as levels")
    try:
        order, sites = order_of(config, description), sites_of(config, description)
    except ValueError as error:
        fail("process.chunk", str(error))
    shape = prediction(config, description).network_shape(description.shape)
    models.check(model.name, shape, sites=sites, **model_options(config, description))
    if order.groups and sampler.steps > order.groups:
        words = f"{sampler.steps} is more than the {order.groups} groups of {order.chunk} there are; 0 is one each"
        fail("sampler.steps", words)
    if sampler.order:
        order = sampling_order(config, description)
        if order.groups and sampler.steps not in (0, order.groups):
            words = f"{sampler.steps} steps in groups of {order.chunk} are {order.groups}; use that"
            fail("sampler.steps", words)
    try:
        grid = sampling_grid(config, Ordered(order, linear))
    except ValueError as error:
        fail("sampler.times", str(error))
    if not (np.diff(grid) < 0).all():
        words = f"{len(grid) - 1} {sampler.spacing} steps are finer than the groups; use fewer"
        fail("sampler.steps", words)
    if order.sequence is not None and len(grid) - 1 != order.groups:
        words = f"in the order {config.process.order} only the next group of sites is learned"
        fail("sampler.steps", f"{words}, so each takes a step; use 0")
