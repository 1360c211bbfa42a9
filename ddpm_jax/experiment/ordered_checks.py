"""What cannot work together in an experiment with an ordered process, refused with the reason."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, samplers
from ddpm_jax.data import Description
from ddpm_jax.denoisers import HEADS, LIKELY
from ddpm_jax.errors import fail, nearest
from ddpm_jax.experiment.options import SCHEDULE_OPTIONS, model_options, sampler_options
from ddpm_jax.experiment.ordered import SPACINGS, input_shape, order_of, sampling_grid, sampling_order, sites_of
from ddpm_jax.processes.orders import INDEPENDENT, ORDERS, RANDOM
from ddpm_jax.schedules.keeping import KEEPS

OBJECTIVES = ("bound", "likelihood", "regression", "causal_regression")
ONE_PASS = ("likelihood", "causal_regression")
LEAST_TIME = 1e-5
TIMES = ("uniform", "stratified", "importance", "clean")


def check(config: ConfigDict) -> None:
    """Order, network, prediction, objective, times and sampler.

    Raises:
        UserError: one line that starts with the key to change.
    """
    _process(config)
    _model(config)
    _objective(config)
    _sampler(config)
    _evaluation(config)


def _process(config: ConfigDict) -> None:
    process = config.process
    if process.schedule not in KEEPS:
        fail(
            "process.schedule",
            f"{process.schedule} is of noise; for hidden sites use {' or '.join(KEEPS)}, or start from a config of the "
            "ordered family, such as configs/digits/masked.py",
        )
    for option in SCHEDULE_OPTIONS:
        if process[option]:
            fail(f"process.{option}", "is of noise, which an ordered process has none of; leave it 0")
    if process.order == INDEPENDENT:
        if process.chunk != 1:
            fail("process.chunk", "independent times reveal sites one by one; use 1, and config.sampler.steps for more")
    else:
        if process.steps:
            fail("process.steps", f"the order {process.order} has as many steps as chunks; use 0")
        if process.t_min:
            fail("process.t_min", f"the order {process.order} is in discrete time; leave it 0")
        if process.schedule != "linear":
            fail("process.schedule", f"ranks of the order {process.order} are evenly spaced; use linear")
    if 0 < process.t_min < LEAST_TIME:
        fail("process.t_min", f"{process.t_min} is below {LEAST_TIME}, where float32 loses the share of hidden sites")
    if process.steps and process.t_min:
        fail("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0")


def _model(config: ConfigDict) -> None:
    process, model = config.process, config.model
    causal = model.name in models.CAUSAL
    if causal and process.order in RANDOM:
        fail(
            "process.order",
            f"{model.name} is causal: it predicts a site from those before it in one fixed order, which "
            f"{process.order} has not; use raster, fixed or spread, or model.name=transformer",
        )
    if model.prediction not in HEADS:
        fail("model.prediction", f"{model.prediction} is of noise; for hidden sites choose from {', '.join(HEADS)}")
    if model.prediction != "categorical" and process.sites == "channels":
        fail("model.prediction", f"{model.prediction} predicts a pixel with its channels; use categorical, or pixels")
    if model.variance != "fixed_small":
        fail("model.variance", f"{model.variance} is the variance of a Gaussian step; use fixed_small")
    if model.time != "hidden":
        fail("model.time", f"a network of hidden sites is told their share, not {model.time}; use hidden")
    if model.name == "ncsnpp":
        fail("model.name", "ncsnpp has Fourier features too fast for a share of hidden sites; use ddpmpp or unet")
    if model.input != "none":
        fail("model.input", "visible sites are not scaled; use none")


def _objective(config: ConfigDict) -> None:
    section, model = config.objective, config.model
    likely, causal = model.prediction in LIKELY, model.name in models.CAUSAL
    if section.name not in OBJECTIVES:
        fail("objective.name", f"{section.name} weighs noise levels; choose from {', '.join(OBJECTIVES)}")
    if likely == (section.name in ("regression", "causal_regression")):
        better = "bound or likelihood" if likely else "regression"
        fail("objective.name", f"{section.name} does not train the prediction {model.prediction}; use {better}")
    if section.name in ONE_PASS and not causal:
        better = "bound" if likely else "regression"
        fail(
            "objective.name",
            f"{model.name} would see the answers: only a causal network learns all at once; use {better}",
        )
    if (section.name in ONE_PASS) != (section.times == "clean"):
        better = "clean" if section.name in ONE_PASS else "stratified"
        fail("objective.times", f"{section.times} does not go with the objective {section.name}; use {better}")
    if section.times not in TIMES:
        fail("objective.times", f"{section.times} is of noise levels; choose from {', '.join(TIMES[:3])}")
    if section.decoder:
        fail("objective.decoder", "hidden sites need no decoder; use 0")


def _sampler(config: ConfigDict) -> None:
    sampler, process = config.sampler, config.process
    if sampler.order and process.order not in RANDOM:
        fail("sampler.order", f"a network of the order {process.order} knows that one alone; leave it empty")
    if sampler.order not in ("", *ORDERS):
        fail("sampler.order", f"unknown name {sampler.order!r}; {nearest(sampler.order, ORDERS)}")
    if sampler.order and sampler.name == "confidence":
        fail("sampler.order", "confidence chooses the order itself; leave it empty")
    refusal: Any = samplers.refusal(
        sampler.name,
        sampler_options(config),
        process="ordered",
        independent=(sampler.order or process.order) == INDEPENDENT,
        exchangeable=process.order in RANDOM,
        causal=config.model.name in models.CAUSAL,
    )
    if refusal:
        key, reason = refusal
        fail(f"sampler.{key}", reason)
    if sampler.spacing not in SPACINGS:
        fail("sampler.spacing", f"{sampler.spacing} is of noise levels; choose from {', '.join(SPACINGS)}")
    if sampler.clip or sampler.threshold:
        fail(
            "sampler.clip" if sampler.clip else "sampler.threshold",
            "levels cannot leave their range; turn it off",
        )
    if config.model.prediction not in LIKELY:
        for name, value in (("temperature", 1), ("top_k", 0), ("nucleus", 1)):
            if sampler[name] != value:
                fail(f"sampler.{name}", f"a point is not drawn from; leave it {value}")
        if sampler.name == "confidence":
            fail("sampler.name", "a point is as sure of one site as of another; use first_order")
    if sampler.confidence_temperature and sampler.name != "confidence":
        fail("sampler.confidence_temperature", f"{sampler.name} has none; leave it 0, or use confidence")


def _evaluation(config: ConfigDict) -> None:
    evaluation, process = config.evaluation, config.process
    for name in ("ode_images", "decoder_noise"):
        if evaluation[name]:
            fail(f"evaluation.{name}", "is of noise; leave it 0")
    exact = process.order not in RANDOM or config.model.prediction not in LIKELY
    if evaluation.exact_images and exact:
        fail("evaluation.exact_images", f"the order {process.order} has no bound to set it beside; leave it 0")
    if process.order == INDEPENDENT and not process.steps and evaluation.likelihood_groups == 1:
        fail("evaluation.likelihood_groups", "one stratum of continuous time is one step; use 100")


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
    models.check(model.name, input_shape(config, description), sites=sites, **model_options(config, description))
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
