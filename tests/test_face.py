"""The public face: it is light, its examples run, and a model made in Python trains and is read back."""

import doctest
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline.python import _words


def test_importing_it_is_light():
    words = (
        "import sys, ddpm_jax; heavy = {'jax', 'flax', 'numpy', 'ml_collections'} & set(sys.modules); assert not heavy"
    )
    subprocess.run([sys.executable, "-c", words], check=True)


@pytest.mark.parametrize("name", dj.__all__)
def test_everything_in_it_is_there_and_says_what_it_is(name):
    assert getattr(dj, name).__doc__


def test_functions_stay_functions_though_commands_have_their_names():
    from ddpm_jax.train import main

    assert callable(main)
    assert callable(dj.train)
    assert callable(dj.sample)


@pytest.mark.parametrize("name", ["", *dj.__all__])
def test_examples_run(name):
    """Everything in the face has an example, which does what it shows; those that need a run's folder are not run."""
    thing = getattr(dj, name) if name else dj
    found = doctest.DocTestFinder(recurse=False).find(thing, name or "ddpm_jax", module=False)
    assert found[0].examples
    for one in found:
        module = sys.modules[getattr(thing, "__module__", None) or thing.__name__]
        one.globs = dict(vars(module))
        assert doctest.DocTestRunner().run(one).failed == 0


def test_an_exact_law_is_sampled_in_ten_lines():
    """Mean and weights of the modes within four standard errors, by the solver of the README."""
    process = dj.Gaussian(dj.schedules.VP())
    weights, means = jnp.array([0.3, 0.7]), jnp.array([[-1.0, 0.5], [0.8, -0.6]])
    law = dj.oracles.GaussianMixture(weights, means, 0.05 * jnp.eye(2)[None].repeat(2, 0))
    draw = jax.jit(
        lambda key: dj.sample(process, law.denoiser(process), dj.DPM2M(), steps=60, key=key, shape=(4000, 2))
    )
    x = np.asarray(draw(jax.random.key(0)))
    first = np.linalg.norm(x - means[0], axis=1) < np.linalg.norm(x - means[1], axis=1)
    assert abs(first.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4000)
    for mode, mean in ((first, means[0]), (~first, means[1])):
        np.testing.assert_allclose(x[mode].mean(0), mean, atol=0.03)
        np.testing.assert_allclose(x[mode].var(0), 0.05, rtol=0.15)


def test_a_run_is_loaded_and_sampled_in_three(trained):
    run = dj.load_run(trained)
    pictures = run.sample(3, seed=1)
    assert pictures.shape == (3, 8, 8, 1)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[:2], run.sample(2, seed=1))
    bits = run.likelihood(pictures, label=np.zeros(3, np.int32))
    assert np.all(np.isfinite(bits))
    posterior = run.denoise(jnp.zeros((1, 8, 8, 1)), 0.5, {"label": jnp.zeros(1, jnp.int32)})
    assert posterior.mean.shape == (1, 8, 8, 1)


def test_times_can_be_chosen_for_a_run_and_sampled_at(trained):
    run = dj.load_run(trained)
    times = run.optimised_times(4, images=8, candidates=12)
    assert (times[0], times[-1], len(times)) == (1, 0, 5)
    total = run.model.times.steps
    np.testing.assert_allclose(np.array(times) * total, np.round(np.array(times) * total), atol=1e-9)
    how = replace(run.experiment.sampling_in(), grid=np.array(times))
    assert run.sample(2, sampling=how).shape == (2, 8, 8, 1)
    with pytest.raises(UserError, match="no times can be chosen"):
        run.optimised_times(4, images=8, candidates=12, measure="area")


@pytest.fixture(scope="module")
def stripes():
    """Eight by eight pictures of two levels."""
    images = (np.indices((64, 8, 8)).sum(0) % 3 == 0).astype(np.uint8)[..., None]
    return dj.from_arrays({"train": images[:48], "validation": images[48:]}, levels=2, name="stripes")


