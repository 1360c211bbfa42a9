"""The laws of training times: what is drawn, that weights make up for it, and what `importance` learns.

A mean of draws is compared with its expectation within 4 standard errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.objectives.times import TIMES, make_times, probabilities
from ddpm_jax.schedules import EDM, VP, Flow, ddpm_linear

COUNT = 50_000
DRAWN = [name for name in TIMES if name != "clean"]
KEY = jax.random.key(0)


def draw(times, count=COUNT, history=None, key=KEY):
    drawn = jax.jit(times.draw, static_argnums=1)(key, count, times.start() if history is None else history)
    assert all(part.shape == (count,) and part.dtype == np.float32 for part in drawn)
    return (np.asarray(part, np.float64) for part in drawn)


def assert_mean(values, expected):
    assert abs(np.mean(values) - expected) <= 4 * np.std(values) / np.sqrt(len(values)) + 1e-6


def experience(times, losses, batches=30, count=2000):
    """The history of some batches whose losses are `losses(t, key)`."""

    def step(history, key):
        key_times, key_loss = jax.random.split(key)
        t, _, _ = times.draw(key_times, count, history)
        return times.update(history, times.tally(t, losses(t, key_loss))), None

    return jax.jit(lambda history, keys: jax.lax.scan(step, history, keys)[0])(
        times.start(), jax.random.split(KEY, batches)
    )


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("schedule", [VP(), ddpm_linear(20, beta_max=10.0)], ids=["vp", "table"])
def test_discrete_times_are_intervals_of_the_table(name, schedule):
    times = make_times(name, schedule, 20, 1 / 20)
    t, s, weight = draw(times, 5000)
    index = np.round(t * 20)
    np.testing.assert_allclose(t, index / 20, atol=1e-6)
    np.testing.assert_allclose(s, (index - 1) / 20, atol=1e-6)
    assert index.min() >= 1
    assert index.max() <= 20
    assert np.all((s == 0) == (index == 1))
    np.testing.assert_allclose(weight, 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["uniform", "stratified", "importance"])
@pytest.mark.parametrize("steps", [2, 7, 1000])
def test_discrete_times_are_uniform_over_all_intervals(name, steps):
    t, _, _ = draw(make_times(name, VP(), steps, 1 / steps))
    counts = np.bincount(np.round(t * steps).astype(int), minlength=steps + 1)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3 if name != "stratified" else np.ptp(counts) <= 2


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_continuous_times_have_no_width_and_the_last_interval_its_share(name, share):
    times = make_times(name, VP(), 0, 0.01, decoder=share)
    t, s, weight = draw(times)
    np.testing.assert_array_equal(list(draw(times)), [t, s, weight])  # the key decides
    assert np.any(next(draw(times, key=jax.random.key(1))) != t)
    last = s == 0
    assert_mean(last, share)
    np.testing.assert_allclose(t[last], 0.01, rtol=1e-6)
    np.testing.assert_allclose(weight[last], 1 / share if share else 0, rtol=1e-6)
    np.testing.assert_array_equal(t[~last], s[~last])
    assert t.min() >= 0.01 * (1 - 1e-6)
    assert t.max() <= 1
    if name == "stratified":
        assert abs(last.sum() - share * COUNT) <= 1


@pytest.mark.parametrize("name", ["uniform", "stratified", "importance"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_weights_make_every_mean_an_integral(name, share):
    """The integral of 1 + t^3 from 0.1 to 1, plus f = 2 of the last interval."""
    times = make_times(name, VP(), 0, 0.1, decoder=share)
    history = experience(times, lambda t, _: jnp.exp(3 * t)) if name == "importance" else times.start()
    t, s, weight = draw(times, history=history)
    f = np.where(s == 0, 2, 1 + t**3)
    integral = 0.9 + (1 - 0.1**4) / 4
    assert_mean(weight * f, integral + (2 if share else 0))
    assert_mean((weight * f)[s > 0], integral / (1 - share))
    assert_mean(weight * t**2 * (s > 0), (1 - 0.1**3) / 3)


@pytest.mark.parametrize("steps", [5, 250])
def test_weights_make_every_discrete_mean_a_uniform_one(steps):
    """With as many bins as steps, and with bins that steps straddle."""
    times = make_times("importance", VP(), steps, 1 / steps)
    t, _, weight = draw(times, history=experience(times, lambda t, _: jnp.exp(3 * t)))
    index = np.arange(1, steps + 1)
    assert np.mean(t) > 0.6  # not uniform
    for f in (np.ones_like, lambda u: u, lambda u: np.cos(5 * u)):
        assert_mean(weight * f(t), np.mean(f(index / steps)))


def test_stratified_times_have_one_in_each_stratum_and_each_is_uniform():
    times = make_times("stratified", VP(), 0, 1e-9)
    drawn = jax.jit(jax.vmap(lambda key: times.draw(key, 64, {})[0]))(jax.random.split(KEY, 500))
    t = np.asarray(drawn, np.float64)
    np.testing.assert_array_equal(
        np.sort(np.floor(t * 64).clip(0, 63), axis=1), np.broadcast_to(np.arange(64), t.shape)
    )
    within = t * 64 % 1
    np.testing.assert_allclose(within, within[:, :1].repeat(64, axis=1), atol=1e-3)  # one offset for all
    assert stats.kstest(t[:, 0], "uniform").pvalue > 1e-3
    assert stats.kstest(t[:, 40], "uniform").pvalue > 1e-3
    assert stats.kstest(within[:, 0], "uniform").pvalue > 1e-3
    alone, _, _ = draw(times, 1)
    assert 0 < alone[0] < 1


@pytest.mark.parametrize("schedule", [EDM(), VP(), Flow()], ids=repr)
def test_log_normal_times_have_a_normal_log_ratio(schedule):
    for options, law in (({}, stats.norm(-1.2, 1.2)), ({"log_mean": 0.3, "log_deviation": 0.5}, stats.norm(0.3, 0.5))):
        t, _, weight = draw(make_times("log_normal", schedule, 0, 1e-5, **options))
        alpha, sigma = (np.asarray(part, np.float64) for part in jax.jit(schedule)(np.array([1e-5, 1.0, *t])))
        low, high, *ratios = np.log(sigma) - np.log(np.maximum(alpha, 1e-30))
        inside = np.array(ratios)[(t > 1.001e-5) & (t < 1)]  # what is beyond the ends is moved to them
        ends = [(end - law.mean()) / law.std() for end in (low, high)]
        assert stats.kstest(inside, stats.truncnorm(*ends, law.mean(), law.std()).cdf).pvalue > 1e-3
        assert np.mean(t >= 1) == pytest.approx(law.sf(high), abs=4 * np.sqrt(law.sf(high) / COUNT) + 1e-4)
        np.testing.assert_array_equal(weight, 1)


def test_log_normal_times_of_a_table_are_its_nearest_entries():
    table = ddpm_linear(50)
    t, _, _ = draw(make_times("log_normal", table, 50, 1 / 50))
    ratios = np.log(table.sigmas[1:] / table.alphas[1:])
    edges = stats.norm(-1.2, 1.2).cdf((ratios[:-1] + ratios[1:]) / 2)
    expected = COUNT * np.diff([0, *edges, 1])
    counts = np.bincount(np.round(t * 50).astype(int), minlength=51)[1:]
    common = expected > 5
    np.testing.assert_array_less(np.abs(counts - expected)[common], 4.5 * np.sqrt(expected[common]))


def test_logit_normal_times_have_a_normal_logit():
    for options, law in (({}, stats.norm(0, 1)), ({"logit_mean": -0.5, "logit_deviation": 0.7}, stats.norm(-0.5, 0.7))):
        t, _, weight = draw(make_times("logit_normal", Flow(), 0, 1e-5, **options))
        assert stats.kstest(np.log(t / (1 - t)), law.cdf).pvalue > 1e-3
        np.testing.assert_array_equal(weight, 1)


def test_importance_is_uniform_until_every_bin_was_in_ten_batches():
    times = make_times("importance", VP(), 4, 1 / 4)
    t, losses = np.array([0.25, 0.5, 0.75, 1.0], np.float32), np.array([1, 2, 3, 4], np.float32)
    step = jax.jit(lambda history, t, losses: times.update(history, times.tally(t, losses)))
    law = jax.jit(probabilities)
    history = step(times.start(), t[:3], losses[:3])
    for _ in range(9):
        np.testing.assert_allclose(law(history), 1 / 4, rtol=1e-6)
        history = step(history, t, losses)
    np.testing.assert_allclose(law(history), 1 / 4, rtol=1e-6)  # the last bin was in nine
    history = step(history, t, losses)
    np.testing.assert_allclose(law(history), 0.999 * np.arange(1, 5) / 10 + 0.001 / 4, rtol=1e-5)


@pytest.mark.parametrize(("steps", "bins"), [(0, 100), (20, 20)])
def test_importance_tends_to_the_root_of_the_second_moment(steps, bins):
    """Losses exp(2 t) |n|, n standard normal: the root of the second moment over a bin is exp(2 t)'s."""
    times = make_times("importance", VP(), steps, 1 / steps if steps else 1e-3)

    history = experience(times, lambda t, key: jnp.exp(2 * t) * jnp.abs(jax.random.normal(key, t.shape)), 60, 4000)
    middle = np.arange(1, 21) / 20 if steps else 1e-3 + (1 - 1e-3) * (np.arange(100) + 0.5) / 100
    root = np.exp(2 * middle)
    expected = 0.999 * root / root.sum() + 0.001 / bins
    np.testing.assert_allclose(probabilities(history), expected, rtol=0.15)
    assert np.abs(np.log(probabilities(history) / expected)).mean() < 0.05
    t, _, weight = draw(times, history=history)
    where = np.floor((t - (0.5 / steps if steps else 1e-3)) * bins / (1 if steps else 1 - 1e-3)).astype(int)
    p = np.asarray(probabilities(history), np.float64)
    shares = np.bincount(where.clip(0, bins - 1), minlength=bins) / COUNT
    np.testing.assert_array_less(np.abs(shares - p), 4.5 * np.sqrt(p / COUNT))
    # The weighted loss varies less than it does under uniform times.
    uniform = np.exp(2 * middle)
    assert np.std(weight * np.exp(2 * t)) < 0.2 * np.std(uniform)


