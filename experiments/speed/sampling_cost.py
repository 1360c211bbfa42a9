"""How the cost of drawing an image grows with its number of sites, cached and naive.

    python experiments/speed/sampling_cost.py --sides=4,8,12,16,24 --output=sampling_cost.json

Square images of one channel, pixel by pixel in raster order, from causal networks that are not trained, since a draw
costs the same whatever is drawn:

  cached: the network remembers, and is asked for one site a step.
  naive:  the network runs on the whole image at every step (`first_order`). The images are the same.

Both are the samplers that the sample command uses. FLOPs are XLA's own count of the compiled program, which takes the
body of a loop once, however often it runs. So a step is compiled by itself and its count multiplied by the number of
steps. Where steps differ (PixelCNN++ starts a row of its lower stream at the first pixel of a row, and a coarse pixel
at every second one) XLA would count the dearest branch for all: one step of each kind is compiled, with its number as a
constant, and counts as often as its kind comes. Seconds are those of the whole sampler, compiled, the best of some
runs.

Growth is the exponent p of cost ~ sites^p: the slope of log cost over log sites, by least squares through all sides,
and between the two largest. FLOPs, expected: cached about 1 (the transformer more, up to 2, for a site looks back at
all others); naive 2 and more, up to 3. Seconds of small images are mostly the same overhead a step, which hides the
growth.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError

NETWORKS: dict[str, dict[str, Any]] = {
    "causal_transformer": {"channels": 64, "depth": 2, "heads": 4},
    "pixelcnn": {"channels": 32, "blocks": 1, "multipliers": (1, 1), "dropout": 0.0},
}
SAMPLERS = {"cached": "cached", "naive": "first_order"}
LEVELS = 16


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one image costs."""

    network: str
    sampler: str
    side: int
    sites: int
    flops: float
    seconds: float


class Case:
    """A network and a sampler on images of one size."""

    def __init__(self, network: str, sampler: str, side: int, batch: int):
        import jax

        from ddpm_jax import keys, models
        from ddpm_jax.denoisers import OrderedPrediction
        from ddpm_jax.processes import Ordered, make_order
        from ddpm_jax.samplers import SOLVERS
        from ddpm_jax.schedules.keeping import linear

        self.name, self.sampler, self.side, self.batch = network, SAMPLERS[sampler], side, batch
        self.solver: Any = SOLVERS[self.sampler]()
        values = np.linspace(-1, 1, LEVELS).astype(np.float32)
        self.prediction = OrderedPrediction("categorical", values, 1, causal=True)
        order = make_order("raster", (side, side))
        self.process = Ordered(order, linear)
        sites = models.Sites(tuple(range(order.count)), levels=LEVELS)
        outputs = self.prediction.numbers(1, LEVELS)
        self.network = models.make(network, (side, side, 1), outputs, sites=sites, **NETWORKS[network])
        self.params = self.network.init(jax.random.key(0))
        self.grid = np.arange(order.count, -1, -1) / order.count
        self.keys = keys.per_example(jax.random.key(1), jax.numpy.arange(batch))
        self.start = self.process.prior(self.keys, (batch, side, side, 1))

    def problem(self, params: Any) -> Any:
        """What the solver solves, with the network as a denoiser."""
        from ddpm_jax.samplers import Problem

        denoise = self.prediction.denoiser(self.network.bind(params), self.process)
        return Problem(self.process, denoise, grid=self.grid)

    def flops(self) -> float:
        """Of one image, by XLA's count: the step's, times how often it is taken."""
        halvings = len(NETWORKS[self.name].get("multipliers", ())) - 1
        kinds = kinds_of_steps(self.side, halvings if self.sampler == SAMPLERS["cached"] else -1)
        return sum(count * self.step_flops(step) for step, count in kinds.items()) / self.batch

    def step_flops(self, number: int) -> float:
        """Of this step of the batch."""
        import jax
        import jax.numpy as jnp

        def step(params: Any, keys: Any, x: Any, cache: Any, t: Any, s: Any) -> Any:
            memory = None if cache is None else (cache, jnp.int32(number))
            return self.solver.step(self.problem(params), keys, x, memory, t, s)

        memory = jax.eval_shape(lambda params, x: self.solver.start(self.problem(params), x), self.params, self.start)
        cache = None if memory is None else memory[0]
        now = jnp.float32(self.grid[number]), jnp.float32(self.grid[number + 1])
        lowered = jax.jit(step).lower(self.params, self.keys, self.start, cache, *now)
        count: Any = lowered.compile().cost_analysis()
        return float((count[0] if isinstance(count, list) else count)["flops"])

    def seconds(self, repeats: int) -> float:
        """Of one image in a batch: the best of so many runs after the first."""
        import jax

        @jax.jit
        def draw(params: Any, keys: Any, x: Any) -> Any:
            return self.solver.solve(self.problem(params), keys, x)[0]

        taken = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            jax.block_until_ready(draw(self.params, self.keys, self.start))
            taken.append(time.perf_counter() - began)
        return min(taken[1:]) / self.batch


