"""What the report says, in order: each data set with its table, plots and pictures, then what was published."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ddpm_jax.files import Record
from ddpm_jax.reporting import adherence, lines, plots, settings, strips, tables
from ddpm_jax.reporting.blocks import Block, Bullets, Figures, Heading, Paragraph, Picture
from ddpm_jax.reporting.checks import LAW
from ddpm_jax.reporting.groups import KINDS, Group, several
from ddpm_jax.reporting.markup import quoted
from ddpm_jax.reporting.plots import Panel, Style
from ddpm_jax.reporting.published import beside, data_of
from ddpm_jax.reporting.tables import TRAIN, TRUE_DRAWS

KIND_WORDS = {
    "exact": "*exact* is the likelihood of the discrete pixels by the chain rule",
    "bound": "*bound* is a variational bound on the same likelihood, at or above it",
    "ode": "*ODE* is the likelihood by the probability-flow ODE with uniform dequantisation",
}
IMAGES, FLOPS, EVALUATIONS = "images seen", "training FLOPs", "network evaluations for a sample"
GUIDANCE, ADHERENCE = "guidance weight", "share that shows all that was asked"
GUIDED = {"frechet": "Frechet distance", "recall": "recall", "variance": "variance, that of test images is 1"}
"""What guidance is measured against besides."""


@dataclass(frozen=True)
class Section:
    """One data set in the report: its groups, where its pictures go, and how each group is drawn."""

    name: str
    groups: Sequence[Group]
    folder: Path
    suffix: str
    styles: Mapping[str, Style]

    def plot(self, name: str, panels: Sequence[Panel], title: str, caption: str) -> Iterator[Block]:
        """A plot of the panels in which a line has two points or more; nothing if none has: tables have the rest."""
        if drawn := [panel for panel in panels if any(len(points) > 1 for points in panel.lines.values())]:
            file = plots.draw(self.folder / f"{name}{self.suffix}.png", drawn, self.styles)
            yield Picture(file.name, title, caption)


def compose(
    groups: Sequence[Group],
    notes: Sequence[str],
    published: Sequence[Record],
    title: str,
    folder: Path,
    bar: Callable[[Any], Any] = iter,
) -> list[Block]:
    """The report's blocks. Its plots and pictures are drawn into the folder on the way; `bar` walks over the parts.

    Notes and title are plain text.
    """
    suffixes = endings([one.data for one in groups])
    known = styles(groups)
    blocks: list[Block] = [Heading(1, quoted(title)), Paragraph(opening(groups))]
    if said := [*map(quoted, notes), *differences(groups)]:
        blocks.append(Bullets(said))
    parts: list[tuple[Part, Section]] = []
    for data, there in groupby(groups, key=lambda one: one.data):
        section = Section(data, list(there), folder, suffixes[data], known)
        parts += [(part, section) for part in PARTS]
    for part, section in bar(parts):
        blocks += part(section)
    for data, rows in groupby(sorted(published, key=data_of), key=data_of):
        blocks += _published(data, list(rows), groups)
    return blocks


def endings(names: Sequence[str]) -> dict[str, str]:
    """What the file names of each data set's pictures end in: plain letters, no two alike; nothing if there is one."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        plain = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "data"
        while f"_{plain}" in found.values():
            plain = f"{plain}_{len(found) + 1}"
        found[name] = f"_{plain}"
    return found if len(found) > 1 else dict.fromkeys(found, "")


def styles(groups: Sequence[Group]) -> dict[str, Style]:
    """How each group is drawn, and its samples in other orders."""
    known = plots.styles([one.label for one in groups])
    for one in groups:
        known |= {lines.in_order(one.label, order): known[one.label].variant() for order in lines.other_orders(one)}
    return known


