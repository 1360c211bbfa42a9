"""The page of figures: tables, and plots of error against network evaluations. Written for `run.py`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax.files import write_bytes
from ddpm_jax.reporting import plots
from ddpm_jax.reporting.blocks import Block, Figures, Heading, Paragraph, Picture, as_markdown
from ddpm_jax.reporting.groups import Estimate, Point
from ddpm_jax.reporting.plots import Panel
from ddpm_jax.reporting.tables import NONE, Table

TITLE = "Which sampler, with how many evaluations?"
EVALUATIONS = "network evaluations"
SHOWN = (5, 10, 20, 50)
"""The evaluations that tables have a column for."""

INTRODUCTION = """Every solver starts from the same noise and is given the exact posterior mean of a mixture of ten
normals that was fitted to the digits (64 values). Its error is the root mean square, over {starts} starts and all
values, of the distance from where the probability flow leads; pixels lie in -1 ... 1 and the law's own deviation is
{deviation:.2f}. Where a step takes two evaluations there are fewer steps, so that all solvers have as many evaluations
or one fewer. All in float64, no noise added."""

CHECKS = """The exact map is solved by other code (SciPy, eighth order). With a tolerance a hundred times as large it
is {loose:.1e} off at most, and 500 steps of UniPC agree with it to {unipc:.1e} (on the table, whose times cannot be so
close, {table:.1e}). What the last step leaves out, which all grids share, is {last:.1e} at most ({last_table:.1e} on
the table)."""

PICTURED = ("ddim", "heun", "dpm_2m", "dpm_3m", "unipc", "adams_bashforth", "pndm")
"""Solvers of the first picture; the tables have all."""

GRIDS = ("ddim", "dpm_2m", "adams_bashforth")
"""Solvers whose grids are told apart."""


def points(line: Mapping[str, float]) -> list[Point]:
    """A line of a plot, of one run."""
    return [Point(float(x), Estimate(y, None, 1)) for x, y in line.items()]


def best(grids: Mapping[str, Mapping[str, float]], budget: str) -> tuple[str, float]:
    """The grid with the least figure at so many evaluations, and the figure."""
    name = min(grids, key=lambda grid: grids[grid][budget])
    return name, grids[name][budget]


def lowest(grids: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The least figure of all grids, by evaluations."""
    return {budget: best(grids, budget)[1] for budget in next(iter(grids.values()))}


def winner(solvers: Mapping[str, Any], budget: str) -> tuple[str, str, float]:
    """The solver and the grid with the least figure, and the figure."""
    name = min(solvers, key=lambda solver: best(solvers[solver], budget)[1])
    return name, *best(solvers[name], budget)


def write(kept: Mapping[str, Any], output: Path) -> list[str]:
    """Write report.md and its pictures from the figures; gives back the files."""
    output.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = [Heading(1, TITLE)]
    for section, part in PARTS.items():
        if kept.get(section):
            blocks += part(kept[section], output)
    write_bytes(output / "report.md", as_markdown(blocks).encode())
    return [str(output / "report.md")]


def _draw(output: Path, name: str, panels: Sequence[Panel]) -> str:
    labels = dict.fromkeys(label for panel in panels for label in panel.lines)
    return plots.draw(output / name, panels, plots.styles(list(labels))).name


def _paragraph(words: str, **told: Any) -> Paragraph:
    return Paragraph(" ".join(words.format(**told).split()))