def test_tallies_add_up_whatever_the_order_and_the_parts_and_updates_know_no_scale():
    times = make_times("importance", VP(), 10, 1 / 10)
    tally, update = jax.jit(times.tally), jax.jit(times.update)
    t = jnp.asarray(np.random.default_rng(0).integers(1, 11, 64) / 10, jnp.float32)
    losses = jnp.asarray(np.random.default_rng(1).exponential(size=64), jnp.float32)
    whole = tally(t, losses)
    order = np.random.default_rng(2).permutation(64)
    parts = [tally(t[rows], losses[rows]) for rows in np.split(order, 4)]
    added = jax.tree.map(lambda *leaves: sum(np.asarray(leaf) for leaf in leaves), *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), added, whole)
    history = experience(times, lambda t, _: 1 + t)
    mean = jax.tree.map(lambda leaf: leaf / 4, added)
    for sums in (mean, added):
        got, expected = update(history, sums), update(history, whole)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)
    index = np.round(np.asarray(t) * 10).astype(int) - 1
    np.testing.assert_array_equal(whole["count"], np.bincount(index, minlength=10))
    np.testing.assert_allclose(whole["squares"], np.bincount(index, np.asarray(losses) ** 2, 10), rtol=1e-5)


def test_bins_that_a_batch_lacks_keep_their_history_and_the_last_interval_has_none():
    times = make_times("importance", VP(), 0, 0.01, decoder=0.5)
    history = experience(times, lambda t, _: 1 + t)
    t, s, _ = (part.astype(np.float32) for part in draw(times, 50, history))
    assert np.any(s == 0)
    sums = jax.jit(times.tally)(t, np.where(s == 0, 1e6, 1.0).astype(np.float32))
    assert np.sum(sums["count"]) == np.sum(s > 0)
    assert np.max(sums["squares"]) < 1e3
    before, after = np.asarray(history["moment"]), np.asarray(jax.jit(times.update)(history, sums)["moment"])
    missing = np.asarray(sums["count"]) == 0
    np.testing.assert_array_equal(after[missing], before[missing])
    assert not np.any(np.isclose(after[~missing], before[~missing]))


