"""How far each method of inpainting and restoring is from the exact posterior, where that is known.

    python experiments/editing/exact.py --output=experiments/editing/exact.json   # a few minutes of a core

The law is a mixture of three normals over images of 4x2 pixels of one channel, whose posterior given a linear
measurement is a mixture again. The denoiser is exact, so that all error is the method's (and that of 200 ancestral
steps, which the row "the law itself" has alone). Of a table over 4 pixels of 3 levels the ordered family's conditional
laws are enumerated.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddpm_jax import commands
from ddpm_jax.denoisers import Normal
from ddpm_jax.editing import Averages, Identity, Kept, Measured, Pixels, Projections, choose, jumping, known_first
from ddpm_jax.editing.weighing import weights
from ddpm_jax.oracles import GaussianMixture, JointTable
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.processes.ordered import MASK
from ddpm_jax.samplers import FirstOrder, Problem
from ddpm_jax.schedules import VP
from ddpm_jax.schedules.keeping import linear

SHAPE, SIZE, STEPS, COUNT, NOISE = (4, 2, 1), 8, 200, 4000, 0.1
KNOWN = np.arange(SIZE).reshape(SHAPE) < SIZE // 2
PROBLEMS = {"hole": Pixels(KNOWN), "averages": Averages(2), "projections": Projections(3), "noise": Identity()}


def law() -> GaussianMixture:
    """Three components, whose pixels hang together."""
    rng = np.random.default_rng(5)
    factors = 0.25 * rng.normal(size=(3, SIZE, SIZE))
    covariances = jnp.asarray(factors @ factors.swapaxes(1, 2) + 0.02 * np.eye(SIZE))
    return GaussianMixture(jnp.array([0.5, 0.3, 0.2]), jnp.asarray(0.7 * rng.normal(size=(3, SIZE))), covariances)


def matrix(operator: Any) -> np.ndarray:
    """A, `[measured, SIZE]`, without rows of zeros."""
    rows = jax.vmap(lambda column: operator(column.reshape(1, *SHAPE)).ravel())(jnp.eye(SIZE)).T
    return np.asarray(rows)[np.asarray(jnp.abs(rows).sum(1) > 0)]


def compared(x: np.ndarray, exact: GaussianMixture) -> dict[str, float]:
    """Draws beside the law that they should have: mean and spread in its own deviations, and components' shares."""
    draws = np.asarray(exact.sample(jax.random.key(9), 20 * COUNT))
    deviation = draws.std(0) + 1e-9
    got, shares = x.reshape(-1, SIZE), exact.shares(jnp.asarray(x.reshape(-1, SIZE)))
    return {
        "mean": float(np.sqrt(np.square((got.mean(0) - draws.mean(0)) / deviation).mean())),
        "spread": float(np.sqrt((got.var(0) / np.square(deviation)).mean())),
        "shares": 0.5 * float(np.abs(np.asarray(shares.mean(0)) - np.asarray(exact.weights)).sum()),
    }


def gaussian() -> Iterator[dict[str, Any]]:
    """A row for each problem and method."""
    process, mixture = Gaussian(VP()), law()
    flat = mixture.denoiser(process)

    def denoise(x_t: Any, t: Any, condition: Any = None) -> Normal:
        return Normal(flat(x_t.reshape(-1, SIZE), t).mean.reshape(x_t.shape))

    grid, keys = process.grid(STEPS, "log_snr", 1e-3), jax.random.split(jax.random.key(0), COUNT)
    start = process.prior(keys, (COUNT, *SHAPE))

    def drawn(denoise: Any, grid: Any = grid, after: Any = None) -> np.ndarray:
        def run() -> Any:
            return FirstOrder(eta=1.0).solve(Problem(process, denoise, grid=grid), keys, start, (), after)[0]

        return np.asarray(jax.jit(run)())

    yield {"problem": "-", "method": "the law itself", **compared(drawn(denoise), mixture)}
    image = np.asarray(mixture.sample(jax.random.key(1), 1)).reshape(1, *SHAPE)
    for name, operator in PROBLEMS.items():
        noise = 1e-2 if name == "hole" else NOISE
        y = operator(jnp.asarray(image)) + (0 if name == "hole" else noise * jax.random.normal(jax.random.key(2)))
        a = matrix(operator)
        seen = np.asarray(y).ravel()[: len(a)] if name == "hole" else np.asarray(y).ravel()
        exact = mixture.measured(jnp.asarray(a), jnp.asarray(seen), noise)
        many = jnp.broadcast_to(y, (COUNT, *y.shape[1:]))
        for method in ("tmpd", "pigdm", "dps"):
            x = drawn(Measured(denoise, process, operator, many, noise, method))
            yield {"problem": name, "method": method, **compared(x, exact)}
        if name == "hole":
            kept = Kept(process, jnp.broadcast_to(jnp.asarray(image), (COUNT, *SHAPE)), jnp.asarray(KNOWN))
            for repeats in (1, 5, 20):
                x = drawn(denoise, jumping(grid, 10, repeats), kept)
                words = "replacement" + (f", jumps of 10 steps, {repeats} times" if repeats > 1 else "")
                yield {"problem": name, "method": words, **compared(x, exact)}