def _errors(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    import errors

    yield Heading(2, "The map of a known law")
    first = next(iter(found.values()))
    yield _paragraph(INTRODUCTION, starts=errors.STARTS, deviation=first["deviation"])
    smooth = {name: one for name, one in found.items() if not name.startswith("ddpm")}
    tables = [one for name, one in found.items() if name.startswith("ddpm")] or [first]
    yield _paragraph(
        CHECKS,
        loose=max(one["reference_loose"] for one in found.values()),
        unipc=max(one["reference_unipc_500"] for one in smooth.values()),
        last=max(one["last_step"] for one in smooth.values()),
        table=tables[0]["reference_unipc_500"],
        last_table=tables[0]["last_step"],
    )
    yield Paragraph(
        "The best solver, its grid, its error, and how many times less that is than the error of `ddim` with its best:"
    )
    rows = []
    for name, one in found.items():
        cells = []
        for budget in map(str, SHOWN):
            solver, grid, error = winner(one["solvers"], budget)
            plain = best(one["solvers"]["ddim"], budget)[1]
            cells.append(f"`{solver}`, `{grid}`: {error:.2g} ({plain / error:.1f})")
        rows.append([f"`{name}`", *cells])
    yield Figures(Table(["schedule", *map(str, SHOWN)], rows))
    panels = [
        Panel(
            EVALUATIONS,
            f"error, {name}",
            {solver: points(lowest(grids)) for solver in PICTURED if (grids := one["solvers"].get(solver))},
        )
        for name, one in found.items()
    ]
    caption = "Some solvers, each with the grid that is best for it at so many evaluations. Lower is better."
    yield Picture(_draw(output, "errors.png", panels), "Error against network evaluations, by schedule", caption)
    for name, one in found.items():
        yield Paragraph(f"`{name}`: the least error over grids, and that grid.")
        yield Figures(Table(["solver", *map(str, SHOWN)], _rows(one["solvers"], "{:.4f}")))
    yield from _grids(found, output)


def _rows(solvers: Mapping[str, Any], form: str) -> list[list[str]]:
    rows = []
    for solver, grids in solvers.items():
        cells = [best(grids, str(budget)) for budget in SHOWN]
        rows.append([f"`{solver}`", *(f"{form.format(figure)} {grid}" for grid, figure in cells)])
    return rows


def _grids(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    """What a grid makes of one solver's error."""
    yield Heading(3, "Grids")
    there = {name: one for name, one in found.items() if name in ("flow", "vp")} or found
    panels = [
        Panel(EVALUATIONS, f"error, {solver}, {name}", {grid: points(line) for grid, line in grids.items()})
        for solver in GRIDS
        for name, one in there.items()
        if (grids := one["solvers"].get(solver))
    ]
    caption = "One solver a row, one line a grid."
    yield Picture(_draw(output, "grids.png", panels), "Error against network evaluations, by grid", caption)
    names = list(dict.fromkeys(grid for one in found.values() for grid in one["solvers"]["ddim"]))
    yield Paragraph("The error in 10 evaluations:")
    rows = [
        [f"`{name}`, `{solver}`", *(f"{grids[grid]['10']:.3f}" if grid in grids else NONE for grid in names)]
        for name, one in found.items()
        for solver in GRIDS
        if (grids := one["solvers"].get(solver))
    ]
    yield Figures(Table(["", *names], rows))


def _adaptive(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    yield Heading(3, "Steps chosen by a tolerance")
    yield Paragraph("`tsit5`, which has no grid: evaluations (a mean over images) and error at three tolerances.")
    there = {name: one for name, one in found.items() if one}
    tolerances = list(next(iter(there.values())))
    rows = [
        [f"`{name}`", *(f"{one[at]['evaluations']:.0f}: {one[at]['error']:.2g}" for at in tolerances)]
        for name, one in there.items()
    ]
    yield Figures(Table(["schedule", *tolerances], rows))


DRAWN = """{draws:,} draws from a mixture of five normals in the plane, again with exact means: the sliced Wasserstein
distance of the draws from the law, each solver with its best grid. As many true draws have {true:.4f} ± {deviation:.4f}
(a standard deviation), so that differences of that size say nothing."""


def _drawn(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    import drawn

    yield Heading(2, "Fresh noise")
    first = next(iter(found.values()))
    told = {"true": first["true_draws"], "deviation": first["true_draws_deviation"]}
    yield _paragraph(DRAWN, draws=drawn.DRAWS, **told)
    panels = [
        Panel(
            EVALUATIONS,
            f"distance, {name}",
            {solver: points(lowest(grids)) for solver, grids in one["solvers"].items()},
            {"true draws": one["true_draws"]},
        )
        for name, one in found.items()
    ]
    yield Picture(
        _draw(output, "drawn.png", panels), "Distance from a law in the plane", "Each solver with its best grid."
    )
    for name, one in found.items():
        yield Paragraph(f"`{name}`: the least distance over grids, and that grid.")
        yield Figures(Table(["solver", *map(str, SHOWN)], _rows(one["solvers"], "{:.4f}")))


ORDERED = """The law of the samples of an Ising model on {space[0]} x {space[1]} pixels (J = {coupling}), with exact
conditionals: its KL divergence from the model in nats, by enumeration. That of `confidence` is counted over {draws:,}
draws, of which true ones have {true:.4f}. With `random`, `raster` and `spread` orders six evaluations are a pixel each,
which is exact."""


def _ordered(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    one = found["ising"]
    yield Heading(2, "Hidden pixels")
    told = {name: one[name] for name in ("draws", "coupling", "space")}
    yield _paragraph(ORDERED, true=one["true_draws"]["kl"], **told)
    arms = {arm: {n: figure["kl"] for n, figure in line.items()} for arm, line in one["arms"].items()}
    seen = {arm: points({n: kl for n, kl in line.items() if kl > LEAST and float(n) > 1}) for arm, line in arms.items()}
    panel = Panel(EVALUATIONS, "KL divergence, nats", seen, {"true draws": one["true_draws"]["kl"]})
    caption = "Exact values below {least} are left out, and so is one evaluation, where all are alike."
    yield Picture(_draw(output, "ordered.png", [panel]), "Divergence from a known table", caption.format(least=LEAST))
    counts = list(max(arms.values(), key=len))
    rows = [[arm, *(f"{line[n]:.4f}" if n in line else NONE for n in counts)] for arm, line in arms.items()]
    yield Figures(Table(["", *counts], rows))


LEAST = 1e-5
"""Divergences below are not drawn."""

TRAINED = """`{name}` ({steps:,} training steps, schedule `{schedule}`): Frechet distance of {count} samples from as
many test images, on the features {features}, one seed. As many training images have {train:.2f} ± {deviation:.2f} (a
standard deviation over subsets). Each solver has the grid that is best for it on the mixture at as many evaluations, of
those that need no network; the estimate is {clip}clipped, as in the run's config. The run's own sampling
({own}): {frechet:.2f} in {evaluations:.0f} evaluations."""


def _trained(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    yield Heading(2, "Trained networks")
    panels = []
    for name, one in found.items():
        lines = {
            solver: points({at["evaluations"]: at["frechet"] for at in line.values()})
            for solver, line in one["solvers"].items()
            if line
        }
        panels.append(Panel(EVALUATIONS, f"Frechet, {name}", lines, {"training images": one["train"]["frechet"]}))
    yield Picture(
        _draw(output, "trained.png", panels), "Frechet distance against network evaluations", "Lower is better."
    )
    for name, one in found.items():
        yield _paragraph(
            TRAINED,
            name=name,
            train=one["train"]["frechet"],
            deviation=one["train"]["frechet_deviation"],
            own=one["own"]["name"],
            frechet=one["own"]["frechet"],
            evaluations=one["own"]["evaluations"],
            **{key: one[key] for key in ("steps", "schedule", "count", "features")},
            clip="" if one["clip"] else "not ",
        )
        rows = [
            [f"`{solver}`", *(f"{line[n]['frechet']:.1f} {line[n]['grid']}" for n in map(str, SHOWN))]
            for solver, line in one["solvers"].items()
            if line
        ]
        yield Figures(Table(["solver", *map(str, SHOWN)], rows))


MEMBERS = """Frechet distances of {count} samples from as many test images by several samplers of one trained network
each: the mean of draws with {seeds} seeds, and their range. Of the digits, on the features {features}; as many training
images have {train:.2f} ± {deviation:.2f} (a standard deviation over subsets). The first of a member is its paper's."""


def _members(found: Mapping[str, Any], output: Path) -> Iterator[Block]:
    yield Heading(2, "What the families take")
    one = next(iter(found.values()))
    line, seeds = one["train"], len(next(iter(one["samplers"].values()))["frechet"])
    yield _paragraph(
        MEMBERS,
        seeds=seeds,
        train=line["frechet"],
        deviation=line["frechet_deviation"],
        **{key: one[key] for key in ("count", "features")},
    )
    rows = []
    for name, member in found.items():
        for sampler, figures in member["samplers"].items():
            each, taken = figures["frechet"], "taken" if figures["own"] else ""
            distance = f"{sum(each) / len(each):.1f} ({min(each):.1f} to {max(each):.1f})"
            rows.append([f"`{name}`", sampler, taken, f"{figures['evaluations']:.0f}", distance])
    yield Figures(Table(["member", "sampler", "", EVALUATIONS, "Frechet"], rows, frozenset({0, 1, 2})))


PARTS = {
    "errors": _errors,
    "adaptive": _adaptive,
    "drawn": _drawn,
    "ordered": _ordered,
    "trained": _trained,
    "members": _members,
}
"""The sections of the page, by what they show."""
