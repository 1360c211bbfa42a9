"""The closing words of a command: the figures of one run, in lines."""

from collections.abc import Iterable
from pathlib import Path

from ddpm_jax.files import Record

KINDS = {
    "bound": "variational bound",
    "exact": "exact, by the chain rule",
    "ode": "probability-flow ODE, uniform dequantisation",
}
"""What a kind of likelihood is, in words."""


def summary(result: Record, paths: Iterable[Path | str]) -> str:
    """The closing words: the figures that there are, each with its kind, and the files to look at."""
    lines = [
        *_likelihood_lines(result.get("likelihood") or {}),
        *_quality_lines(result.get("quality") or {}),
        *_adherence_lines(result.get("adherence") or {}),
        *_accuracy_lines(result.get("accuracy") or {}),
    ]
    lines.append("look at")
    lines += [f"  {path}" for path in paths]
    return "\n".join(lines)


def _likelihood_lines(likelihood: Record) -> list[str]:
    lines, splits = [], [split for split in ("test", "train") if likelihood.get(split)]
    if splits:
        lines.append(f"bits per dimension ({KINDS[likelihood[splits[0]]['kind']]}; +- standard error)")
        lines += [_figure_line(split, likelihood[split]) for split in splits]
    elif likelihood and "test" not in likelihood:
        lines.append("bits per dimension: none, for the model predicts a point and no probability")
    if ode := likelihood.get("ode"):
        lines.append(f"bits per dimension ({KINDS['ode']})")
        lines.append(_figure_line("test", ode))
    if exact := likelihood.get("in_order"):
        lines.append(f"bits per dimension (exact, {exact['chunk']} at once in {exact['order']} order)")
        lines.append(_figure_line("test", exact))
    if floors := likelihood.get("floors"):
        lines.append("what simple models score on the test images (exact)")
        lines += [_figure_line(name.replace("_", " "), floor) for name, floor in floors.items()]
    return lines


def _quality_lines(quality: Record) -> list[str]:
    if not quality.get("samples"):
        return []
    references = quality.get("references") or {}
    rows = {"samples": quality["samples"], **{name: row for name, row in references.items() if row}}
    lines = []
    if "law" in quality:
        lines.append(f"law of {quality['count']:,} samples against the known law {quality['law']}")
        lines.append(f"  {'':<22}{'KL, nats':>10}{'total variation':>17}{'variance':>10}")
        for name, row in rows.items():
            title = "true draws" if name == "train" else name.replace("_", " ")
            lines.append(f"  {title:<22}{row['kl']:10.4f}{row['total_variation']:17.4f}{row['variance']:10.3f}")
        return lines
    samples, copies = quality["samples"], quality.get("test_copies")
    beside = "" if copies is None else f" (copies among the test images themselves: {copies:.3f})"
    lines.append(
        f"against {quality['count']} test images, on {samples['features']} features {samples['features_hash']}{beside}"
    )
    lines.append(f"  {'':<22}{'Frechet':>8}{'precision':>11}{'recall':>8}{'copies':>8}{'variance':>10}")
    for name, row in rows.items():
        lines.append(
            f"  {name.replace('_', ' '):<22}{row['frechet']:8.2f}{row['precision']:11.3f}"
            f"{row['recall']:8.3f}{row['copies']:8.3f}{row['variance']:10.3f}"
        )
    return lines


def _adherence_lines(adherence: Record) -> list[str]:
    rows = {name.replace("_", " "): row for name, row in adherence.items() if row}
    lines, titles = [], {"unseen": "unseen combinations", "unseen real": "unseen, real"}
    if text := {name: row["text"] for name, row in rows.items() if row.get("text")}:
        columns = list(next(iter(text.values())))
        lines.append("share of pictures that show what was asked, by an oracle")
        lines.append(f"  {'':<22}" + "".join(f"{column:>16}" for column in columns))
        for name, row in text.items():
            lines.append(f"  {titles.get(name, name):<22}" + "".join(f"{row[column]:16.3f}" for column in columns))
    if label := {name: row["label"] for name, row in rows.items() if row.get("label") is not None}:
        lines.append("share of pictures of the class that was asked, by an independent classifier")
        lines += [f"  {titles.get(name, name):<22}{value:8.3f}" for name, value in label.items()]
    return lines


def _accuracy_lines(accuracy: Record) -> list[str]:
    if not accuracy:
        return []
    lines = [f"share of {accuracy['images']:,} test images whose label is told, by sigma/alpha of the noise on them"]
    return lines + [
        f"  {level['noise']:<22.3g}{level['value']:8.3f} +- {level['standard_error']:.3f}"
        for level in accuracy["levels"]
    ]


def _figure_line(name: str, figure: Record) -> str:
    nats = f", {figure['nats']:.2f} +- {figure['nats_standard_error']:.2f} nats" if "nats" in figure else ""
    return f"  {name:<26}{figure['value']:8.3f} +- {figure['standard_error']:.3f}   ({figure['images']} images{nats})"
