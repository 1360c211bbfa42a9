"""The loss and its objectives for denoisers whose errors are known."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax import plugins, schedules
from ddpm_jax.denoisers import Categorical, GaussianPrediction, Normal
from ddpm_jax.likelihood import bound
from ddpm_jax.objectives import losses
from ddpm_jax.objectives.losses import OBJECTIVES
from ddpm_jax.objectives.times import make_times
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow, SubVP, ddpm_cosine, ddpm_linear
from ddpm_jax.schedules.grids import make_grid
from ddpm_jax.schedules.keeping import linear

DDPM = Gaussian(ddpm_linear(100), np.linspace(-1, 1, 17))
ROWS, SITES, DATA = 6, 5, 0.6
X = jnp.asarray(np.random.default_rng(0).integers(0, 17, (ROWS, SITES)) / 8 - 1, jnp.float32)
T = jnp.array([0.01, 0.1, 0.3, 0.5, 0.8, 1.0])


def keys(rows, seed=0):
    return random.per_example(jax.random.key(seed), jnp.arange(rows))


def denoiser(network, prediction, variance="fixed_small", process=DDPM):
    return GaussianPrediction(prediction, variance, "thousand", sigma_data=DATA).denoiser(network, process)


def loss(*arguments):
    """What is minimised, without the term by itself."""
    return losses.loss(*arguments)[0]


def objective(name, **options):
    """With those of the options that it takes."""
    makes = OBJECTIVES[name]
    return makes(**plugins.given(makes, **{"steps": 100, "sigma_data": DATA, **options}))


def simple(network, prediction, t=T, rows=ROWS):
    x = jnp.broadcast_to(X[:1], (rows, SITES)) if rows != ROWS else X
    return loss(DDPM, denoiser(network, prediction), objective("simple"), keys(rows), x, None, t, t - 0.01)


@pytest.mark.parametrize("time", [0.01, 0.5, 1.0])
def test_saying_no_noise_costs_one(time):
    """epsilon_hat = 0: the mean of z^2 over 5 sites has the mean 1 and the variance 2/5, at every time."""
    values = np.asarray(simple(lambda x_t, time, _: 0 * x_t, "epsilon", jnp.full(4000, time), 4000), np.float64)
    assert values.mean() == pytest.approx(1, abs=4 * np.sqrt(0.4 / 4000))
    assert values.var() == pytest.approx(0.4, rel=0.15)


def test_saying_a_grey_image_costs_the_signal_to_noise_ratio():
    """x_hat = 0 has the error x: SNR times the mean of x^2, whatever the noise."""
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 100) * 10)[np.round(np.asarray(T) * 100).astype(int) - 1]
    expected = bars / (1 - bars) * np.mean(np.asarray(X) ** 2, axis=1)
    np.testing.assert_allclose(simple(lambda x_t, time, _: 0 * x_t, "x0"), expected, rtol=1e-3)


def test_an_error_in_v_counts_alpha_squared():
    """epsilon = alpha v + sigma x_t, so that an output wrong by c makes epsilon wrong by alpha c."""
    z = random.normal(keys(ROWS), X.shape)
    alpha, sigma = (level[:, None] for level in DDPM.schedule(T))
    wrong = alpha * z - sigma * X + 0.3
    np.testing.assert_allclose(simple(lambda x_t, time, _: wrong, "v"), 0.09 * np.ravel(alpha) ** 2, rtol=1e-3)


def test_the_denoiser_sees_a_draw_of_x_t_its_time_and_the_condition():
    seen = []

    def denoise(x_t, t, condition):
        seen.append((x_t, t, condition))
        return Normal(x_t)

    loss(DDPM, denoise, objective("simple"), keys(ROWS), X, "condition", T, T - 0.01)
    [(x_t, t, condition)] = seen
    alpha, sigma = (level[:, None] for level in DDPM.schedule(T))
    np.testing.assert_allclose(x_t, alpha * X + sigma * random.normal(keys(ROWS), X.shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(t, T)
    assert condition == "condition"


OF_HIDING = ("likelihood", "hidden", "classifier")
OF_NOISE = [name for name in OBJECTIVES if "regression" not in name and name not in OF_HIDING]
"""Objectives whose posterior is of the image, given noise and a time."""


@pytest.mark.parametrize("name", OF_NOISE)
def test_an_examples_loss_depends_on_its_own_key_and_time(name):
    process = Gaussian(VP(), DDPM.values)
    learned = name == "hybrid"

    def network(x_t, time, _):
        raw = jnp.tanh(x_t)
        return jnp.concatenate([raw, raw], axis=-1) if learned else raw

    def of(rows):
        denoise = denoiser(network, "epsilon", "learned" if learned else "fixed_small", process)
        rows = np.array(rows)
        return jax.jit(lambda keys, x, t: loss(process, denoise, objective(name), keys, x, None, t, t - 0.005))(
            keys(ROWS)[rows], X[rows], T[rows]
        )

    np.testing.assert_allclose(of([4, 1]), of(range(ROWS))[np.array([4, 1])], rtol=1e-5)


SCHEDULES = {"vp": VP(), "subvp": SubVP(), "ve": VE(), "edm": EDM(), "flow": Flow(), "cosine": Cosine()}
SPACES = {"simple": "epsilon", "score": "score", "x0": "x0", "v": "v", "velocity": "velocity", "edm": "F"}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", SPACES)
def test_a_loss_in_the_networks_own_space_is_the_error_of_its_output(name, schedule):
    """An output wrong by 0.3 everywhere costs 0.09, at every time and under every schedule."""
    process = Gaussian(schedule, DDPM.values)
    t = jnp.array([0.02, 0.1, 0.3, 0.5, 0.8, 0.98])
    z = random.normal(keys(ROWS), X.shape)
    from ddpm_jax.denoisers import PREDICTIONS, point

    p, q = PREDICTIONS[SPACES[name]](point(process, t, X, DATA))
    wrong = p * X + q * z + 0.3 * jnp.maximum(1, jnp.abs(q))  # in a unit in which float32 can tell it
    expected = 0.09 * np.maximum(1, np.abs(np.broadcast_to(q, X.shape)[:, 0])) ** 2
    denoise = denoiser(lambda *_: wrong, SPACES[name], process=process)
    ours = loss(process, denoise, objective(name), keys(ROWS), X, None, t, t)
    np.testing.assert_allclose(ours, expected, rtol=5e-3)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", [*SPACES, "min_snr", "sigmoid", "bound"])
def test_a_loss_does_not_ask_what_the_network_puts_out(name, schedule):
    """The same x_hat from two parameterisations costs the same: output space and loss space are apart."""
    process = Gaussian(schedule, DDPM.values)
    t = jnp.array([0.1, 0.2, 0.3, 0.5, 0.8, 0.95])
    x_hat = jnp.tanh(X + 0.5)

    def as_v(x_t, time, _):
        alpha, sigma = process.at(t, x_t)
        return (alpha * (x_t - alpha * x_hat) / sigma) - sigma * x_hat

    costs = [
        loss(
            process, denoiser(network, prediction, process=process), objective(name, steps=0), keys(ROWS), X, None, t, t
        )
        for network, prediction in ((lambda *_: x_hat, "x0"), (as_v, "v"))
    ]
    np.testing.assert_allclose(costs[0], costs[1], rtol=2e-2)


def test_min_snr_is_x0s_loss_under_much_noise_and_gamma_times_it_under_little():
    process = Gaussian(Flow())
    t = jnp.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9])  # SNR = ((1 - t)/t)^2
    denoise = denoiser(lambda x_t, *_: 0 * x_t, "x0", process=process)
    ours = loss(process, denoise, objective("min_snr", min_snr=5.0), keys(ROWS), X, None, t, t)
    expected = np.array([5, 5, 5, 1, 1 / 9, 1 / 81]) * np.mean(np.asarray(X) ** 2, axis=1)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_sigmoid_weighting_on_a_schedule_straight_in_log_snr():
    """lambda = 10 - 20 t: 20/2 sigmoid(b - lambda) |z - z_hat|^2 over D (Kingma and Gao 2023, eq. 15)."""

    def schedule(t):
        return jnp.sqrt(jax.nn.sigmoid(10 - 20 * t)), jnp.sqrt(jax.nn.sigmoid(20 * t - 10))

    process = Gaussian(schedule)
    z = random.normal(keys(ROWS), X.shape)
    denoise = denoiser(lambda *_: z + 0.2, "epsilon", process=process)
    t = jnp.array([0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
    ours = loss(process, denoise, objective("sigmoid", sigmoid_bias=2.0), keys(ROWS), X, None, t, t)
    expected = 10 / (1 + np.exp(10 - 20 * np.asarray(t, np.float64) - 2)) * 0.04
    np.testing.assert_allclose(ours, expected, rtol=2e-3)


def test_the_hybrids_bound_trains_the_variance_and_leaves_the_mean_alone():
    x, t = X, T

    def total(shift, spread, weight):
        def network(x_t, *_):
            return jnp.concatenate([jnp.tanh(x_t) + shift, jnp.full_like(x_t, 1.0) * spread], axis=-1)

        denoise = denoiser(network, "epsilon", "learned")
        return loss(DDPM, denoise, objective("hybrid", hybrid=weight), keys(ROWS), x, None, t, t - 0.01).sum()

    def simple_total(shift):
        denoise = denoiser(lambda x_t, *_: jnp.tanh(x_t) + shift, "epsilon")
        return loss(DDPM, denoise, objective("simple"), keys(ROWS), x, None, t, t - 0.01).sum()

    of_shift, of_spread = jax.grad(total, (0, 1))(0.1, 0.2, 1000.0)
    assert float(of_shift) == pytest.approx(float(jax.grad(simple_total)(0.1)), rel=1e-4)
    assert abs(float(of_spread)) > 1e-3
    assert float(jax.grad(total, 1)(0.1, 0.2, 0.0)) == 0


@dataclass(frozen=True, eq=False)
class Still(Gaussian):
    """The Gaussian process with one and the same noise at every site, so that expectations are single values."""

    def noise(self, keys, shape):
        return jnp.full(shape, 0.7)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_the_bound_objective_is_the_likelihoods_bound_in_bits(variance):
    """Its mean over all i is the whole bound over D log 2: steps, reconstruction and prior."""
    steps = 12
    process = Still(ddpm_cosine(steps), np.linspace(-1, 1, 17))
    denoise = denoiser(lambda x_t, time, _: jnp.tanh(x_t), "epsilon", variance, process)
    x = X[:1]
    terms = jax.jit(lambda x: bound(process, denoise, np.arange(steps, -1, -1) / steps, keys(1), x))(x)

    @jax.jit
    def each_of(x, t, s):
        return loss(process, denoise, objective("bound", steps=steps), keys(steps), x, None, t, s)

    index = jnp.arange(1, steps + 1)
    each = each_of(jnp.tile(x, (steps, 1)), index / steps, (index - 1) / steps)
    assert SITES * np.log(2) * float(each.mean()) == pytest.approx(float(terms.total[0]), rel=1e-4)


def test_the_bound_objective_in_continuous_time_is_the_likelihoods_bound_in_bits():
    """Over many drawn times, an eighth of them in the last interval, it has the mean of the stratified bound."""
    process = Gaussian(Cosine(), np.linspace(-1, 1, 17))
    denoise = denoiser(lambda x_t, time, _: 0.8 * x_t, "x0", process=process)
    t_min, rows = 0.05, 20_000
    times = make_times("stratified", process.schedule, 0, t_min, decoder=0.125)
    t, s, weight = times.draw(jax.random.key(0), rows, times.start())
    x = jnp.tile(X[:1], (rows, 1))
    chosen = objective("bound", steps=0)
    ours = jax.jit(lambda: loss(process, denoise, chosen, keys(rows), x, None, t, s, weight))()
    grid = make_grid(process.schedule, 50, "log_snr", t_min)
    terms = jax.jit(lambda: bound(process, denoise, grid, keys(2000, 1), x[:2000], continuous=True))()
    expected = np.asarray(terms.total) / (SITES * np.log(2))
    error = np.hypot(np.std(ours) / np.sqrt(rows), expected.std() / np.sqrt(2000))
    assert float(np.mean(ours)) == pytest.approx(expected.mean(), abs=4 * error)
    assert error < 0.02 * expected.mean()


@pytest.mark.slow
def test_all_of_the_bound_trains_a_learned_schedule():
    """Its gradient in the schedule's ends is that of the whole bound, by differences: prior, steps and decoder."""
    rows, t_min, share = 40_000, 1e-5, 0.25
    family = schedules.make("learned", 0, gamma_min=-3.0, gamma_max=1.0)  # ends that cost something
    params = jax.tree.map(jnp.asarray, family.init(jax.random.key(0)))
    times = make_times("stratified", family.bind(params), 0, t_min, share)
    t, s, weight = times.draw(jax.random.key(0), rows, times.start())
    x = jnp.tile(X[:4], (rows // 4, 1))

    def trained(params):
        process = Gaussian(family.bind(params), DDPM.values)
        denoise = denoiser(lambda x_t, *_: 0.6 * x_t, "x0", process=process)
        return loss(process, denoise, objective("bound", steps=0), keys(rows), x, None, t, s, weight).mean()

    @jax.jit
    def whole(params):
        process = Gaussian(family.bind(params), DDPM.values)
        denoise = denoiser(lambda x_t, *_: 0.6 * x_t, "x0", process=process)
        grid = np.append(np.linspace(1, t_min, 16), 0)
        terms = bound(process, denoise, grid, keys(rows, 1), x, continuous=True)
        return terms.total.mean() / (SITES * np.log(2))

    gradient = jax.jit(jax.grad(trained))(params)
    for end in ("start", "range"):
        by = 0.02
        up, down = ({**params, end: params[end] + sign * by} for sign in (1, -1))
        slope = float(whole(up) - whole(down)) / (2 * by)
        assert abs(slope) > 0.03  # or this would show nothing
        assert float(gradient[end]) == pytest.approx(slope, rel=0.1)
    shape = [gradient[name] for name in gradient if name not in ("start", "range")]
    assert all((leaf == 0).all() for leaf in shape)  # it does not matter in continuous time, and is left alone


@pytest.mark.slow
def test_the_shape_of_a_learned_schedule_is_trained_in_discrete_time():
    family = schedules.make("learned", 10)
    params = jax.tree.map(jnp.asarray, family.init(jax.random.key(0)))

    def trained(params):
        process = Gaussian(family.bind(params), DDPM.values)
        denoise = denoiser(lambda x_t, *_: 0.6 * x_t, "x0", process=process)
        return loss(process, denoise, objective("bound", steps=10), keys(ROWS), X, None, T, T - 0.1).mean()

    gradient = jax.grad(trained)(params)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))