def ordered() -> Iterator[dict[str, Any]]:
    """Total variation from the enumerated conditional law, of holes filled in a random and in a fixed order."""
    sites, levels, count, known, told = 4, 3, 20_000, (1, 3), {1: 2, 3: 1}
    chances = np.random.default_rng(0).dirichlet(np.full(levels**sites, 0.3)).reshape((levels,) * sites)
    exact = chances.copy()
    for state in itertools.product(range(levels), repeat=sites):
        exact[state] *= all(state[site] == told[site] for site in known)
    exact /= exact.sum()
    values, mask = np.linspace(-1, 1, levels), jnp.asarray(np.isin(np.arange(sites), known))[:, None]
    row = np.array([[values[told.get(site, 0)]] for site in range(sites)], np.float32)

    def distance(x: Any) -> float:
        numbers = np.round((np.asarray(x).reshape(-1, sites) + 1) / 2 * (levels - 1)).astype(int)
        found = np.zeros_like(exact)
        np.add.at(found, tuple(numbers.T), 1 / len(numbers))
        return 0.5 * float(np.abs(found - exact).sum())

    for order, candidates in (("random", 1), ("raster", 1), ("raster", 4), ("raster", 16), ("raster", 64)):
        process = Ordered(make_order(order, (sites,), 1, False, 1, seed=1), linear)
        whole = JointTable(chances.astype(np.float32), values).denoiser(process)

        def denoise(x_t: Any, t: Any, condition: Any = None, order: str = order, whole: Any = whole) -> Any:
            before = jnp.arange(sites)[:, None] < jnp.round((1 - jnp.asarray(t)) * sites)
            return whole(x_t if order == "random" else jnp.where(before, x_t, MASK), t)

        keys = jax.random.split(jax.random.key(3), count * candidates)
        image = jnp.broadcast_to(jnp.asarray(row), (len(keys), sites, 1))
        start = known_first(process, keys, image, mask)
        problem = Problem(process, denoise, grid=process.grid(0))
        x = jax.jit(lambda p=problem, k=keys, s=start: FirstOrder().solve(p, k, s)[0])()
        if candidates > 1:
            numbers = np.round((np.asarray(x)[..., 0] + 1) / 2 * (levels - 1)).astype(int)
            losses = []
            for site in range(sites):
                joint = chances.sum(tuple(range(site + 1, sites)))[tuple(numbers[:, : site + 1].T)]
                losses.append(-np.log(joint / chances.sum(tuple(range(site, sites)))[tuple(numbers[:, :site].T)]))
            logs = weights(jnp.asarray(np.stack(losses, 1), jnp.float32)[..., None], mask).reshape(candidates, count)
            x = choose(jax.random.split(jax.random.key(4), count), x.reshape(candidates, count, sites, 1), logs).x
        yield {"order": order, "candidates": candidates, "total variation": distance(x)}


def main(arguments: Sequence[str]) -> None:
    """Print the tables, and keep them."""
    parser = commands.Parser(prog="python experiments/editing/exact.py", description=__doc__)
    parser.add_argument("--output", metavar="FILE.json", default="", help="where to keep the figures too")
    options = commands.parse(parser, arguments)
    found: dict[str, list[dict[str, Any]]] = {"gaussian": [], "ordered": []}
    print("| problem | method | mean off by | spread | shares off by |\n|---|---|--:|--:|--:|")
    for row in gaussian():
        found["gaussian"].append(row)
        cells = (row["problem"], row["method"], *(f"{row[name]:.3f}" for name in ("mean", "spread", "shares")))
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\n| order | candidates | total variation |\n|---|--:|--:|")
    for row in ordered():
        found["ordered"].append(row)
        print(f"| {row['order']} | {row['candidates']} | {row['total variation']:.3f} |", flush=True)
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    commands.run(main)
