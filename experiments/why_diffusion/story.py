"""The study's report: the central plot of each tier, then its table, curves, pictures, budgets and costs.

Reads run folders and figures only, and needs no JAX. Written for `run.py`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax.errors import UserError
from ddpm_jax.files import write_bytes
from ddpm_jax.reporting import document, html, ledger, lines, plots, tables
from ddpm_jax.reporting.blocks import Block, Bullets, Figures, Heading, Paragraph, Picture, as_markdown
from ddpm_jax.reporting.groups import Estimate, Group, Point, group
from ddpm_jax.reporting.plots import Panel
from ddpm_jax.reporting.tables import Table

HERE = Path(__file__).parent
TITLE = "Why does diffusion work better than autoregression?"
EVALUATIONS = "network evaluations for a sample"
LEAST = 1e-2
"""Smaller divergences are drawn at this height."""
FIRST_OF_NOISE = 3
"""Of two levels, rounding makes a coin of the average that fewer evaluations give: no merit of the network's."""

INTRODUCTION = """A network that must say everything at once says the average, a blur. So information is put back
little by little, and the arms of this study differ in what "little" is: the next pixel, the next block of neighbours,
pixels far apart, a random set of pixels, or a little of the noise on all of them. All else is the same: the
transformer (but for its mask, its head, and whether it is told the time), the data, the training FLOPs, the number of
learning rates tried, and the way of measuring. A U-Net stands beside it where no mask is needed."""

WAYS = {
    "random, raster order": "blocks of neighbours",
    "random, spread order": "blocks of pixels far apart",
    "random": "random sets of pixels",
    "masked": "masked diffusion",
    "x0": "noise (x0)",
    "epsilon": "noise (epsilon)",
    "v": "noise (v)",
    "flow": "noise (flow matching)",
    "v_unet": "noise (v), U-Net",
    "masked_unet": "masked diffusion, U-Net",
    "raster": "pixel by pixel, a chance each",
    "blocks_4": "four neighbours, a network of their own",
    "spread_4": "four far apart, a network of their own",
    "raster_mean": "pixel by pixel, the mean",
    "one_shot": "all at once, the mean",
}
"""The lines of the central plot: arms as reports call them, and what they put back at a time."""

PERFECT = {
    "raster blocks": WAYS["random, raster order"],
    "spread out": WAYS["random, spread order"],
    "random": WAYS["random"],
    "masked": WAYS["masked"],
    "noise, DPM-Solver++": WAYS["x0"],
    "flow, DPM-Solver++": WAYS["flow"],
}
"""The same for perfect predictions."""

WORDS = """The lines of neighbours, of pixels far apart and of random sets are *one and the same network*, trained on
random orders: what is put back together is all that differs."""

ON_THE_LEFT = """On the left no network errs: each way is given *perfect* predictions, so that what is wrong comes from
restoring much at once. Neighbours and far apart are exact there, random sets and masked diffusion a mean over
{orders:,} orders, and noise is counted over {samples:,} samples, so that as many true draws (dotted) are its floor;
values below {least} are drawn there. Noise is drawn from {first} evaluations on: with fewer the estimate is an average
near 0, and rounding it to two levels tosses a coin for it. The means are one picture each, which the rounding makes one
of the two likeliest images."""

CENTRAL = {"known": ("kl", "KL divergence, nats")}
OTHERWISE = ("frechet", "Frechet distance")

TIERS = {
    "known": "Known truth: images of 3x4 from an Ising model, a new one each time",
    "digits": "Digits: a thousand real images of 8x8",
    "mnist": "MNIST: 55,000 images of 28x28",
    "cifar10": "CIFAR-10: 50,000 images of 32x32",
}


LIMITS = {
    "known": """Images are new at every step and their law is known, so that nothing is overfitted (but where draws are
few, in the last table) and all arms compare. But they have 12 pixels of two levels: what differs here
may differ less, or more, in larger ones.""",
    "digits": """What these figures cannot say: there are a thousand training images, seen some forty times by the
transformers and 130 times by the U-Nets, so arms are ranked by how far the budget takes them *and* by
how they resist overfitting, with one choice of dropout for all. Likelihoods are comparable within a
kind. Distances are on features of a small classifier, over 447 images, and differ by several units from
seed to seed. Where one network of any order is sampled in raster order, its line shows both what
restoring neighbours together costs and how rarely such sets of visible pixels were trained on; the arms
with a network of their own, four neighbours and four far apart, are free of the second.""",
}
"""What is to be known before a tier's figures are read."""