def test_losses_of_nothing_leave_times_uniform():
    law = probabilities({"moment": jnp.zeros(10), "visits": jnp.full(10, 10)})
    np.testing.assert_allclose(law, 1 / 10, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 20])
def test_clean_times_are_none(steps):
    """Of schedules that hide, too."""
    t, s, weight = draw(make_times("clean", lambda t: 1 - t, steps, 0.05), 7)
    for part, expected in ((t, 0), (s, 0), (weight, 1)):
        np.testing.assert_array_equal(part, expected)


def test_impossible_times_are_refused_in_one_line():
    table = ddpm_linear(100)
    cases = (
        (("even", VP(), 10, 0.1), {}, "even"),
        (("uniform", table, 0, 0.1), {}, "no continuous time"),
        (("uniform", table, 10, 0.1), {}, "not those of a table"),
        (("uniform", VP(), 10, 0.1), {"decoder": 0.5}, "one of T"),
        (("uniform", VP(), 0, 0.1), {"decoder": 1.0}, "decoder share"),
        (("uniform", VP(), 0, 0.0), {}, "t_min"),
        (("log_normal", VP(), 0, 0.1), {"log_deviation": 0.0}, "deviation"),
        (("logit_normal", VP(), 0, 0.1), {"logit_deviation": -1.0}, "deviation"),
        (("log_normal", None, 0, 0.1), {}, "need the schedule"),
    )
    for arguments, options, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            make_times(*arguments, **options)
        assert "\n" not in str(caught.value)