def opening(groups: Sequence[Group]) -> str:
    """How many runs there are, and what stands after a figure."""
    runs, seeds = sum(len(one.runs) for one in groups), {len(one.runs) for one in groups}
    each = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    return (
        f"{_count(runs, 'run')} in {_count(len(groups), 'group')} of {each} seed{'' if seeds == {1} else 's'} each. "
        "Runs of a group differ by their seed only. "
        "After ± stands the half-width of the 95 % t-interval of the mean over seeds, which says how the mean would "
        "change with other seeds; *s.e.* marks a single run's own standard error over test images, which does not say "
        "that."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def differences(groups: Sequence[Group]) -> list[str]:
    """What the runs do not share, in our markup."""
    runs = [run for one in groups for run in one.runs]
    commits = several("the runs were evaluated by different versions of the code", (run.commit[:12] for run in runs))
    devices = several("the runs were trained on different devices", (run.device for run in runs))
    return [quoted(line) for line in (commits, devices) if line]


def _settings(section: Section) -> Iterator[Block]:
    yield Heading(2, quoted(section.name))
    if table := settings.table(section.groups):
        yield Paragraph("What differs between the groups:")
        yield Figures(table)


def _figures(section: Section) -> Iterator[Block]:
    groups, references = section.groups, tables.references(section.groups)
    yield Figures(tables.figures(groups, references))
    names = {name for one in groups for run in one.runs for name in run.figures}
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in groups)]
    if "bits_per_dimension_ode" in names:
        kinds = [*dict.fromkeys([*kinds, "ode"])]
    if kinds:
        yield Paragraph(
            f"Bits per dimension of test images, lower is better: {'; '.join(KIND_WORDS[kind] for kind in kinds)}."
            + (" Groups are ranked within a kind, and kinds not among one another." if len(kinds) > 1 else "")
        )
    if "frechet" in names:
        yield Paragraph(_features(section))
    if names & set(LAW):
        yield Paragraph(
            "KL divergence (nats) and total variation are those of the samples from the law that the data are drawn "
            "from; they are above zero for true draws too." + _counts(groups)
        )
    if references:
        yield Paragraph(
            f"Lines in italics are what {_reference(section)} themselves and simple models score in the same way."
        )


def _details(section: Section) -> Iterator[Block]:
    yield Heading(3, "Sizes, costs and further figures")
    yield Figures(tables.details(section.groups, tables.references(section.groups)))
    devices = {run.device for one in section.groups for run in one.runs}
    if len(devices) == 1:
        yield Paragraph(f"Device: {quoted(devices.pop())}.")


def _counts(groups: Sequence[Group]) -> str:
    """A warning where distances from a law are of different numbers of samples, with which they fall."""
    measured = [run.result.get("quality", {}) for one in groups for run in one.runs]
    found = {quality.get("samples", {}).get("count") for quality in measured if "law" in quality}
    if len(found) < 2:
        return ""
    numbers = ", ".join(f"{count:,}" for count in sorted(filter(None, found)))
    return f" *They fall with the number of samples, which differs here ({numbers}): compare within one number only.*"


def _features(section: Section) -> str:
    found = tables.features(section.groups)
    words = "Frechet distance, precision and recall are on features of this project and not an FID: "
    if len(found) < 2:
        return words + (quoted(next(iter(found))) if found else "unnamed") + "."
    parts = "; ".join(quoted(f"{name} of {', '.join(labels)}") for name, labels in found.items())
    return f"{words}{parts}. *They differ, and distances compare within one of them only.*"


def _quality(section: Section) -> Iterator[Block]:
    band = ", with the 95 % interval over seeds" if any(len(one.runs) > 1 for one in section.groups) else ""
    panels = [
        Panel(axis, words, drawn, level(section.groups, metric))
        for metric, words in lines.PLOTTED.items()
        for axis, drawn in _against(section, metric)
    ]
    caption = f"One line a group over numbers of sampler steps{band}. Lower is better. The dotted line is what "
    caption += f"{_reference(section)} score."
    yield from section.plot("quality", panels, "Quality against the cost of a sample", caption)


def _against(section: Section, metric: str) -> Iterator[tuple[str, lines.Lines]]:
    """Lines of what is measured along sampler steps against evaluations, and against FLOPs where those differ."""
    by_evaluations = lines.quality(section.groups, metric, "network_evaluations_per_sample")
    by_flops = lines.quality(section.groups, metric, "flops_per_sample")
    yield EVALUATIONS, by_evaluations
    if not lines.proportional(by_evaluations, by_flops):
        yield "FLOPs for a sample", by_flops


def _adherence(section: Section) -> Iterator[Block]:
    words = {
        "samples": "The share of pictures that show what was asked, for captions and classes like those of training; "
        f"{adherence.ALL} of it is the adherence above. In italics stands what {tables.REAL} pictures score:",
        "unseen": "The same for captions with a combination that is in no picture of training:",
    }
    for place, said in words.items():
        if table := tables.adherences(section.groups, place):
            yield Paragraph(said)
            yield Figures(table)
    panels = [
        Panel(axis, ADHERENCE, drawn, _real(section), (True, False))
        for axis, drawn in _against(section, lines.ADHERENCE)
    ]
    caption = f"Higher is better. The dotted line is what {tables.REAL} pictures score."
    yield from section.plot("adherence", panels, "What was asked against the cost of a sample", caption)