def write(runs: Path, tiers: Sequence[str], output: Path, members: Mapping[str, Set[str]]) -> list[str]:
    """Write report.md, report.html and their pictures; gives back notes, and the files to look at.

    `members` are the names of the run folders of each sweep: others, of an earlier version of it, are left out.
    """
    output.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = [Heading(1, TITLE), Paragraph(" ".join(INTRODUCTION.split()))]
    said: list[str] = []
    for tier in tiers:
        groups = _groups(tier, runs, members, said)
        if not groups:
            continue
        blocks += list(_tier(tier, groups, runs, output))
        if (runs / f"{tier}_data").is_dir():
            blocks += list(_data(groups, _groups(f"{tier}_data", runs, members, said)))
    written = {"report.md": as_markdown(blocks), "report.html": html.page(TITLE, blocks, output)}
    for name, content in written.items():
        write_bytes(output / name, content.encode())
    return [*said, *(str(output / name) for name in written)]


def _groups(sweep: str, runs: Path, members: Mapping[str, Set[str]], said: list[str]) -> list[Group]:
    """The runs of a sweep that are done and of its present version; what is to be said of them is added to `said`."""
    try:
        found = ledger.gather([runs / sweep])
    except UserError as error:
        said.append(f"{sweep}: {error}")
        return []
    groups, notes = group([run for run in found.runs if run.folder.name in members[sweep]])
    said += [*found.notes, *notes, *([] if groups else [f"{sweep}: no run of the present sweep is done"])]
    return groups


def _tier(tier: str, groups: Sequence[Group], runs: Path, output: Path) -> Iterator[Block]:
    styles = document.styles(groups)
    section = document.Section(TIERS[tier], groups, output, f"_{tier}", styles)
    yield Heading(2, TIERS[tier])
    yield Paragraph(document.opening(groups))
    if several := document.differences(groups):
        yield Bullets(several)
    if tier in LIMITS:
        yield Paragraph(" ".join(LIMITS[tier].split()))
    rates = _kept(HERE / "learning_rates.json").get(tier)
    if not rates:
        yield Paragraph("*No learning rates have been tried in this tier: all arms have the same.*")
    yield from _central(tier, groups, runs, output)
    for part in document.PARTS:
        yield from (block for block in part(section) if not isinstance(block, Heading))
    if any(run.history for one in groups for run in one.runs):
        yield Paragraph("Checkpoints, in the plot against training FLOPs, are of seed 0.")
    yield from _raw(groups)
    yield from _costs(runs / f"costs_{tier}.json")


def _central(tier: str, groups: Sequence[Group], runs: Path, output: Path) -> Iterator[Block]:
    metric, words = CENTRAL.get(tier, OTHERWISE)
    measured = lines.quality(groups, metric, "network_evaluations_per_sample")
    trained = {title: measured[label] for label, title in WAYS.items() if label in measured}
    kept = _kept(runs / "perfect.json") if tier == "known" else {}
    if kept:
        trained = {title: [at for at in points if at.x >= _least(title)] for title, points in trained.items()}
    perfect = perfect_lines(kept, metric)
    true_draws = {"true draws": kept["references"]["train"][metric]} if kept else {}
    panels = [Panel(EVALUATIONS, f"{words}, perfect predictions", perfect, true_draws)] if perfect else []
    panels.append(Panel(EVALUATIONS, f"{words}, trained networks", trained, document.level(groups, metric)))
    file = plots.draw(output / f"central_{tier}.png", panels, plots.styles(list(dict.fromkeys(WAYS.values()))))
    caption = "Lower is better. " + " ".join(WORDS.split())
    if perfect:
        caption += " " + " ".join(ON_THE_LEFT.split()).format(least=LEAST, first=FIRST_OF_NOISE, **kept)
    yield Picture(file.name, "Quality against the number of network evaluations", caption)


def _kept(path: Path) -> dict[str, Any]:
    """What is in a file that may not be there yet; empty then."""
    return json.loads(path.read_text()) if path.is_file() else {}