HIDING = [("raster", 1), ("spread", 2), ("random", 2), ("fixed", 4)]


def hidden(name, chunk, channels=1):
    return Ordered(make_order(name, (2, 4 // channels), channels, False, chunk), linear)


def test_the_likelihood_of_a_causal_network_is_the_product_of_its_conditionals():
    """A Markov chain over sites of three levels: -log2 of chances multiplied out, per site, whatever the images."""
    rng = np.random.default_rng(4)
    start, move = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    levels = rng.integers(0, 3, (5, 6))
    values = np.array([-1, 0, 1], np.float32)

    def denoise(x_t, t, condition):
        """Logits of a site from the site before it."""
        np.testing.assert_array_equal(t, 0)
        before = jnp.round(x_t[:, :-1, 0] + 1).astype(int)
        first = jnp.broadcast_to(np.log(start), (len(x_t), 1, 3))
        logits = jnp.concatenate([first, jnp.asarray(np.log(move))[before]], axis=1)
        return Categorical(logits[:, :, None].astype(jnp.float32), jnp.asarray(values))

    process = Ordered(make_order("raster", (6,)), linear)
    times = make_times("clean", linear, 6, 0.1)
    t, s, weight = times.draw(jax.random.key(0), 5, times.start())
    x = jnp.asarray(values[levels])[..., None]
    ours, term = losses.loss(process, denoise, objective("likelihood"), keys(5), x, None, t, s, weight)
    chances = start[levels[:, 0]] * np.prod(move[levels[:, :-1], levels[:, 1:]], axis=1)
    np.testing.assert_allclose(ours, -np.log2(chances) / 6, rtol=1e-5)
    np.testing.assert_array_equal(ours, term)


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "channels"), [(1, 1), (2, 1), (1, 2)])
def test_the_mean_over_hidden_sites_is_the_bound_where_groups_are_taken_one_by_one(chunk, channels):
    """Of n hidden groups one is revealed, any as likely: the bound weighs by 1/n, times the groups there are."""
    process = hidden("random", chunk, channels)
    groups, space = process.order.groups, process.order.space
    rng = np.random.default_rng(3)
    values = jnp.asarray([-1, 0, 1], jnp.float32)
    x = values[rng.integers(0, 3, (groups, *space, channels))]
    logits = jnp.asarray(rng.standard_normal((*x.shape, 3)), jnp.float32)
    t = jnp.arange(1, groups + 1) / groups
    words = keys(groups), x, None, t, t - 1 / groups
    denoise = lambda *_: Categorical(logits, values)  # noqa: E731
    ours = loss(process, denoise, objective("hidden"), *words)
    np.testing.assert_allclose(ours, loss(process, denoise, objective("bound", steps=groups), *words), rtol=1e-5)
    assert ours[-1] == pytest.approx(
        float(
            -jnp.mean(
                jnp.take_along_axis(jax.nn.log_softmax(logits[-1]), jnp.round(x[-1] + 1).astype(int)[..., None], -1)
            )
            / np.log(2)
        ),
        rel=1e-5,
    )


@pytest.mark.parametrize(("name", "chunk"), HIDING)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_regression_of_all_intervals_is_half_the_squared_error(name, chunk, channels):
    """Each site is revealed in one interval, so that an error of the same 0.3 everywhere costs 0.045 on average."""
    process = hidden(name, chunk, channels)
    groups = process.order.groups
    x = jnp.asarray(np.random.default_rng(1).integers(0, 17, (1, *process.order.space, channels)) / 8 - 1, jnp.float32)
    tiled = jnp.tile(x, (groups, *[1] * (x.ndim - 1)))
    index = jnp.arange(1, groups + 1)
    same = jnp.broadcast_to(jax.random.key(3), (groups,))  # the same order in all intervals
    each = loss(
        process,
        lambda x_t, t, condition: Normal(tiled + 0.3),
        objective("regression", steps=groups),
        same,
        tiled,
        None,
        index / groups,
        (index - 1) / groups,
    )
    assert float(each.mean()) == pytest.approx(0.045, rel=1e-5)
    np.testing.assert_allclose(each, 0.045, rtol=1e-5)  # groups are of one size here


def test_one_interval_is_one_shot_regression():
    process = hidden("raster", 8)
    x = jnp.asarray(np.random.default_rng(1).integers(0, 17, (3, 2, 4, 1)) / 8 - 1, jnp.float32)

    def denoise(x_t, t, condition):
        assert x_t.shape == x.shape
        return Normal(jnp.where(process.visible(x_t), jnp.nan, condition[:, None, None, None]))

    guess = jnp.array([0.1, -0.2, 0.5])
    one, none = jnp.ones(3), jnp.zeros(3)
    ours = loss(process, denoise, objective("regression", steps=1), keys(3), x, guess, one, none)
    expected = ((np.asarray(x)[..., 0] - np.asarray(guess)[:, None, None]) ** 2).mean((1, 2)) / 2
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_one_pass_of_a_causal_network_regresses_on_all_sites_at_once():
    """What `regression` says of every interval in turn, on the average, for guesses made of the sites before."""
    process = Ordered(make_order("raster", (2, 4)), linear)
    x = jnp.asarray(np.random.default_rng(1).integers(0, 17, (1, 2, 4, 1)) / 8 - 1, jnp.float32)

    def denoise(x_t, t, condition):
        before = jnp.pad(x_t.reshape(len(x_t), -1), ((0, 0), (1, 0)))[:, :-1]
        return Normal((0.3 - before).reshape(x_t.shape))

    index, tiled = jnp.arange(1, 9), jnp.tile(x, (8, 1, 1, 1))
    each = loss(process, denoise, objective("regression", steps=8), keys(8), tiled, None, index / 8, (index - 1) / 8)
    now = loss(process, denoise, objective("causal_regression"), keys(1), x, None, jnp.zeros(1), jnp.zeros(1))
    np.testing.assert_allclose(now, each.mean(keepdims=True), rtol=1e-5)
    assert float(now[0]) > 0.1


@pytest.mark.parametrize(("name", "chunk"), [*HIDING, ("independent", 1)])
def test_the_bound_of_hidden_sites_in_bits(name, chunk):
    """Chances of 1/8 for each level cost 3 bits a site, whatever the order and the times."""
    process = hidden(name, chunk)
    steps = process.order.groups or 0
    rows = 4000
    x = jnp.asarray(np.random.default_rng(1).integers(0, 8, (rows, 2, 4, 1)), jnp.float32)
    times = make_times("stratified", linear, steps, 1e-3)
    t, s, weight = times.draw(jax.random.key(0), rows, times.start())

    def denoise(x_t, t, condition):
        return Categorical(jnp.zeros((*x_t.shape, 8)), jnp.arange(8.0))

    ours = jax.jit(lambda: loss(process, denoise, objective("bound", steps=steps), keys(rows), x, None, t, s, weight))()
    error = float(np.std(ours)) / np.sqrt(rows)
    assert float(np.mean(ours)) == pytest.approx(3, abs=4 * error + 3e-3)  # continuous times leave out t < 1e-3
    if steps:
        np.testing.assert_allclose(ours, 3, rtol=1e-5)
