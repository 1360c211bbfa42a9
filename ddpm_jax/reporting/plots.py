"""Plots: panels of lines with bands, one colour a group everywhere, as PNG small enough to be kept in a repository."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ddpm_jax.files import Record, write_bytes
from ddpm_jax.reporting.groups import Point
from ddpm_jax.reporting.png import fitting
from ddpm_jax.runs import fonts

PALETTE = (
    *("#332288", "#CC6677", "#117733", "#88CCEE", "#AA4499"),
    *("#DDCC77", "#44AA99", "#882255", "#999933", "#000000"),
)
"""Paul Tol's muted colours, which those who confuse red and green tell apart, and black."""

MARKERS, DASHES = "osD^vPX<>p", ("-", "--", "-.", ":")
WIDTH, HEIGHT, DOTS = 9.2, 3.7, 120
"""Inches of a plot and of a row of panels; dots an inch."""


@dataclass(frozen=True)
class Style:
    """How a group is drawn: over ten groups share a colour, and differ in the dashes."""

    color: str
    marker: str
    dashes: str
    hollow: bool = False

    def variant(self) -> "Style":
        """For another line of the same group: its colour and marker, hollow and dotted."""
        return replace(self, dashes=":", hollow=True)


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        lines: by label; with a band where there are several seeds.
        levels: horizontal lines to read the others against, by name.
        log: whether x and y are on logarithmic scales, where all values are above zero.
    """

    x: str
    y: str
    lines: Mapping[str, Sequence[Point]]
    levels: Mapping[str, float] = field(default_factory=dict)
    log: tuple[bool, bool] = (True, True)


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each label, which it keeps in all plots of a report."""
    return {
        label: Style(PALETTE[i % 10], MARKERS[(i + i // 10) % 10], DASHES[i // 10 % 4])
        for i, label in enumerate(dict.fromkeys(labels))
    }


def draw(path: Path, panels: Sequence[Panel], known: Mapping[str, Style]) -> Path:
    """A PNG with the panels in rows of two and one legend below. Labels are text, whatever is in them."""
    matplotlib = fonts.quiet_matplotlib()
    from PIL import Image

    with matplotlib.rc_context({"font.family": fonts.FAMILY, "text.parse_math": False, "text.usetex": False}):
        content = _drawn(panels, known)
    with Image.open(content) as image:
        write_bytes(path, fitting(image.convert("RGB")))
    return path


def _drawn(panels: Sequence[Panel], known: Mapping[str, Style]) -> io.BytesIO:
    from matplotlib.figure import Figure

    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    labels = [label for label in known if any(label in panel.lines for panel in panels)]
    shown = [fonts.legible(label) for label in labels]
    entries = max(1, min(4, int(110 / (8 + max(map(len, shown), default=1)))))
    legend_height = 0.24 * -(-len(labels) // entries)
    height = HEIGHT * rows if len(panels) > 1 else 1.25 * HEIGHT
    figure = Figure(figsize=(WIDTH, height + legend_height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in axes[len(panels) :]:
        place.set_axis_off()
    handles: Record = {}
    for place, panel in zip(axes, panels, strict=False):
        handles |= _panel(place, panel, known)
    legend = figure.legend(
        [handles[label] for label in labels],
        [f"{number}" for number in range(len(labels))],  # a label that starts with _ would be left out
        loc="outside lower center",
        ncols=entries,
        frameon=False,
        handlelength=3.2,
    )
    for place, words in zip(legend.get_texts(), shown, strict=True):
        place.set_text(words)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS)
    return content


def _panel(place: Any, panel: Panel, known: Mapping[str, Style]) -> Record:
    """Draw it; gives back the handles of its lines, by label."""
    handles = {}
    for label, style in known.items():
        if not (points := panel.lines.get(label)):
            continue
        x, y = [point.x for point in points], [point.y.value for point in points]
        every = max(1, len(points) // 8)
        (handles[label],) = place.plot(
            *(x, y),
            color=style.color,
            marker=style.marker,
            markerfacecolor="white" if style.hollow else style.color,
            linestyle=style.dashes,
            markevery=every,
            markersize=6,
            linewidth=1.8,
        )
        if any(point.y.spread for point in points):
            low, high = [point.y.low for point in points], [point.y.high for point in points]
            place.fill_between(x, low, high, color=style.color, alpha=0.18, linewidth=0)
    means = [point.y.value for points in panel.lines.values() for point in points] + list(panel.levels.values())
    places = [point.x for points in panel.lines.values() for point in points]
    for axis, log, values in ((place.xaxis, panel.log[0], places), (place.yaxis, panel.log[1], means)):
        if log and values and min(values) > 0 and max(values) > 1.5 * min(values):
            _logarithmic(axis, max(values) / min(values), max(values))
    if means:  # of the means: a wide band must not hide them
        low, high = min(means), max(means)
        if place.get_yscale() == "log":
            place.set_ylim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
        elif high > low:
            place.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    for name, level in panel.levels.items():
        place.axhline(level, color="0.35", linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1)
        place.annotate(
            *(fonts.legible(name), (0.995, level)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="0.25",
            fontsize=10,
        )
    place.set_xlabel(panel.x, fontsize=11)
    place.set_ylabel(panel.y, fontsize=11)
    place.grid(True, which="major", color="0.9", linewidth=0.8)
    place.set_axisbelow(True)
    place.spines[["top", "right"]].set_visible(False)
    return handles


def _logarithmic(axis: Any, ratio: float, most: float) -> None:
    """A logarithmic scale with plain numbers at it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    if axis.axis_name == "x" and ratio < 5000 and most < 5000:  # numbers of evaluations, which are doubled
        axis.set_major_locator(LogLocator(base=2, numticks=14))
    else:
        choices = ((1000, (1.0,)), (60, (1.0, 3.0)), (6, (1.0, 2.0, 5.0)), (0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)))
        axis.set_major_locator(LogLocator(subs=next(subs for above, subs in choices if ratio > above), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    """Such as 300, 1e5 or 1.5e12."""
    return f"{value:g}" if 1e-4 < value < 1e5 else f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