def perfect_lines(kept: Mapping[str, Any], metric: str) -> dict[str, list[Point]]:
    """The lines of perfect predictions, by their titles in the central plot."""
    return {
        PERFECT[arm]: [
            Point(float(steps), Estimate(max(at[metric], LEAST), None, 1))
            for steps, at in points.items()
            if float(steps) >= _least(PERFECT[arm])
        ]
        for arm, points in kept.get("arms", {}).items()
        if arm in PERFECT
    }


def _least(title: str) -> int:
    """Network evaluations from which a line of the known law is drawn."""
    return FIRST_OF_NOISE if title.startswith("noise") else 1


def _raw(groups: Sequence[Group]) -> Iterator[Block]:
    """Averaged and raw parameters of the last step, of the runs that have both."""
    rows = []
    for one in groups:
        for run in one.runs:
            raw = run.result.get("raw")
            step = (run.result.get("evaluated") or {}).get("step")
            if raw and step is not None and raw.get("step", run.result.get("steps")) == step:
                rows.append([one.label, *_pair(run.result, raw)])
    if rows:
        yield Paragraph(
            "Averaged parameters (EMA), which all else here uses, beside the raw ones of the same step, seed 0:"
        )
        yield Figures(Table(["", "bits/dim, EMA", "raw", "quality, EMA", "raw"], rows))


def _pair(result: Mapping[str, Any], raw: Mapping[str, Any]) -> list[str]:
    likelihoods = [(result.get("likelihood") or {}).get("test"), raw.get("likelihood")]
    samples = [(result.get("quality") or {}).get("samples") or {}, raw.get("quality") or {}]
    name = "kl" if "kl" in samples[0] else "frechet"
    return [
        *(f"{one['value']:.3f}" if one else tables.NONE for one in likelihoods),
        *(f"{name} {one[name]:.3g}" if one.get(name) is not None else tables.NONE for one in samples),
    ]


def _costs(path: Path) -> Iterator[Block]:
    """What a sample costs: evaluations, FLOPs, seconds at batch 1 and at a large batch."""
    if not path.is_file():
        return
    kept = json.loads(path.read_text())
    rows = [
        [
            arm,
            f"{one['network_evaluations']:g}",
            f"{one['flops']:.2e}",
            f"{1000 * one['seconds_at_batch_1']:.1f}",
            f"{1000 * one['seconds_at_large_batch']:.2f}",
        ]
        for arm, one in kept["arms"].items()
    ]
    yield Paragraph(f"What one sample costs on {kept['device']}, compiled, the median of {kept['repeats']} runs:")
    head = ["", "evaluations", "FLOPs", "ms, batch 1", f"ms a sample, batch {kept['batch']}"]
    yield Figures(Table(head, rows))


def _data(groups: Sequence[Group], fewer: Sequence[Group]) -> Iterator[Block]:
    """Fewer draws of the law, seen more often, at the same training FLOPs."""
    from ddpm_jax.data import ising

    draws = sorted({int(one.label.rpartition(" ")[2]) for one in fewer})
    if not draws:
        return
    images = ising.draws(groups[0].runs[0].config["data.name"], "train")
    different = [len(np.unique(images[:count].reshape(count, -1), axis=0)) for count in draws]
    by_label = {one.label: one for one in [*groups, *fewer]}
    rows = []
    for arm in [one.label for one in groups]:
        cells = [by_label.get(f"{arm} on {count}") for count in draws]
        if any(cells):
            figures = [_cell(one, name) for name in ("bits_per_dimension", "kl") for one in (*cells, by_label[arm])]
            rows.append([arm, *figures])
    titles = [f"{count} draws" for count in draws] + ["new draws"]
    told = ", ".join(
        f"{count} draws ({number} different images)" for count, number in zip(draws, different, strict=True)
    )
    yield Paragraph(
        f"Trained on {told}, or on new draws at every step, with the same training FLOPs; seed 0 where they are few:"
    )
    yield Figures(Table(["", *(f"bits/dim, {title}" for title in titles), *(f"KL, {title}" for title in titles)], rows))


def _cell(one: Group | None, name: str) -> str:
    figure = one.figure(name) if one else None
    return tables.NONE if figure is None else f"{figure.value:.3f}"
