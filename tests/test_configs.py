"""The CIFAR-10 configs make networks of the sizes that their docstrings state."""

import ast
import re
from pathlib import Path

import jax
import pytest

from ddpm_jax import command
from ddpm_jax.data import Description
from ddpm_jax.experiment import make
from ddpm_jax.models import parameter_count

CIFAR10 = Description(name="cifar10", shape=(32, 32, 3), levels=256, labels=10, version="3.0.2")
FOLDER = Path(__file__).parents[1] / "configs" / "cifar10"

COUNTS = {
    "ddpm": 35_746_307,
    "ddpmpp_subvp": 61_804_419,  # the same as models/ncsnpp.py of yang-song/score_sde
    "ddpmpp_vp": 61_804_419,
    "edm_ve": 56_395_523,
    "edm_vp": 55_732_739,
    "flow": 61_804_419,
    "improved_ddpm": 52_546_438,
    "ncsnpp_ve": 62_758_787,  # there 128 more: the frequencies, which are not trained
    "ncsnv2": 35_746_307,
    "vdm": 30_586_243,
}


def count(config):
    """Of the network alone: a learned schedule has parameters of its own."""
    return parameter_count(jax.eval_shape(make(config, CIFAR10).network.init, jax.random.key(0)))


def test_every_config_is_here():
    assert set(COUNTS) == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_of_the_docstring(name):
    path = FOLDER / f"{name}.py"
    assert count(command._load(str(path))) == COUNTS[name]
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc
    assert re.findall(r"([\d.]+)\s+M\s+parameters", doc) == [f"{COUNTS[name] / 1e6:.1f}"]


@pytest.mark.parametrize(("name", "features"), [("edm_vp", 128), ("edm_ve", 256)])
def test_labels_add_a_row_each_and_a_bias(name, features):
    config = command._load(str(FOLDER / f"{name}.py"))
    config.model.conditional = True
    assert count(config) == COUNTS[name] + (CIFAR10.labels + 1) * features
