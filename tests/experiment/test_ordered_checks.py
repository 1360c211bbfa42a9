"""What cannot work together with an ordered process is refused with its reason, before anything is built."""

import pytest

from ddpm_jax.conditions import labels
from ddpm_jax.config.base import base, digits
from ddpm_jax.config.families import FAMILIES, ORDERED
from ddpm_jax.data import Description
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check, check_data
from tests.config.examples import about, refused, told

DIGITS = Description("digits", "1.0.0", (8, 8, 1), 17, labels(10))
COLOUR = Description("colour", "1.0.0", (8, 8, 3), 256)


def of(family, changes):
    config = digits()
    config.model.channels = 16
    FAMILIES[family](config)
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("family", [family.__name__ for family in ORDERED])
def test_every_family_is_possible(family):
    changes = {"model.multipliers": (1, 1)} if family == "pixelcnn" else {}
    config = of(family, changes)
    check(config)
    check_data(config, DIGITS)


@pytest.mark.parametrize(
    ("family", "changes", "key", "reason"),
    [
        ("autoregressive", {"process.order": "random"}, "process.order", "is causal"),
        ("autoregressive", {"process.order": "independent"}, "process.order", "is causal"),
        ("autoregressive", {"process.schedule": "cosine"}, "process.schedule", "evenly spaced"),
        ("autoregressive", {"process.schedule": "vp"}, "process.schedule", "is of noise"),
        ("masked", {"process.schedule": "polynomial", "process.exponent": 0.5}, "process.exponent", "at least 1"),
        ("masked", {"process.schedule": "cosine", "process.exponent": 2.0}, "process.exponent", "has no exponent"),
        ("masked", {"sampler.sigmas": (1.0, 0.0), "sampler.steps": 0}, "sampler.sigmas", "is of noise; leave it empty"),
        (
            "random_order",
            {"sampler.order": "raster", "sampler.times": (1.0, 0.5, 0.0), "sampler.steps": 2},
            "sampler.times",
            "even groups",
        ),
        ("autoregressive", {"process.steps": 64}, "process.steps", "as many steps as chunks"),
        ("autoregressive", {"process.beta_max": 2.0}, "process.beta_max", "is of noise"),
        ("autoregressive", {"model.prediction": "epsilon"}, "model.prediction", "is of noise"),
        ("autoregressive", {"model.prediction": "x0"}, "objective.name", "does not train"),
        ("autoregressive", {"objective.times": "uniform"}, "objective.times", "use clean"),
        ("autoregressive", {"sampler.eta": 0.5}, "sampler.eta", ""),
        ("autoregressive", {"sampler.name": "confidence"}, "sampler.name", "random or independent"),
        ("autoregressive", {"sampler.name": "heun"}, "sampler.name", "Gaussian"),
        ("autoregressive", {"sampler.spacing": "karras"}, "sampler.spacing", "of noise"),
        ("autoregressive", {"sampler.clip": True}, "sampler.clip", "of noise"),
        ("autoregressive", {"sampler.nucleus": 1.5}, "sampler.nucleus", "not in (0, 1]"),
        ("autoregressive", {"sampler.temperature": 0.0}, "sampler.temperature", "not above 0"),
        ("pixelcnn", {"process.sites": "channels"}, "model.prediction", "pixel with its channels"),
        ("random_order", {"model.name": "pixelcnn"}, "process.order", "is causal"),
        ("random_order", {"objective.name": "likelihood", "objective.times": "clean"}, "objective.name", "the answers"),
        ("random_order", {"objective.name": "causal_regression"}, "objective.name", "does not train"),
        ("one_shot", {"objective.name": "causal_regression"}, "objective.name", "use regression"),
        ("ddpm", {"objective.name": "causal_regression"}, "objective.name", "ordered"),
        ("ddpm", {"sampler.order": "raster"}, "sampler.order", "leave it empty"),
        ("random_order", {"sampler.name": "cached"}, "sampler.name", "causal"),
        ("random_order", {"objective.name": "simple"}, "objective.name", "of noise"),
        ("random_order", {"objective.times": "log_normal"}, "objective.times", "of noise"),
        ("random_order", {"model.time": "thousand"}, "model.time", "use hidden"),
        ("random_order", {"model.input": "unit"}, "model.input", "of noise"),
        ("random_order", {"model.variance": "learned"}, "model.variance", "fixed_small"),
        ("masked", {"process.chunk": 2}, "process.chunk", "one by one"),
        ("masked", {"process.t_min": 1e-7}, "process.t_min", "float32"),
        ("masked", {"model.name": "ncsnpp"}, "model.name", "Fourier"),
        ("masked", {"evaluation.likelihood_groups": 1}, "evaluation.likelihood_groups", "stratum"),
        ("masked", {"evaluation.ode_images": 10}, "evaluation.ode_images", "noise"),
        ("masked", {"sampler.remask_cap": 0.5}, "sampler.remask_cap", "sampler.eta=1"),
        ("masked", {"sampler.remask_cap": 1.5}, "sampler.remask_cap", "not in [0, 1]"),
        (
            "masked",
            {"sampler.remask_cap": 0.5, "sampler.eta": 1.0, "sampler.order": "random"},
            "sampler.remask_cap",
            "",
        ),
        ("random_order", {"sampler.remask_cap": 0.5, "sampler.eta": 1.0}, "sampler.remask_cap", "independent"),
        ("ddpm", {"sampler.remask_cap": 0.5}, "sampler.remask_cap", "ordered"),
        ("masked", {"sampler.confidence_temperature": 1.0}, "sampler.confidence_temperature", "first_order"),
        ("chunked", {"evaluation.exact_images": 10}, "evaluation.exact_images", "no bound"),
        ("one_shot", {"process.order": "random", "sampler.name": "confidence"}, "sampler.name", "point"),
        ("masked", {"process.steps": 8, "process.t_min": 0.1}, "process.t_min", "1/T"),
        ("one_shot", {"objective.name": "bound"}, "objective.name", "does not train"),
        ("one_shot", {"sampler.top_k": 5}, "sampler.top_k", "point"),
        ("vdm", {"process.schedule": "linear"}, "process.schedule", "ordered"),
        ("vdm", {"process.chunk": 2}, "process.chunk", "ordered"),
        ("vdm", {"process.order": "random"}, "process.order", "ordered"),
        ("vdm", {"process.sites": "channels"}, "process.sites", "ordered"),
        ("vdm", {"evaluation.exact_images": 5}, "evaluation.exact_images", "ordered"),
        ("vdm", {"model.name": "causal_transformer"}, "model.name", "causal"),
        ("vdm", {"model.prediction": "logistics"}, "model.prediction", "ordered"),
        ("vdm", {"model.time": "hidden"}, "model.time", "ordered"),
        ("ddpm", {"objective.name": "regression"}, "objective.name", "ordered"),
        ("ddpm", {"objective.times": "clean"}, "objective.times", "ordered"),
        ("ddpm", {"sampler.steps": 0}, "sampler.steps", "number of steps"),
        ("ddpm", {"sampler.temperature": 0.5}, "sampler.temperature", "ordered"),
    ],
)
def test_impossible_combinations(family, changes, key, reason):
    lines = told(check, of(family, changes))
    words = about(key, lines)
    assert words and reason in words, lines


