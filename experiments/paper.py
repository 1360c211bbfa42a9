"""A paper's experiment: what to run, what it claims, and our figures beside the published ones.

    python experiments/paper.py ddpm_2020                          # what there is, on the digits
    python experiments/paper.py ddpm_2020 --train --seeds=3        # train what is missing first
    python experiments/paper.py ddpm_2020 --tier=cifar10           # beside the published figures

An experiment is a folder with an experiment.json: tiers with their members (a config and overrides), which published
figures belong to which member and how near ours should come, and claims of the paper as pairs of our figures of which
one is to be lower. A member's run is runs/TIER_MEMBER, those of further seeds runs/TIER_MEMBER_seed1 and so on; each is
trained by the train command in a process of its own, and resumed where it was cut off. Where no run is there, figures
kept in experiments/families/TIER.json, and of members with overrides in the experiment's own TIER.json, are shown
instead, and said to be.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from families import table as families

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import write_bytes, write_json
from ddpm_jax.reporting import published
from ddpm_jax.reporting.groups import estimate
from ddpm_jax.reporting.ledger import Figure, kept
from ddpm_jax.reporting.tables import NONE, Table, cell, markdown

HERE = Path(__file__).parent
FORMATS = {"likelihood": ".3f", "ode": ".3f", "frechet": ".2f", "precision": ".3f", "recall": ".3f"}
LIKELIHOODS = ("likelihood", "ode", "in_order")


@dataclass(frozen=True)
class Member:
    """What our runs of a member say.

    Attributes:
        rows: one a seed, as `reporting.ledger.kept` has them.
        source: `runs`, or `kept` for figures that are in this repository without the run.
    """

    rows: Sequence[Mapping[str, Any]]
    source: str

    def figures(self, name: str) -> list[Figure]:
        """One a run that has it."""
        found = [row[name] for row in self.rows if row.get(name) is not None]
        if name in LIKELIHOODS:
            return [Figure(one["value"], one["standard_error"]) for one in found]
        return [Figure(value) for value in found]

    @property
    def kind(self) -> str:
        """Of the likelihood."""
        return next((row["likelihood"]["kind"] for row in self.rows if row["likelihood"]), NONE)


def names() -> list[str]:
    """The experiments there are."""
    return sorted(path.parent.name for path in HERE.glob("*/experiment.json"))


def load(name: str, tier: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An experiment, and its tier of that name.

    Raises:
        UserError: there is none.
    """
    if name not in names():
        raise UserError(f"there is no experiment {name}; {nearest(name, names())}")
    experiment = json.loads((HERE / name / "experiment.json").read_text())
    if tier not in experiment["tiers"]:
        raise UserError(f"--tier: {name} has no tier {tier}; {nearest(tier, experiment['tiers'])}")
    return experiment, experiment["tiers"][tier]


def jobs(tier: str, members: Mapping[str, Any], runs: Path, seeds: int) -> dict[str, tuple[Path, list[str]]]:
    """The run's folder and the options of the train command of each member and seed."""
    found = {}
    for name, member in members.items():
        overrides = [f"--config.{key}={value}" for key, value in member.get("overrides", {}).items()]
        for seed in range(seeds):
            label = f"{name}_seed{seed}" if seed else name
            options = [f"--config={member['config']}", *overrides, *([f"--config.seed={seed}"] if seed else [])]
            found[label] = (runs / f"{tier}_{label}", options)
    return found


def kept_rows(folder: str, tier: str) -> dict[str, Any]:
    """The figures in `experiments/FOLDER/TIER.json`, by member; none where there is no such file."""
    path = HERE / folder / f"{tier}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def figures(experiment: str, tier: str, members: Mapping[str, Any], runs: Path | None) -> dict[str, Member]:
    """Our figures of the members that have some: of all their seeds in the runs, if given, else those that are kept."""
    there, own = kept_rows("families", tier), kept_rows(experiment, tier)
    found = {}
    for name, member in members.items():
        rows = rows_of(f"{tier}_{name}", runs) if runs else []
        if rows:
            found[name] = Member(rows, "runs")
        elif name in own:
            found[name] = Member(own[name], "kept")
        elif name in there and not member.get("overrides"):
            found[name] = Member([there[name]], "kept")
    return found


def rows_of(name: str, runs: Path) -> list[dict[str, Any]]:
    """The figures of a member's runs, `name` and `name_seed1` and so on; a seed counts once."""
    more = [path for path in sorted(runs.glob(f"{name}_seed*")) if path.name[len(name) + 5 :].isdecimal()]
    results = [result for folder in (runs / name, *more) if (result := families.figures(folder)) is not None]
    rows = {row["seed"]: row for row in map(kept, reversed(results))}
    return [rows[seed] for seed in sorted(rows)]


