"""The parts of an experiment with an ordered process: sites are hidden one after another."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, plugins
from ddpm_jax.data import Description
from ddpm_jax.denoisers import OrderedPrediction
from ddpm_jax.experiment.options import make_objective, make_solver, make_training_times, model_options, own
from ddpm_jax.generative import Bound, Measure, Model, OnePass, Sampling
from ddpm_jax.models import Sites
from ddpm_jax.processes import PROCESSES, Ordered
from ddpm_jax.processes.orders import Order, make_order
from ddpm_jax.schedules.keeping import KEEPS

T_MIN = 1e-3
"""In continuous time, the least time that training looks at."""

SPACINGS = {"uniform": lambda u: u, "quadratic": lambda u: u**2}
"""Time grids that need no noise level."""


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
    steps = steps_of(config, order)
    return Model(
        description=description,
        process=process(config, order, config.process.schedule),
        network=network,
        prediction=said,
        objective=make_objective(config, steps),
        times=make_training_times(config, KEEPS[config.process.schedule], steps, config.process.t_min or T_MIN),
        condition_drop=config.objective.condition_drop,
        estimator=estimator(config, said, order),
    )


def process(config: ConfigDict, order: Order, schedule: str) -> Ordered:
    """Removal of information in an order, at the pace of a schedule."""
    function = plugins.find(PROCESSES, config.process.name)
    apart = config.process.sites == "channels"
    options = own(config, "process.name")
    parts = {"order": order, "keep": KEEPS[schedule], "apart": apart, **options}
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


def steps_of(config: ConfigDict, order: Order) -> int:
    """T: the number of groups of an order; of independent times as configured, 0 for continuous time."""
    return order.groups or config.process.steps


def sites_of(config: ConfigDict, description: Description) -> Sites:
    """The image as the sequence that a network reads; in row-major order where the process has no fixed one."""
    order = order_of(config, description)
    sequence = range(order.count) if order.sequence is None else order.sequence
    apart = config.process.sites == "channels"
    return Sites(tuple(int(site) for site in sequence), order.chunk, apart, description.levels or 0)


def estimator(config: ConfigDict, said: OrderedPrediction, order: Order) -> Any:
    """Exact for a fixed order, a bound where the order is random; a point gives images no probability."""
    if not said.likely:
        return None
    if said.causal:
        return OnePass()
    grid, groups = _bound_grid(config, order)
    kind = "bound" if order.sequence is None else "exact"
    return Bound(grid, groups, continuous=not steps_of(config, order), kind=kind)


def _bound_grid(config: ConfigDict, order: Order) -> tuple[np.ndarray, int | None]:
    """The bound's intervals, and in how many runs they are taken; None: every one is evaluated."""
    count, steps = config.evaluation.likelihood_groups, steps_of(config, order)
    if not steps:
        return np.append(np.linspace(1, config.process.t_min or T_MIN, count or 1000), 0.0), None
    exact = order.sequence is not None
    return np.arange(steps, -1, -1) / steps, None if exact else count or None


def facts(config: ConfigDict, model: Model) -> dict[str, Any]:
    """Evaluations, and the order."""
    if model.estimator is None:
        return {}
    order = order_of(config, model.description)
    return {
        "network_evaluations": model.estimator.evaluations,
        "intervals": steps_of(config, order) or "continuous time",
        "order": config.process.order,
        "chunk": order.chunk,
    }


def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
    """For a network of any order, the exact likelihood of the model that takes the sites in one order."""
    section, name = config.evaluation, config.evaluation.order
    if not section.exact_images or model.estimator is None or model.estimator.kind != "bound":
        return {}
    order = order_of(config, model.description, name)
    groups = order.groups or order.count
    grid = np.arange(groups, -1, -1) / groups  # to reveal one chunk an interval, at an even pace
    chain = Bound(grid, kind="exact", process=process(config, order, "linear"), number=1)
    kept = {"order": name, "chunk": order.chunk}
    return {"in_order": Measure(f"exact in {name} order", chain, section.exact_images, "exact", facts=kept)}


def sampling(config: ConfigDict, model: Model, steps: int | None = None, order: str | None = None) -> Sampling:
    """How images are drawn, perhaps in another order than that of training."""
    section, name = config.sampler, config.sampler.order if order is None else order
    chosen = sampling_order(config, model.description, steps, name)
    # an order has so many groups, which may be fewer than the steps asked for
    grid = sampling_grid(config, chosen, chosen.groups or steps) if name else sampling_grid(config, chosen, steps)
    return Sampling(
        make_solver(config),
        grid,
        process=process(config, chosen, "linear") if name else None,
        guidance=section.guidance,
        temperature=section.temperature,
        top_k=section.top_k,
        nucleus=section.nucleus,
    )


def sampling_order(
    config: ConfigDict, description: Description, steps: int | None = None, name: str | None = None
) -> Order:
    """The order in which samples are revealed: the process's, or another in groups that make `steps` steps."""
    own_order, name = order_of(config, description), config.sampler.order if name is None else name
    if not name:
        return own_order
    count = steps or config.sampler.steps or own_order.count
    return order_of(config, description, name, -(-own_order.count // min(count, own_order.count)))


def sampling_grid(config: ConfigDict, order: Order, steps: int | None = None) -> np.ndarray:
    """`[N + 1]` times from 1 to 0. An order of G groups is walked at multiples of 1/G; N = 0 is one group a step."""
    count = steps or config.sampler.steps or order.groups or order.count
    grid = SPACINGS[config.sampler.spacing](np.arange(count, -1, -1) / count)
    return np.round(grid * order.groups) / order.groups if order.groups else grid
