"""Which sampler: the laws and the exact map are right, the claim holds anew, and the page is that of the figures."""

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import samplers
from ddpm_jax.errors import UserError
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import Problem
from ddpm_jax.schedules import VP, Flow

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "experiments" / "solvers"
NAMES = ("laws", "errors", "drawn", "ordered", "story", "run")


@pytest.fixture
def parts(monkeypatch):
    """The experiment's modules by name, as run.py has them."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: importlib.import_module(name) for name in NAMES}
    yield found
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("schedule", [VP(), Flow()])
def test_the_denoiser_is_the_oracles(parts, schedule):
    law, process = parts["laws"].plane(), Gaussian(schedule)
    oracle = GaussianMixture(*(jnp.asarray(part) for part in (law.weights, law.means, law.covariances)))
    x = jax.random.normal(jax.random.key(0), (50, 2))
    for t in (1.0, 0.7, 0.2, 0.01):
        ours, theirs = law.denoiser(process)(x, t).mean, oracle.denoiser(process)(x, t).mean
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_draws_have_the_laws_moments(parts):
    law = parts["laws"].plane()
    draws = law.sample(40_000, 0)
    mean = law.weights @ law.means
    spread = np.einsum("k,kde->de", law.weights, law.covariances + law.means[:, :, None] * law.means[:, None])
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.015)
    np.testing.assert_allclose(np.cov(draws.T), spread - np.outer(mean, mean), atol=0.015)


@pytest.mark.parametrize("schedule", ["flow", "vp", "ve"])
def test_the_exact_map_of_one_normal(parts, schedule):
    """x_t/(its deviation) stays along each axis: from x_1 = sigma_1 z to m + sqrt(v) (x_1 - alpha_1 m)/deviation_1."""
    laws, errors = parts["laws"], parts["errors"]
    mean, variances = np.array([0.3, -0.2]), np.array([0.04, 0.5])
    with jax.enable_x64(True):
        law, made = laws.Mixture.of([1.0], mean[None], np.diag(variances)[None]), errors.schedule_of(schedule)
        z = np.random.default_rng(0).standard_normal((20, 2))
        found, _ = errors.exact_map(law, made, z)
        alpha, sigma = (float(level) for level in made(np.asarray(1.0)))
    expected = mean + np.sqrt(variances / (alpha**2 * variances + sigma**2)) * (sigma * z - alpha * mean)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_the_loop_of_single_steps_is_the_packages(parts):
    laws, errors = parts["laws"], parts["errors"]
    law, process, key = laws.plane(), Gaussian(VP()), jax.random.key(3)
    grid, start = process.grid(8, "karras"), jax.random.normal(key, (30, 2))
    for solver in (samplers.Heun(), samplers.UniPC(solver_order=3), samplers.PNDM()):
        problem = Problem(process, law.denoiser(process), grid=grid)
        theirs = jax.jit(lambda x, solver=solver, problem=problem: solver.solve(problem, key, x)[0])(start)
        ours = errors.walked(solver, problem, errors.stepper(solver, problem), start, grid)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_no_more_evaluations_than_the_budget(parts):
    errors = parts["errors"]
    for solver in errors.SOLVERS.values():
        for budget in errors.BUDGETS:
            steps = errors.steps_within(solver, budget)
            assert solver.evaluations(steps) <= budget < solver.evaluations(steps + 1)


def test_the_sliced_distance_of_moved_draws(parts):
    """Moved by a vector v, draws are |v cos| away in each direction: 2/pi |v| in the mean, where F_n is F."""
    drawn, law = parts["drawn"], parts["laws"].plane()
    distance, draws = drawn.sliced(law), law.sample(60_000, 1)
    assert distance(draws) < 0.005
    assert distance(draws + np.array([0.3, 0.4])) == pytest.approx(2 / np.pi * 0.5, abs=0.01)


def test_in_ten_evaluations_the_best_solver_is_three_times_nearer_than_ddim(parts):
    """On the mixture of digits the best solver's error in 10 evaluations is a third of DDIM's at most, both at best."""
    errors, story = parts["errors"], parts["story"]
    found = errors.measure("digits", "flow", (10,), ("ddim", "adams_bashforth"))["solvers"]
    plain, better = (story.best(found[name], "10")[1] for name in ("ddim", "adams_bashforth"))
    assert 3 * better < plain
    kept = json.loads((FOLDER / "report" / "figures.json").read_text())["errors"]["flow"]["solvers"]
    for name in found:
        assert story.best(found[name], "10")[1] == pytest.approx(story.best(kept[name], "10")[1], rel=0.2)


def test_hidden_pixels_one_by_one_are_exact(parts):
    """And all at once, whatever the order, they are independent: half of a chance each, by the table's symmetry."""
    ordered = parts["ordered"]
    table = ordered.table()
    for arm in ("raster", "spread", "random"):
        np.testing.assert_allclose(ordered.enumerated(arm, 6), table.probabilities, rtol=1e-9)
        np.testing.assert_allclose(ordered.enumerated(arm, 1), 1 / 64, rtol=1e-9)


def test_the_page_is_that_of_the_figures(parts, tmp_path):
    figures = FOLDER / "report" / "figures.json"
    (tmp_path / "figures.json").write_bytes(figures.read_bytes())
    parts["run"].main([f"--output={tmp_path}", "--report"])
    assert (tmp_path / "report.md").read_text() == (FOLDER / "report" / "report.md").read_text()
    for picture in (FOLDER / "report").glob("*.png"):
        assert picture.stat().st_size < 300_000 and (tmp_path / picture.name).is_file()


def test_wrong_input_is_one_line(parts, tmp_path):
    with pytest.raises(UserError, match="--report: there are no figures"):
        parts["run"].main([f"--output={tmp_path}", "--report"])
