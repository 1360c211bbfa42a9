"""The CIFAR-10 configs make networks of the sizes that their docstrings state."""

import ast
import re
from pathlib import Path

import jax
import pytest

from ddpm_jax.conditions import Conditions, Picture, Text, labels
from ddpm_jax.config.families import ORDERED
from ddpm_jax.config.identity import digest
from ddpm_jax.config.loading import load_config
from ddpm_jax.data import Description
from ddpm_jax.experiment import check, check_data, make
from ddpm_jax.models import parameter_count
from ddpm_jax.sweeps import expansion
from tests.config.examples import from_file

CIFAR10 = Description(name="cifar10", shape=(32, 32, 3), levels=256, conditions=labels(10), version="3.0.2")
FOLDER = Path(__file__).parents[1] / "configs" / "cifar10"

COUNTS = {
    "autoregressive": 101_256_192,
    "ddpm": 35_746_307,
    "ddpmpp_subvp": 61_804_419,  # the same as models/ncsnpp.py of yang-song/score_sde
    "ddpmpp_vp": 61_804_419,
    "edm_ve": 56_395_523,
    "edm_vp": 55_732_739,
    "flow": 61_804_419,
    "improved_ddpm": 52_546_438,
    "ncsnpp_ve": 62_758_787,  # there 128 more: the frequencies, which are not trained
    "ncsnv2": 35_746_307,
    "pixelcnn": 53_619_780,
    "vdm": 30_586_243,
}


def count(config):
    """Of the network alone: a learned schedule has parameters of its own."""
    return parameter_count(jax.eval_shape(make(config, CIFAR10).model.network.init, jax.random.key(0)))


def test_every_config_is_here():
    assert set(COUNTS) == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_of_the_docstring(name):
    path = FOLDER / f"{name}.py"
    assert count(load_config(str(path))) == COUNTS[name]
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc
    assert re.findall(r"([\d.]+)\s+M\s+parameters", doc) == [f"{COUNTS[name] / 1e6:.1f}"]


@pytest.mark.parametrize(("name", "features"), [("edm_vp", 128), ("edm_ve", 256)])
def test_labels_add_a_row_each_and_a_bias(name, features):
    config = load_config(str(FOLDER / f"{name}.py"))
    config.model.conditions = ("label",)
    assert count(config) == COUNTS[name] + (CIFAR10.labels + 1) * features


DIGITS = Description("digits", "1.0.0", (8, 8, 1), 17, labels(10))
MNIST = Description("mnist", "3.0.1", (28, 28, 1), 256, labels(10))
BINARISED = Description("binarised_mnist", "3.0.1-draw1", (28, 28, 1), 2, labels(10))
TEXT = ("text", Text((), 60))
EMOJI = {
    size: Description(name, "1", (size, size, 3), 256, Conditions((TEXT, ("sketch", Picture((size, size, 1))))))
    for size, name in ((16, "emoji/16"), (32, "emoji"))
}
OWN = {size: Description("folder", "1", (size, size, 3), 256, labels(2)) for size in (4, 20, 32, 100)}


@pytest.mark.parametrize(
    ("folder", "size", "description"),
    [
        ("digits", "", DIGITS),
        ("mnist", "", MNIST),
        ("mnist", ":small", MNIST),
        ("binarised_mnist", "", BINARISED),
        ("binarised_mnist", ":small", BINARISED),
        ("cifar10", "", CIFAR10),
        ("emoji", "", EMOJI[16]),
        ("emoji", ":full", EMOJI[32]),
        ("pictures", ":4", OWN[4]),
        ("pictures", ":20", OWN[20]),
        ("pictures", "", OWN[32]),
        ("pictures", ":100", OWN[100]),
    ],
    ids=lambda value: value.name if isinstance(value, Description) else value,
)
def test_every_config_fits_its_data(folder, size, description):
    paths = sorted((FOLDER.parent / folder).glob("*.py"))
    assert paths
    for path in paths:
        config = from_file(f"{path}{size}")
        assert config.data.name == description.name, path
        check(config)
        check_data(config, description)


def test_the_sweep_to_copy():
    members = expansion.members(str(FOLDER.parent / "digits" / "sweep_learning_rate.py"), Path("root"))
    for member in members:
        check(member.config)
    assert [(member.config.optimizer.learning_rate, member.config.seed) for member in members] == [
        *((rate, seed) for rate in (5e-4, 2e-3, 8e-3) for seed in range(2))
    ]
    assert [member.name[:-9] for member in members[:3]] == [
        "rate_0.0005_seed0",
        "rate_0.0005_seed1",
        "rate_0.002_seed0",
    ]
    plain = load_config(str(FOLDER.parent / "digits" / "ddpm.py"))
    assert digest(members[2].config) == digest(plain)  # what it varies is that run


def test_the_ordered_members_are_there_for_each_small_data_set():
    names = {family.__name__ for family in ORDERED}
    for folder in ("digits", "mnist", "binarised_mnist"):
        assert names <= {path.stem for path in (FOLDER.parent / folder).glob("*.py")}


NETWORKS = {
    "autoregressive": "causal_transformer",
    "chunked": "causal_transformer",
    "masked": "unet",
    "one_shot": "unet",
    "pixelcnn": "pixelcnn",
    "random_order": "transformer",
    "spread": "causal_transformer",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_small_members_are_of_their_network_and_small(name):
    for folder, size, description in (("digits", "", DIGITS), ("binarised_mnist", ":small", BINARISED)):
        config = load_config(f"{FOLDER.parent / folder / name}.py{size}")
        assert config.model.name == NETWORKS[name]
        experiment = make(config, description)
        assert parameter_count(jax.eval_shape(experiment.model.network.init, jax.random.key(0))) < 800_000
