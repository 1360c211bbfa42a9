"""The variational bound: prior term, one term an interval of a grid, the last of them the decoder's."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoiser
from ddpm_jax.processes import Process
from ddpm_jax.processes.process import Images


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Terms:
    """The bound's parts for each image, `[batch]` in nats, on the device or the host.

    Their sum is at or above -log p(x) in expectation.
    """

    prior: Any
    steps: Any
    reconstruction: Any

    @property
    def total(self) -> Any:
        """prior + steps + reconstruction."""
        return self.prior + self.steps + self.reconstruction


def interval_groups(intervals: int, count: int) -> np.ndarray:
    """Edges `[groups + 1]` that part the intervals 0 ... N - 1 into `count` runs of geometrically growing length.

    Interval 0, which ends at t = 0, is a run of its own, and with a large enough count so are its neighbours: that is
    where a Gaussian bound's terms are large and change fast. So is the last, where some schedules take a very large
    step (the cosine table's largest beta is 0.999). There are `count` runs, but at least three (where there are three
    intervals) and at most one for each interval.
    """
    if count >= intervals:
        return np.arange(intervals + 1)
    inner, edges = intervals - 1, [0, 1]
    while edges[-1] < inner:
        left = count - len(edges)
        ratio = (inner / edges[-1]) ** (1 / max(left, 1))
        edges.append(min(inner, max(edges[-1] + 1, round(edges[-1] * ratio))))
    return np.asarray([*edges, intervals])


def bound(
    process: Process,
    denoise: Denoiser,
    grid: np.ndarray | Array,
    keys: Key[Array, " batch"],
    x: Images,
    condition: PyTree = None,
    groups: int | None = None,
    continuous: bool = False,
) -> Terms:
    """-log p(x) <= KL(q(x_1|x) || prior) + sum over the grid's intervals of the process's elbo, in nats an image.

    In continuous time the sum becomes an integral from t_min to 1 (Kingma et al. 2021, eq. 15), estimated without bias
    by one time, uniform, in each interval of the grid: (t_j - s_j) elbo(t, t). That is stratified sampling, so the grid
    decides the variance and nothing else. The interval (0, t_min] stays one: the decoder's, elbo(t_min, 0).

    Args:
        process: owns the terms; its interval (0, t_min] is the discrete decoder's.
        denoise: without clipping or guidance.
        grid: `[N + 1]`, falling from 1 to 0; the last time before 0 is t_min.
        keys: `[batch]`.
        x: `[batch, *site]` on the grid of its levels.
        condition: for the denoiser.
        groups: None evaluates the network once in each of the N intervals. Else the intervals are parted into this many
            runs (`interval_groups`) and one interval of each is drawn, uniformly, and counted for its whole run: an
            unbiased estimate of the same sum. In continuous time the runs are the strata.
        continuous: the integral instead of the sum.

    Raises:
        ValueError: `continuous`, and the process's schedule is a table.
    """
    if continuous and not getattr(process, "continuous", True):
        raise ValueError("this process has no bound in continuous time: sum over its intervals instead")
    edges = interval_groups(len(grid) - 1, groups or len(grid) - 1)
    rising = jnp.asarray(grid, x.dtype)[::-1]  # rising[j], rising[j + 1] are the ends of interval j
    if continuous:
        rising, edges = rising[edges], np.arange(len(edges))
    starts, lengths = jnp.asarray(edges[:-1]), jnp.asarray(np.diff(edges))

    def body(total: Array, group: tuple) -> tuple[Array, Array]:
        start, length, number = group
        keys_choice, keys_noise = random.split(random.fold_in(keys, number))
        choice = random.uniform(keys_choice, x.shape[:1])
        chosen = start if continuous else start + jnp.floor(choice * length).astype(jnp.int32)
        s, t = rising[chosen], rising[chosen + 1]
        weight = length
        if continuous:
            decoder = number == 0
            weight, t = jnp.where(decoder, 1, t - s), jnp.where(decoder, t, t - choice * (t - s))
            s = jnp.where(decoder, 0, t)
        z = process.noise(keys_noise, x.shape)
        posterior = denoise(process.corrupt(x, z, t), t, condition)
        term = weight * process.elbo(posterior, x, z, t, s)
        return total + term, jnp.where(number == 0, term, 0)

    zero = jnp.zeros(x.shape[0], x.dtype)
    total, parts = jax.lax.scan(body, zero, (starts, lengths, jnp.arange(len(starts))))
    reconstruction = parts.sum(axis=0)
    return Terms(process.prior_loss(x), total - reconstruction, reconstruction)
