"""The uniform process: values are replaced by chance, and nothing says which (Austin et al. 2021)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes.ordered import SPACINGS
from ddpm_jax.processes.process import Images, Keys, Removal, Times, Traits, expand, sum_sites
from ddpm_jax.schedules.keeping import Keep, keep_rate

LEAST_ODDS = 1e-6
"""Of the density in t, which is a limit where keep = 0."""


@dataclass(frozen=True, eq=False)
class Uniform:
    """Each value of x is kept with probability keep(t), else replaced by a uniform draw of the K levels.

    q(x_t | x) = keep(t) [x_t = x] + (1 - keep(t))/K for each value by itself (Austin et al. 2021, section 3.1; Lou et
    al. 2024). z has, for each value, a rank in [0, 1) and a number in [0, 1) that says which level: x_t = x where the
    rank is below keep(t). The Markov chain between two times replaces a value with probability 1 - keep(t)/keep(s).

    >>> from ddpm_jax.schedules.keeping import linear
    >>> process = Uniform(linear, np.linspace(-1, 1, 3))
    >>> x, z = jnp.ones((1, 2)), jnp.asarray([[[0.4, 0.0], [0.6, 0.0]]])
    >>> process.corrupt(x, z, 0.5).tolist()
    [[1.0, -1.0]]

    Attributes:
        keep: `t -> share kept`, 1 at t = 0.
        values: `[levels]`, what each level is in x, evenly spaced.

    Raises:
        ValueError: other values.
    """

    keep: Keep
    values: np.ndarray
    kind: ClassVar[str] = "uniform"
    continuous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.levels < 2 or not np.allclose(np.diff(self.values), np.diff(self.values[[0, -1]]) / (self.levels - 1)):
            raise ValueError("uniform corruption needs two levels at least, evenly spaced")

    @property
    def levels(self) -> int:
        """K."""
        return len(self.values)

    def traits(self) -> Traits:
        """Steps back are those of the Markov chain."""
        return Traits(self.kind, markov=True)

    def grid(
        self, steps: int, spacing: str = "", t_min: float | None = None, discrete: int = 0, rho: float = 7.0
    ) -> np.ndarray:
        """Even in time by default. With `discrete` each time is moved to the nearest i/T."""
        grid = SPACINGS[spacing or "uniform"](np.arange(steps, -1, -1) / steps)
        return np.round(grid * discrete) / discrete if discrete else grid

    def init(self, key: Key[Array, ""]) -> PyTree:
        """No parameters."""
        return {}

    def bind(self, params: PyTree) -> "Uniform":
        """Itself."""
        return self

    def noise(
        self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
    ) -> Float[Array, "batch *site 2"]:
        """z: of each value a rank, and a number that says which level."""
        return random.uniform(keys, (*shape, 2), dtype)

    def corrupt(self, x: Images, z: Removal, t: Times) -> Images:
        """x where the rank is below keep(t), else the level that z says."""
        return self._replaced(x, z, self.keep(expand(t, x)))

    def prior(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """A uniform draw of the levels."""
        number = random.uniform(keys, shape, dtype)
        return self._level_at(number, number)

    def reverse(self, keys: Keys, x_t: Images, x: Images, t: Times, s: Times, eta: float) -> Images:
        """A draw of q(x_s | x_t, x), proportional to q(x_t | x_s) q(x_s | x) (Austin et al. 2021, eq. 3).

        With r = keep(t)/keep(s) and each probability as "the same, or any of K", the product has four parts. x_s is x_t
        with weight r (1 - keep(s)) + K keep(t) [x_t = x], x with (1 - r) keep(s), and any level with
        (1 - r)(1 - keep(s)). For x drawn from p(x | x_t) it is a draw of the model's own step. `eta` is 1.

        Raises:
            ValueError: another eta: that is the chain's own law, and there is no other here.
        """
        if eta != 1:
            raise ValueError(f"steps back of uniform corruption are the Markov chain's: eta is 1, and not {eta}")
        kept, before = self.keep(expand(t, x)), self.keep(expand(s, x))
        ratio = _ratio(kept, before)
        stays = ratio * (1 - before) + self.levels * kept * self._same(x_t, x)
        any_level, clean = (1 - ratio) * (1 - before), (1 - ratio) * before
        keys_part, keys_level = random.split(keys)
        u = random.uniform(keys_part, x.shape) * (any_level + stays + clean)
        level = self._level_at(random.uniform(keys_level, x.shape), x)
        return jnp.where(u < any_level, level, jnp.where(u < any_level + stays, x_t, x))

    def uses(self, keys: Keys, x_t: Images, t: Times, s: Times, eta: float) -> None:
        """All values of x."""

    def forward(self, keys: Keys, x_s: Images, s: Times, t: Times) -> Images:
        """x_s with probability keep(t)/keep(s), else a uniform draw of the levels."""
        ratio = _ratio(self.keep(expand(t, x_s)), self.keep(expand(s, x_s)))
        return self._replaced(x_s, random.uniform(keys, (*x_s.shape, 2)), ratio)

    def evidence(self, x_t: Images, t: Times, values: Float[Array, " levels"]) -> Float[Array, "batch *site levels"]:
        """log q(x_t | x) for each level that a value of x may have, up to a constant: log(1 + g [level = x_t]).

        g = K keep(t)/(1 - keep(t)), for t > 0. This is what a value's own x_t says of it, whatever the others say. The
        levels are the process's own.
        """
        gain = jnp.log1p(self._odds(self.keep(expand(t, x_t))))
        return gain[..., None] * self._hot(x_t)

    def elbo(self, posterior: Any, x: Images, z: Removal, t: Times, s: Times) -> Float[Array, " batch"]:
        """The interval's term of the variational bound, in nats; `posterior` has a logit for each level.

        For s > 0 it is KL(q(x_s | x_t, x) || p(x_s | x_t)), where p(x_s | x_t) is the sum over y of p(y | x_t)
        q(x_s | x_t, y). At one value, with g and h = K keep/(1 - keep) at t and at s, w(y) = p(y)/(1 + g [y = x_t]) and
        r = keep(t)/keep(s), both are a common factor times what differs:

            q(y) = c(y) Q(y), Q(y) = (1 + h [y = x])/(1 + g [x = x_t]),
            p(y) = c(y) P(y), P(y) = h w(y) + the sum of w,
            c(y) = (r [y = x_t] + (1 - r)/K) (1 - keep(s))/(1 - keep(t)),
            KL = the sum over y of c Q log(Q/P), or of c Q (log(Q/P) + P/Q - 1), as both laws sum to one.

        Each part of the second form is at least 0: where s is near t and the KL small nothing cancels. As s goes to t,
        h goes to g, Q and P at y = x_t to 1, and c elsewhere to (t - s) times -keep'/(K keep), the rate at which a
        value becomes y. So the density in t is the same sum with that rate for c (Campbell et al. 2022, for any chain;
        Schiff et al. 2024 for this one). For s = 0 it is -log p(x | x_t).
        """
        t, s = expand(t, x), expand(s, x)
        earlier = jnp.where(s > 0, s, t)  # where s = 0 the sum is not used
        whole_step = earlier < t
        kept, before = self.keep(t), self.keep(earlier)
        g = self._odds(kept)
        limit = jnp.maximum(g, LEAST_ODDS)
        g, h = jnp.where(whole_step, g, limit), jnp.where(whole_step, self._odds(before), limit)
        x_t = self.corrupt(x, z, t)
        here, clean = self._hot(x_t), self._hot(x)
        log_w = jax.nn.log_softmax(posterior.logits) - jnp.log1p(g)[..., None] * here
        log_p = jnp.logaddexp(jnp.log(h)[..., None] + log_w, jax.nn.logsumexp(log_w, axis=-1, keepdims=True))
        log_q = jnp.log1p(h)[..., None] * clean - (jnp.log1p(g) * self._same(x_t, x))[..., None]
        ratio, lost = _ratio(kept, before), (1 - before) / (1 - kept)
        step = (lost * ratio)[..., None] * here + (lost * (1 - ratio) / self.levels)[..., None]
        rate = -keep_rate(self.keep, t) / ((1 - kept) * g)  # K keep is (1 - keep) g
        factor = jnp.where(whole_step[..., None], step, rate[..., None])
        term = (factor * jnp.exp(log_q) * _excess(log_q - log_p)).sum(axis=-1)
        return sum_sites(jnp.where(s > 0, term, posterior.loss(x)))

    def prior_loss(self, x: Images) -> Float[Array, " batch"]:
        """KL(q(x_1 | x) || uniform) for each value; 0 where keep(1) = 0."""
        kept, count = self.keep(jnp.ones((), x.dtype)), self.levels
        same, other = kept + (1 - kept) / count, (1 - kept) / count
        nats = same * jnp.log(count * same) + (count - 1) * other * jnp.log(jnp.where(other > 0, count * other, 1))
        return jnp.full(x.shape[0], x[0].size * nats, x.dtype)

    def film(self, denoise: Any, film: PyTree, t: Times, s: Times, condition: PyTree) -> PyTree:
        """x_t as it is; below it the mean of what the network expects, before any draw, guidance and temperature."""

        def mean(inputs: tuple) -> Array:
            x_t, t = inputs
            return denoise(x_t, t, condition).mean

        return film[0], jax.lax.map(mean, (film[0], t))

    def _replaced(self, x: Images, z: Removal, kept: Array) -> Images:
        """x where the rank is below `kept`, else the level that z says."""
        return jnp.where(z[..., 0] < kept, x, self._level_at(z[..., 1], x))

    def _odds(self, kept: Array) -> Array:
        """K keep/(1 - keep), for t > 0: how much likelier the clean level is than another one, less one."""
        return self.levels * kept / (1 - kept)

    def _level_at(self, number: Images, like: Images) -> Images:
        """The level of a number in [0, 1)."""
        index = jnp.minimum((number * self.levels).astype(jnp.int32), self.levels - 1)
        return jnp.asarray(self.values, like.dtype)[index]

    def _index(self, x: Images) -> Int[Array, "batch *site"]:
        """The number of each value's level."""
        low, high = float(self.values[0]), float(self.values[-1])
        return jnp.round((x - low) / (high - low) * (self.levels - 1)).astype(jnp.int32)

    def _same(self, one: Images, other: Images) -> Bool[Array, "batch *site"]:
        return self._index(one) == self._index(other)

    def _hot(self, x: Images) -> Float[Array, "batch *site levels"]:
        """1 at each value's level, 0 at the others."""
        return jax.nn.one_hot(self._index(x), self.levels, dtype=x.dtype)


def _ratio(kept: Array, before: Array) -> Array:
    """keep(t)/keep(s), the chance that nothing happens in between; 0 where nothing was kept before."""
    return jnp.where(before > 0, kept / jnp.where(before > 0, before, 1), 0)


def _excess(difference: Array) -> Array:
    """d + exp(-d) - 1, which is at least 0; by its series where it would cancel."""
    series = jnp.square(difference) * (1 / 2 - difference / 6 + jnp.square(difference) / 24)
    small = jnp.abs(difference) < 0.02
    far = jnp.where(small, 1.0, difference)
    return jnp.where(small, series, far + jnp.expm1(-far))