@pytest.mark.parametrize(
    ("family", "changes", "data", "key", "reason"),
    [
        ("autoregressive", {"model.vocabulary": 256}, DIGITS, "model.vocabulary", "17 levels"),
        ("autoregressive", {"process.chunk": 65}, DIGITS, "process.chunk", "64"),
        ("random_order", {"process.chunk": 3}, DIGITS, "process.chunk", "3"),
        ("autoregressive", {"sampler.name": "first_order", "sampler.steps": 65}, DIGITS, "sampler.steps", "64 groups"),
        ("autoregressive", {"sampler.steps": 32}, DIGITS, "sampler.steps", "each takes a step"),
        (
            "autoregressive",
            {"sampler.name": "first_order", "sampler.steps": 32},
            DIGITS,
            "sampler.steps",
            "each takes a step",
        ),
        (
            "random_order",
            {"process.order": "raster", "sampler.steps": 16},
            DIGITS,
            "sampler.steps",
            "each takes a step",
        ),
        ("vdm", {"model.vocabulary": 256}, DIGITS, "model.vocabulary", "17 levels"),
        ("random_order", {"sampler.spacing": "quadratic"}, DIGITS, "sampler.steps", "finer"),
        ("pixelcnn", {"process.order": "spread"}, DIGITS, "process.order", "raster"),
        ("pixelcnn", {"process.chunk": 4}, DIGITS, "process.chunk", ""),
    ],
)
def test_what_does_not_fit_the_data(family, changes, data, key, reason):
    config = of(family, changes)
    check(config)
    line = refused(check_data, config, data)
    assert line.startswith(f"config.{key}: ") and reason in line, line


def test_a_chunk_that_does_not_divide_is_fine_where_it_does_not_matter():
    config = of("chunked", {"process.chunk": 5})
    check(config)
    check_data(config, DIGITS)


def test_channels_apart_go_with_a_transformer():
    config = of("autoregressive", {"process.sites": "channels"})
    check(config)
    check_data(config, COLOUR)


def test_real_values_are_refused():
    with pytest.raises(UserError, match=r"config\.data\.name"):
        check_data(of("masked", {}), Description("real", "1.0.0", (8, 8, 1), None))


def test_the_base_is_still_a_gaussian_one():
    config = base()
    config.sampler.steps = 100
    check(config)


def test_times_by_hand_are_those_of_whole_groups():
    for family, times in (("masked", (1.0, 0.9, 0.5, 0.0)), ("random_order", (1.0, 0.9, 0.5, 0.0))):
        config = of(family, {"sampler.times": times, "sampler.steps": 3})
        check(config)
        check_data(config, DIGITS)
    config = of("random_order", {"sampler.times": (1.0, 0.501, 0.5, 0.0), "sampler.steps": 3})
    with pytest.raises(UserError, match=r"sampler\.times: two of the 4 times are at the same of 64"):
        check_data(config, DIGITS)


def test_shares_kept_that_masked_models_take():
    for changes in ({"process.schedule": "arccos"}, {"process.schedule": "polynomial", "process.exponent": 3.0}):
        config = of("masked", changes)
        check(config)
        check_data(config, DIGITS)