def keep(experiment: str, tier: str, members: Mapping[str, Any], runs: Path) -> None:
    """Keep the figures that the runs have of members with overrides, which no other experiment has."""
    own = kept_rows(experiment, tier)
    for name, one in figures(experiment, tier, members, runs).items():
        if one.source == "runs" and members[name].get("overrides"):
            own[name] = one.rows
    if own:
        write_json(HERE / experiment / f"{tier}.json", own)


def ours(members: Mapping[str, Any], found: Mapping[str, Member]) -> Table:
    """Our figures, a line a member; those that were not run say so."""
    head = ("member", "bits/dim", "kind", "bits/dim, ODE", "Frechet", "evaluations", "steps", "seeds", "figures from")
    lines = []
    for name in members:
        if name not in found:
            lines.append((name, *[NONE] * 7, "not run"))
            continue
        one, first = found[name], found[name].rows[0]
        bits = [cell(estimate(one.figures(kind)), ".3f") for kind in ("likelihood", "ode")]
        frechet = cell(estimate(one.figures("frechet")), ".2f")
        seeds = " ".join(str(row["seed"]) for row in one.rows)
        costs = (f"{first['evaluations']:.4g}", f"{first['steps']:,}")
        lines.append((name, bits[0], one.kind, bits[1], frechet, *costs, seeds, one.source))
    return Table(head, lines)


def difference(
    lower: Sequence[Figure], higher: Sequence[Figure], deviation: Mapping[str, float] | None
) -> tuple[float, float | None, str]:
    """The second mean less the first, the half-width of its 95 % interval, and what that covers.

    With two seeds or more on both sides it is Welch's, over seeds; with several on one side Student's, as if the single
    run of the other differed as much. Else it is made of the runs' own standard errors, or of `deviation`, how much one
    run differs from another, where that is known, as `{"value": deviation, "runs": from how many}` and with the t
    quantile of so many; None where neither is.
    """
    a, b = ([figure.value for figure in side] for side in (lower, higher))
    gap = statistics.fmean(b) - statistics.fmean(a)
    if max(len(a), len(b)) > 1:
        from scipy.stats import ttest_ind

        interval = ttest_ind(b, a, equal_var=min(len(a), len(b)) == 1).confidence_interval(0.95)
        return gap, float(interval.high - interval.low) / 2, "over seeds"
    if deviation is not None:
        from scipy.special import stdtrit

        quantile = float(stdtrit(deviation["runs"] - 1, 0.975))
        return gap, quantile * math.sqrt(2) * deviation["value"], f"from what {deviation['runs']} runs differ by"
    errors = [side[0].error for side in (lower, higher)]
    if any(error is None for error in errors):
        return gap, None, "unknown"
    return gap, 1.96 * math.hypot(*(error for error in errors if error is not None)), "over test images"


def verdict(gap: float, half_width: float | None, seeds: int) -> str:
    """Whether our figures show what the paper says; of one seed each it is of these runs, not of the methods."""
    if half_width is None or not abs(gap) > half_width:
        return "cannot be told"
    return ("shown" if gap > 0 else "the contrary") + (" (one seed)" if seeds < 2 else "")


def claims(experiment: Mapping[str, Any], found: Mapping[str, Member]) -> Table:
    """Each claim of the paper with our figures of which the first is to be lower, and whether it is."""
    head = ("claim", "source", "should be lower", "should be higher", "difference", "interval", "our figures", "note")
    lines = []
    for claim in experiment["claims"]:
        sides = [(name, figure, found.get(name)) for name, figure in (claim["lower"], claim["higher"])]
        measured = [member.figures(figure) if member else [] for _, figure, member in sides]
        cells = []
        for (name, figure, _), values in zip(sides, measured, strict=True):
            mean = estimate(values)
            cells.append(f"{name}: {figure} {mean.value:{FORMATS[figure]}}" if mean else f"{name}: {figure}, not run")
        said = (NONE, NONE, "not run")
        if all(measured):
            deviation = experiment["deviations"].get(claim["lower"][1])
            gap, half_width, words = difference(measured[0], measured[1], deviation)
            width = "unknown" if half_width is None else f"± {half_width:.3f} {words}"
            said = (f"{gap:+.3f}", width, verdict(gap, half_width, min(map(len, measured))))
        lines.append((claim["claim"], claim["source"], *cells, *said, claim["note"]))
    return Table(head, lines, frozenset({0, 1, 2, 3, 5, 6, 7}))


