"""What a sampler's name says of its eta, and what it does not."""

import pytest

from ddpm_jax.config.base import base
from ddpm_jax.config.keys import ETA, KEYS
from ddpm_jax.config.loading import changed
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check
from ddpm_jax.samplers import SOLVERS


def with_sampler(*words, name="first_order", eta=1.0):
    config = base()
    config.sampler.name, config.sampler.eta = name, eta
    changed(config, [f"--config.sampler.{word}" for word in words])
    return config


def test_the_table_has_every_solver_that_can_do_one_eta():
    assert {name: solver.etas for name, solver in SOLVERS.items() if solver.etas[0] == solver.etas[1]} == {
        name: (eta, eta) for name, eta in ETA.items()
    }
    assert KEYS["sampler.eta"].default == 1


def test_a_sampler_by_name_brings_its_eta():
    config = with_sampler("name=ddim")
    assert config.sampler.eta == 0
    check(config)
    back = with_sampler("name=ddpm", name="ddim", eta=0.0)
    assert (back.sampler.name, back.sampler.eta) == ("ddpm", 1)
    check(back)
    assert with_sampler("name=dpm_2m").sampler.eta == 1  # it can do any


@pytest.mark.parametrize(
    "config",
    [
        lambda: with_sampler("name=ddim", "eta=0.5"),
        lambda: with_sampler("eta=1", "name=ddim"),
        lambda: with_sampler("name=ddpm", eta=0.5),  # somebody has chosen that
        lambda: with_sampler("name=ddim", eta=0.5),
        lambda: with_sampler("steps=10", name="ddim"),  # a file that names the sampler alone
    ],
)
def test_an_eta_that_is_given_is_not_overridden_but_refused(config):
    made = config()
    eta = made.sampler.eta
    with pytest.raises(UserError) as caught:
        check(made)
    assert str(caught.value).startswith("config.sampler.eta: ") and "\n" not in str(caught.value)
    assert made.sampler.eta == eta != ETA[made.sampler.name]


def test_times_and_levels_by_hand_bring_their_number_of_steps():
    for words in (["--config.sampler.times=1,0.5,0"], ["--config.sampler.sigmas=(14.6, 1.0, 0)"]):
        assert changed(base(), words).sampler.steps == 2
    both = ["--config.sampler.times=1,0.5,0", "--config.sampler.steps=5"]
    assert changed(base(), both).sampler.steps == 5  # and is refused
    assert changed(base(), ["--config.sampler.rho=3"]).sampler.steps == base().sampler.steps