def _guidance(section: Section) -> Iterator[Block]:
    groups, log = section.groups, (False, False)
    if not lines.guidance(groups, lines.ADHERENCE):  # nothing to set distance and diversity against
        panels = []
        for metric, words in GUIDED.items():
            known = level(groups, metric) if metric != "variance" else {}
            panels.append(Panel(GUIDANCE, words, lines.guidance(groups, metric), known, (False, metric == "frechet")))
        caption = "Weight 1 is the conditional model without guidance, 0 the unconditional one."
        yield from section.plot("guidance", panels, "What guidance changes", caption)
    for metric, words, form in ((lines.ADHERENCE, "What was asked", ".3f"), ("frechet", "Frechet distance", ".2f")):
        if table := tables.guidance(groups, metric, form):
            yield Paragraph(f"{words} by the weight of guidance (1: conditional, 0: unconditional):")
            yield Figures(table)
    panels = [
        Panel(words, ADHERENCE, lines.guidance(groups, lines.ADHERENCE, metric), _real(section), log)
        for metric, words in GUIDED.items()
    ]
    weights = sorted({at["guidance"] for one in groups for run in one.runs for at in lines.guided(run)})
    marks = ", ".join(f"{weight:g}" for weight in weights)
    caption = f"Along a line the weight of guidance rises; marks are at {marks}. Without intervals."
    yield from section.plot("guidance", panels, "What guidance brings and what it costs", caption)


def _real(section: Section) -> dict[str, float]:
    """What the data's own pictures score, as a level; empty where that is not known."""
    found = tables.real(section.groups)
    value = found.get(adherence.ALL, found.get(adherence.CLASS))
    return {} if value is None else {tables.REAL: value}


def level(groups: Sequence[Group], metric: str) -> dict[str, float]:
    """What perfect samples score, by their name; empty where that is not known."""
    references = tables.references(groups)
    line = references.get(TRAIN) or references.get(TRUE_DRAWS) or {}
    name = TRUE_DRAWS if TRUE_DRAWS in references else "training images"
    return {name: float(line[metric])} if line.get(metric) else {}


def _reference(section: Section) -> str:
    return TRUE_DRAWS if TRUE_DRAWS in tables.references(section.groups) else "training images"


def _samples(section: Section) -> Iterator[Block]:
    yield from _strip(section, "samples", strips.samples, "Samples", "A row a group, not chosen.")


def _films(section: Section) -> Iterator[Block]:
    caption = "From left to right: what the sampler has; below it the network's estimate of the clean image."
    yield from _strip(section, "films", strips.films, "How a sample comes about", caption)


def _strip(
    section: Section, name: str, draw: Callable[[Path, Sequence[Group]], list[str]], title: str, caption: str
) -> Iterator[Block]:
    file = f"{name}{section.suffix}.png"
    if shown := draw(section.folder / file, section.groups):
        missing = [one.label for one in section.groups if one.label not in shown]
        yield Picture(file, title, caption + (f" No picture of: {', '.join(map(quoted, missing))}." if missing else ""))


def _history(section: Section) -> Iterator[Block]:
    groups = section.groups
    panels = []
    for kind in KINDS:
        drawn = lines.history_of_likelihood(groups, kind)
        values = [point.y.value for points in drawn.values() for point in points]
        far_apart = bool(values) and min(values) > 0 and max(values) > 4 * min(values)
        panels.append(Panel(FLOPS, f"bits/dim, {kind}", drawn, log=(True, far_apart)))
    panels += [
        Panel(FLOPS, words, lines.history(groups, metric), level(section.groups, metric))
        for metric, words in lines.PLOTTED.items()
    ]
    caption = "Figures of the kept checkpoints. Kinds of likelihood have panels of their own."
    yield from section.plot("history", panels, "Likelihood and quality against training FLOPs", caption)


def _training(section: Section) -> Iterator[Block]:
    panels = []
    for name, words in (("loss", "training loss"), ("validation_loss", "validation loss")):
        by_images = lines.training(section.groups, name, "images_seen")
        by_flops = lines.training(section.groups, name, "training_flops")
        panels.append(Panel(IMAGES, words, by_images))
        if not lines.proportional(by_images, by_flops):
            panels.append(Panel(FLOPS, words, by_flops))
    caption = "Each group's own loss: losses of different objectives do not compare."
    yield from section.plot("training", panels, "Training", caption)


def _published(data: str, rows: Sequence[Record], groups: Sequence[Group]) -> Iterator[Block]:
    table = beside(rows, groups)
    found = sum(line[table.head.index("ours")] != tables.NONE for line in table.rows)
    yield Heading(2, f"Published figures: {quoted(data)}")
    yield Paragraph(
        "Others' numbers, each with its source and its conditions. "
        + (
            f"Beside {found} of them is our figure of the same model, data and kind; read the conditions before "
            "comparing. An FID has none beside it, for it is on other features."
            if found
            else "No run here has the same model, data and kind: nothing stands beside them."
        )
    )
    yield Figures(table)


Part = Callable[[Section], Iterator[Block]]
PARTS: tuple[Part, ...] = (
    *(_settings, _samples, _figures, _adherence, _quality, _guidance, _films, _history, _training, _details),
)
"""What is said of a data set, in order."""
