"""The table of schedules: names, options, parameters, and what is refused."""

import inspect

import jax
import numpy as np
import pytest

from ddpm_jax import schedules
from ddpm_jax.schedules import EDM, SCHEDULES, VP, Cosine, Flow, Trained, make, options
from tests.schedules.conftest import TABLES, build


def test_every_schedule_says_what_the_rest_asks_of_it(each):
    name, schedule = each
    assert schedule.continuous == (name not in TABLES)
    assert 0 < schedule.t_min < 0.1
    for option, default in options(name).items():
        assert isinstance(default, (int, float, str)), option
    assert set(TABLES) <= set(SCHEDULES)


def test_options_reach_the_schedule_and_steps_is_not_one():
    assert options("edm") == {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0}
    assert options("flow") == {"shift": 1.0}
    assert "steps" not in options("ddpm_linear")
    assert make("edm", 0, rho=3.0) == EDM(rho=3.0)
    table = make("ddpm_linear", 50, beta_max=10.0)
    np.testing.assert_allclose(1 - (table.alphas[-1] / table.alphas[-2]) ** 2, 10 / 50, rtol=1e-9)


def test_only_learned_schedules_have_parameters():
    for name in SCHEDULES:
        assert name == "table" or isinstance(make(name, 100), Trained) == (name == "learned")
    learned = make("learned", 0, gamma_min=-7.0)
    assert learned.bind(learned.init(jax.random.key(1))).gamma(np.zeros(1, np.float32))[0] == pytest.approx(-7)


def test_impossible_requests_are_refused_in_one_line():
    cases = (
        (lambda: make("nothing", 10), "'nothing'"),
        (lambda: make("flow", 10, rho=3.0), "no option 'rho'"),
        (lambda: make("ddpm_linear", 0), "at least 1 step"),
        (lambda: make("ddpm_linear", 20), "beta"),
    )
    for request, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            request()
        assert "\n" not in str(caught.value)


def test_least_times():
    assert VP.t_min == 1e-5
    assert Flow.t_min == Cosine.t_min == 1e-3
    for name in TABLES:  # its first entry
        assert build(name).t_min == 1 / 200


def test_a_schedule_of_ones_own_is_a_dotted_path():
    assert make("ddpm_jax.schedules.continuous:VE", sigma_max=50.0) == make("ve", sigma_max=50.0)
    assert options("ddpm_jax.schedules.continuous:VE") == options("ve")
    with pytest.raises(ValueError, match="not found"):
        make("ddpm_jax.schedules.continuous:Nothing")


def test_all_public_names_are_there_and_documented():
    for name in schedules.__all__:
        thing = getattr(schedules, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__doc__
            assert not thing.__doc__.startswith(f"{name}(")  # dataclass's own
