"""The study without networks: what the samplers make of perfect predictions, on the known law.

    python experiments/why_diffusion/perfect.py --output=perfect.json

Every arm is given the best prediction there is: the conditional probabilities of each hidden site, or the posterior
mean of the image given its noisy version. What is wrong with the samples is then the price of removing and restoring
much at once, for no network errs. For hidden sites the law of the samples is computed, as the product of the
conditionals of each group's sites (its mean over random orders); for noise it is counted over samples, which are
rounded to the levels. On two levels that makes a coin of an estimate near 0: see `README.md`.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.data import ising
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import write_json

STEPS = (1, 2, 3, 4, 6, 12)
NOISE_STEPS = (*STEPS, 24)
ORDERS, SAMPLES = 2000, 2**16

Law = Float64[np.ndarray, "*levels"]
Groups = list[list[int]]


def conditional(law: Law, site: int, given: frozenset[int]) -> Law:
    """p(x_site | the sites given), along their axes."""
    others = tuple(set(range(law.ndim)) - given - {site})
    joint = law.sum(axis=others, keepdims=True)
    return joint / joint.sum(axis=site, keepdims=True)


def law_of_groups(law: Law, groups: Groups) -> Law:
    """The law of samples whose groups are drawn in turn, the sites of a group independently given all groups before."""
    drawn, given = np.ones((1,) * law.ndim), frozenset()
    for group in groups:
        for site in group:
            drawn = drawn * conditional(law, site, given)
        given |= frozenset(group)
    return drawn


def in_turn(sequence: Sequence[int], steps: int) -> Groups:
    """The sequence in so many groups, of nearly equal size."""
    ends = np.round(np.arange(steps + 1) * len(sequence) / steps).astype(int)
    return [list(sequence[start:end]) for start, end in pairwise(ends)]


def random_groups(count: int, steps: int, seed: int) -> Iterator[Groups]:
    """Groups of sites in random orders, of nearly equal size."""
    rng = np.random.default_rng(seed)
    for _ in range(ORDERS):
        yield in_turn(rng.permutation(count).tolist(), steps)


def independent_groups(count: int, steps: int, seed: int) -> Iterator[Groups]:
    """Each site in a step of its own choice: masked diffusion, whose cosine schedule shows few sites at first."""
    from ddpm_jax.schedules.keeping import KEEPS

    kept = np.asarray(KEEPS["cosine"](np.linspace(1, 0, steps + 1)))
    rng = np.random.default_rng(seed)
    for _ in range(ORDERS):
        step = np.clip(np.searchsorted(kept, rng.random(count), side="right"), 1, steps)
        yield [np.flatnonzero(step == number).tolist() for number in range(1, steps + 1)]


def mean_law(law: Law, all_groups: Iterator[Groups]) -> Law:
    """The law of samples whose groups are drawn at random."""
    total, count = np.zeros_like(law), 0
    for groups in all_groups:
        total, count = total + law_of_groups(law, groups), count + 1
    return total / count


def hidden_arms(name: str) -> dict[str, dict[int, Law]]:
    """The law of the samples of each arm that hides sites, by the number of steps."""
    from ddpm_jax.processes.orders import raster_sequence, spread_sequence

    table, shape = ising.LAWS[name]
    law, space, count = table(), shape[:-1], math.prod(shape)
    return {
        "raster blocks": {n: law_of_groups(law, in_turn(list(raster_sequence(space, 1, 0)), n)) for n in STEPS},
        "spread out": {n: law_of_groups(law, in_turn(list(spread_sequence(space, 1, 0)), n)) for n in STEPS},
        "random": {n: mean_law(law, random_groups(count, n, n)) for n in STEPS},
        "masked": {n: mean_law(law, independent_groups(count, n, n)) for n in STEPS},
    }


NOISE = {
    "noise, DDPM": ("vp", "first_order", 1.0),
    "noise, DPM-Solver++": ("vp", "dpm_2m", 0.0),
    "flow, DPM-Solver++": ("flow", "dpm_2m", 0.0),
}
"""Arms of noise: schedule, sampler, eta. All are given the posterior mean, which is what networks are trained for."""


def noise_samples(name: str, arm: str, steps: int) -> UInt8[np.ndarray, "n *site"]:
    """Samples of an arm of noise in so many network evaluations, rounded to levels."""
    import jax
    import jax.numpy as jnp

    from ddpm_jax import keys as random
    from ddpm_jax import samplers, schedules
    from ddpm_jax.denoisers.posteriors import Normal
    from ddpm_jax.processes import Gaussian
    from ddpm_jax.schedules.grids import make_grid

    table, shape = ising.LAWS[name]
    law, description = table(), ising.describe(name)
    states = np.indices(law.shape).reshape(law.ndim, -1).T.reshape(-1, *shape)
    images, log_weights = description.encode(states).reshape(law.size, -1), jnp.log(law.reshape(-1))
    schedule_name, sampler, eta = NOISE[arm]
    schedule: Any = schedules.make(schedule_name)
    process = Gaussian(schedule, description.values)
    grid = make_grid(schedule, steps, "quadratic", schedule.t_min)

    def denoise(x_t: Any, t: Any, condition: Any = None) -> Normal:
        """E[x | x_t]. All images have the same norm, so that of |x_t - alpha x|^2 only the product counts."""
        alpha, sigma = process.at(t, x_t)
        flat = (x_t * alpha / sigma**2).reshape(len(x_t), -1)
        chances = jax.nn.softmax(jnp.matmul(flat, images.T, precision="highest") + log_weights)
        return Normal((chances @ images).reshape(x_t.shape))

    solver, problem = samplers.make(sampler, {"eta": eta}), samplers.Problem(process, denoise, grid=grid)

    @jax.jit
    def draw(rows: Any) -> Any:
        keys_prior, keys_steps = random.split(random.per_example(jax.random.key(steps), rows))
        start = process.prior(keys_prior, (len(rows), *shape))
        return description.decode(solver.solve(problem, keys_steps, start)[0])

    batch = 2048
    return np.concatenate([np.asarray(draw(np.arange(at, at + batch))) for at in range(0, SAMPLES, batch)])


def measure(name: str) -> dict[str, Any]:
    """The distances from the law by arm and network evaluations, and those of as many true draws."""
    from dataclasses import asdict

    from ddpm_jax.metrics.law import between, law_distance, law_references
    from ddpm_jax.progress import bar

    law = ising.LAWS[name][0]()
    arms: dict[str, dict[str, Any]] = {
        arm: {str(n): asdict(between(q, law, 0)) for n, q in laws.items()} for arm, laws in hidden_arms(name).items()
    }
    wanted = [(arm, steps) for arm in NOISE for steps in NOISE_STEPS]
    for arm, steps in bar(wanted, "samples of noise: grid", "grids"):
        measured = asdict(law_distance(noise_samples(name, arm, steps), law))
        arms.setdefault(arm, {})[str(steps)] = measured
    references = {line: asdict(distance) for line, distance in law_references(law, SAMPLES).items()}
    return {
        "law": name,
        "entropy": ising.entropy(law),
        "samples": SAMPLES,
        "orders": ORDERS,
        "arms": arms,
        "references": references,
    }


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/why_diffusion/perfect.py", description=__doc__)
    parser.add_argument("--law", metavar="NAME", default="ising", help="the data set (ising)")
    parser.add_argument("--output", metavar="FILE.json", help="where to keep the figures")
    options = commands.parse(parser, arguments)
    if options.law not in ising.LAWS:
        raise UserError(f"--law: {options.law!r} is not known; {nearest(options.law, ising.LAWS)}")
    starting.start_jax()
    figures = measure(options.law)
    print(f"KL divergence from {options.law} in nats, by network evaluations (no network: perfect predictions)")
    columns = NOISE_STEPS
    print(f"{'':<22}" + "".join(f"{n:>9}" for n in columns))
    for arm, points in figures["arms"].items():
        print(f"{arm:<22}" + "".join(f"{points[str(n)]['kl']:9.4f}" if str(n) in points else " " * 9 for n in columns))
    floor = figures["references"]["train"]["kl"]
    print(f"Noise and flow: of {SAMPLES:,} samples; as many true draws have {floor:.4f}.")
    print(f"Random and masked: a mean over {ORDERS:,} orders. Raster and spread out: exact.")
    if options.output:
        write_json(Path(options.output), figures)


if __name__ == "__main__":
    commands.run(main)