def kinds_of_steps(side: int, halvings: int) -> dict[int, int]:
    """The number of a step of each kind, and how often the kind comes.

    A network that halves its resolution so often does most at pixels that are multiples of 2^halvings in row and
    column, and more at the first of a row. With halvings = -1 all steps are alike.
    """
    if halvings < 0:
        return {0: side**2}
    places = [divmod(step, side) for step in range(side**2)]
    kinds = [(row % 2**halvings, column % 2**halvings, column == 0) for row, column in places]
    return {kinds.index(kind): count for kind, count in Counter(kinds).items()}


def measure(network: str, sampler: str, side: int, batch: int, repeats: int) -> Cost:
    """One line of the table."""
    case = Case(network, sampler, side, batch)
    return Cost(network, sampler, side, side**2, case.flops(), case.seconds(repeats))


def growth(sites: Sequence[int], costs: Sequence[float]) -> tuple[float, float]:
    """The exponent by least squares through all points, and between the last two."""
    x, y = np.log(np.asarray(sites, float)), np.log(np.asarray(costs, float))
    return float(np.polyfit(x, y, 1)[0]), float((y[-1] - y[-2]) / (x[-1] - x[-2]))


def exponents(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Growth of each network with each sampler, in FLOPs and in seconds."""
    rows = []
    for network, sampler in dict.fromkeys((cost.network, cost.sampler) for cost in costs):
        mine = [cost for cost in costs if (cost.network, cost.sampler) == (network, sampler)]
        sites = [cost.sites for cost in mine]
        row: dict[str, Any] = {"network": network, "sampler": sampler}
        for unit in ("flops", "seconds"):
            fitted, last = growth(sites, [getattr(cost, unit) for cost in mine])
            row |= {unit: fitted, f"{unit}_at_the_end": last}
        rows.append(row)
    return rows


def line(cost: Cost) -> str:
    """A cost in words."""
    return (
        f"{cost.network:18} {cost.sampler:6} {cost.side:3} x {cost.side:<3} {cost.sites:5} sites "
        f"{cost.flops / 1e6:12.2f} MFLOP an image {1e3 * cost.seconds:10.2f} ms"
    )


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print, and write what was measured."""
    parser = commands.Parser(prog="python experiments/speed/sampling_cost.py", description=__doc__)
    parser.add_argument("--sides", metavar="A,B,...", default="4,8,12,16,24", help="of the images (4,8,12,16,24)")
    parser.add_argument("--networks", metavar="A,B", default=",".join(NETWORKS), help="default: both")
    parser.add_argument("--batch", type=int, default=1, help="images at once (default: 1)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs, of which the best counts (default: 3)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options = commands.parse(parser, arguments)
    sides = _sides(options.sides)
    networks = options.networks.split(",")
    for network in networks:
        if network not in NETWORKS:
            raise UserError(f"--networks: {network!r} is not one of {', '.join(NETWORKS)}")
    for name in ("batch", "repeats"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: {getattr(options, name)} is less than 1")
    from ddpm_jax import runs
    from ddpm_jax.files import obstacle, write_json

    if options.output and (reason := obstacle(Path(options.output).absolute().parent)):
        raise UserError(f"--output: {options.output} cannot be written ({reason})")
    starting.start_jax()
    provenance = runs.provenance()
    print(f"on {provenance['device']['kind']}, batch {options.batch}", flush=True)
    costs = []
    for network in networks:
        for sampler in SAMPLERS:
            for side in sides:
                costs.append(measure(network, sampler, side, options.batch, options.repeats))
                print(line(costs[-1]), flush=True)
    rows = exponents(costs)
    print("cost ~ sites^p: p through all sides (between the two largest)")
    for row in rows:
        flops, seconds = (f"{row[unit]:.2f} ({row[f'{unit}_at_the_end']:.2f})" for unit in ("flops", "seconds"))
        print(f"{row['network']:18} {row['sampler']:6} FLOPs {flops}   seconds {seconds}")
    if options.output:
        table = [dataclasses.asdict(cost) for cost in costs]
        settings = {"networks": {name: NETWORKS[name] for name in networks}, "levels": LEVELS, "batch": options.batch}
        write_json(Path(options.output), {"growth": rows, "costs": table, **settings, **provenance})


def _sides(text: str) -> list[int]:
    """The sides, rising. Raises UserError for what is not at least two even numbers."""
    try:
        sides = sorted({int(side) for side in text.split(",")})
    except ValueError:
        raise UserError(f"--sides: {text!r} is not a list of whole numbers, such as 4,8,12") from None
    if len(sides) < 2 or sides[0] < 2 or any(side % 2 for side in sides):
        raise UserError(f"--sides: growth needs at least two even sides of 2 or more, not {text}")
    return sides


if __name__ == "__main__":
    commands.run(main)