def model_of(data):
    description, prediction = data.description, dj.GaussianPrediction("v", time="thousand")
    process = dj.Gaussian(dj.schedules.VP(), description.values)
    numbers = prediction.numbers(description.channels, description.levels)
    network = dj.models.make("dit", description.shape, numbers, channels=8, depth=1, heads=1, patch=4)
    losses, times = dj.objectives.losses, dj.objectives.times
    drawn = times.Uniform(t_min=1e-5)
    estimator = dj.default_estimator(process, prediction, drawn, groups=4)
    return dj.Model(description, process, network, prediction, losses.V(), drawn, 0.0, estimator)


def test_a_model_made_in_python_trains_and_is_read_back(stripes, tmp_path):
    model = model_of(stripes)
    settings = {"training.steps": 4, "data.batch": 8, "evaluation.pictures": False}
    sampling = dj.Sampling(dj.FirstOrder(eta=1.0), np.array([1, 0.5, 0.1, 0]))
    run = dj.train(model, stripes, tmp_path / "mine", settings, sampling)
    assert run.step == 4
    again = dj.load_run(tmp_path / "mine", model=model, dataset=stripes, sampling=sampling)
    jax.tree.map(np.testing.assert_array_equal, run.params, again.params)
    np.testing.assert_array_equal(run.sample(2), again.sample(2))
    assert dj.train(model_of(stripes), stripes, tmp_path / "mine", settings).step == 4  # the same: nothing is left
    with pytest.raises(UserError, match="label"):
        run.sample(1, label=0)
    assert np.all(np.isfinite(run.likelihood(stripes.split("train").arrays()[0][:2])))
    with pytest.raises(UserError, match="model"):
        dj.load_run(tmp_path / "mine")
    times = dj.objectives.times.Uniform(t_min=1e-4)
    for other in (replace(model, objective=dj.objectives.losses.X0()), replace(model, times=times)):
        with pytest.raises(UserError, match="another"):
            dj.train(other, stripes, tmp_path / "mine", settings, sampling)
        with pytest.raises(UserError, match="another"):
            dj.load_run(tmp_path / "mine", model=other, dataset=stripes)


@pytest.mark.parametrize(
    "settings",
    [
        {"training.step": 3},
        {"training.steps": "many"},
        {"data.batch": 0},
        {"optimizer.ema": (2.0,)},
        {"optimizer.name": "adamm"},
        {"sampler.steps": 3},
        {"model.channels": 3},
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(stripes, tmp_path, settings):
    with pytest.raises(UserError):
        dj.train(model_of(stripes), stripes, tmp_path / "mine", settings)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"process": dj.Gaussian(dj.schedules.VP())},  # it does not know the levels
        {"prediction": dj.GaussianPrediction("epsilon", time="index")},  # there is no index in continuous time
        {"times": dj.objectives.times.Clean()},
    ],
    ids=["process", "prediction", "times"],
)
def test_parts_that_do_not_go_together_are_refused(stripes, tmp_path, changes):
    with pytest.raises(UserError, match="model"):
        dj.train(replace(model_of(stripes), **changes), stripes, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "splits",
    [
        {"train": np.zeros((4, 8, 8, 1))},
        {"train": np.zeros((0, 8, 8, 1), np.uint8)},
        {"train": np.full((4, 8, 8, 1), 9, np.uint8)},
        {"train": np.zeros((4, 8), np.uint8), "validation": np.zeros((4, 9), np.uint8)},
        {"train": (np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1]))},
        {},
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_line(splits):
    with pytest.raises(UserError) as raised:
        dj.from_arrays(splits, levels=4)
    assert "\n" not in str(raised.value)


def test_a_field_that_came_later_leaves_the_runs_of_before_their_name():
    said = [list(_words(dj.schedules.Flow(shift))) for shift in (1.0, 2.0)]
    assert said[0] == ["ddpm_jax.schedules.continuous.Flow"]
    assert said[1] != said[0]