def beside(experiment: Mapping[str, Any], tier: str, found: Mapping[str, Member]) -> Table:
    """The published figures of the tier's data, ours, and whether ours are as near as they should be.

    Another kind of likelihood, another split or features that are not Inception's are not compared.
    """
    head = ("member", "metric", "published", "ours", "verdict", "paper", "source", "tolerance")
    lines = []
    for entry in experiment["published"]:
        rows = published.read([str(HERE / "published" / entry["file"])])
        chosen = [row for row in rows if all(row.get(key) == value for key, value in entry["where"].items())]
        for row in chosen:
            if published.data_of(row) == tier:
                metric = " ".join(filter(None, (row["metric"].replace("_", " "), row["kind"], row.get("split"))))
                mean, said = compared(row, entry, found.get(entry["member"]))
                tolerance = f"{entry['tolerance']}: {entry['why']}" if entry["tolerance"] else NONE
                values = (f"{row['value']:g}", cell(mean, ".3f"), said)
                lines.append((entry["member"], metric, *values, row["paper"], row["source"], tolerance))
    return Table(head, lines, frozenset({0, 1, 4, 5, 6, 7}))


def compared(row: Mapping[str, Any], entry: Mapping[str, Any], member: Member | None) -> tuple[Any, str]:
    """Our figure of a published one, or None, and what is to be said of it."""
    if row["metric"] != "bits_per_dimension":
        return None, "not comparable: other features"
    if member is None:
        return None, "not run"
    mean = estimate(member.figures("ode" if row["kind"] == "ode" else "likelihood"))
    if mean is None or (row["kind"] != "ode" and member.kind != row["kind"]) or row["split"] != "test":
        return None, "not comparable: another kind or split"
    gap = mean.value - row["value"]
    return mean, ("as near as it should be" if abs(gap) <= entry["tolerance"] else f"off by {gap:+.3f}")


def report(name: str, tier: str, experiment: Mapping[str, Any], members: Mapping[str, Any], runs: Path | None) -> str:
    """All there is to say, as Markdown."""
    found = figures(name, tier, members, runs)
    parts = [f"# {name}, {tier} tier", experiment["paper"], "## Our figures", markdown(ours(members, found))]
    if tier == "digits":
        parts += [
            "## What the paper claims, and whether our figures on the digits show it",
            "A claim is a pair of our figures. It is *shown*, or *the contrary* is, where the 95 % interval of their "
            "difference leaves out zero. Intervals over test images say nothing of other seeds. None of these figures "
            "compares with a published one: the data are others.",
            markdown(claims(experiment, found)),
        ]
    elif (table := beside(experiment, tier, found)).rows:
        parts += ["## Beside the published figures", markdown(table)]
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/paper.py", description=__doc__)
    parser.add_argument("experiment", metavar="EXPERIMENT", help=f"one of {', '.join(names())}")
    parser.add_argument("--tier", metavar="NAME", default="digits", help="digits (anywhere) or cifar10 (GPUs)")
    parser.add_argument("--runs", metavar="DIR", default="runs", help="where the runs are (runs)")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="to train of each member (1)")
    parser.add_argument("--train", action="store_true", help="train and evaluate the members that are not, first")
    parser.add_argument(
        "--keep", action="store_true", help="keep figures, and the report of all that are kept, in its folder"
    )
    options = commands.parse(parser, arguments)
    if options.seeds < 1:
        raise UserError(f"--seeds: {options.seeds} is less than 1")
    experiment, tier = load(options.experiment, options.tier)
    runs, failed = Path(options.runs), []
    if options.train:
        print(f"needs {tier['needs']}", flush=True)
        failed = families.train(jobs(options.tier, tier["members"], runs, options.seeds))
    words = report(options.experiment, options.tier, experiment, tier["members"], runs)
    print(words)
    if options.keep:
        keep(options.experiment, options.tier, tier["members"], runs)
        words = report(options.experiment, options.tier, experiment, tier["members"], None)
        write_bytes(HERE / options.experiment / f"{options.tier}.md", f"{words}\n".encode())
    found = figures(options.experiment, options.tier, tier["members"], runs)
    missing = [name for name in tier["members"] if name not in found]
    if missing:
        print(f"\nnot run: {', '.join(missing)}; --train trains what is missing ({tier['needs']})")
    if failed:
        raise UserError(f"{', '.join(failed)} failed; the lines above say why")


if __name__ == "__main__":
    commands.run(main)
