"""The ledger: every run found in some folders, with its figures as plain numbers.

A run is a folder with a `config.json`. All that is read of one is checked here (`checks`): what is not as a run writes
it is left out and named, in one line a run, and the rest goes on.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ddpm_jax import files
from ddpm_jax.config.base import base
from ddpm_jax.config.identity import AFTER_TRAINING, SAME_RESULT, flatten, of_today, within
from ddpm_jax.errors import UserError
from ddpm_jax.files import Record
from ddpm_jax.reporting import adherence, checks, images
from ddpm_jax.reporting.checks import LAW, QUALITY
from ddpm_jax.runs import CONFIG, METRICS, RESULT
from ddpm_jax.runs.lineage import EXTENDED, STARTED
from ddpm_jax.runs.shown import clean

LIKELIHOODS = {
    "test": "bits_per_dimension",
    "ode": "bits_per_dimension_ode",
    "in_order": "bits_per_dimension_in_order",
}
"""Likelihoods of test images as `result.json` names them, and what the ledger calls them."""


@dataclass(frozen=True)
class Figure:
    """A number of one run, with the standard error that the run itself knows, over test images; None: it knows none."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class Run:
    """A run that has a result.

    Attributes:
        config: dotted keys and values; keys that the run's version did not have are at the base config's values. Runs
            that began with another's weights, or were made longer, have a word for that beside them.
        result: what reports read of its `result.json` (`checks.RESULT`).
        figures: by name; what a run has not measured is not there.
        kind: of its likelihood: `exact`, `bound` or `ode`; None where it has none.
        curve: quality against numbers of sampler steps, in one or several orders, and against guidance, as
            `result.json` has it.
        history: figures of its checkpoints, as `result.json` has it.
        log: the losses in `metrics.jsonl`, a row a step.
        faults: what of its `result.json` and `metrics.jsonl` is not as a run writes it, and is left out.
    """

    folder: Path
    config: Record
    result: Record
    figures: Mapping[str, Figure]
    kind: str | None
    curve: Sequence[Record] = ()
    history: Sequence[Record] = ()
    log: Sequence[Record] = ()
    faults: Sequence[str] = ()

    @property
    def seed(self) -> int:
        """Of its config."""
        return self.config["seed"]

    @property
    def order(self) -> str:
        """In which its sampler reveals hidden sites, if not in the process's own; else empty."""
        return self.config.get("sampler.order", "")

    @property
    def device(self) -> str:
        """What it was trained on."""
        device = self.result.get("device", {})
        count = device.get("count", 1)
        return f"{device.get('kind', 'unknown')}" + (f" x {count}" if count != 1 else "")

    @property
    def commit(self) -> str:
        """The code that evaluated it, else that trained it."""
        evaluated = self.result.get("evaluated", {}).get("git_commit")
        return evaluated or self.result.get("git_commit") or "unknown"

    @property
    def evaluated(self) -> bool:
        """Whether there is any figure besides costs."""
        return self.kind is not None or any(name in self.figures for name in (*QUALITY, *LAW))


@dataclass(frozen=True)
class Ledger:
    """Runs in the order in which they were found, and lines on what is not among them."""

    runs: list[Run]
    notes: list[str] = field(default_factory=list)


class Unread(ValueError):
    """A run that has nothing to report; says which file is the reason, and what is wrong with it."""


def check(place: Path) -> None:
    """Raise UserError if there is no such folder."""
    if not os.path.isdir(place):
        raise UserError(f"{clean(place, 300)}: there is no such folder; give folders of runs, such as runs/")


def find(places: Sequence[Path], notes: list[str] | None = None) -> list[Path]:
    """All run folders that are among the places or below them, each once. Folders that do not open are noted.

    Raises:
        UserError: a place is not there, or has no run.
    """
    unopened: list[str] = [] if notes is None else notes
    found: dict[str, Path] = {}

    def closed(error: OSError) -> None:
        unopened.append(f"{clean(error.filename)} is left out: it cannot be opened ({error.strerror})")

    for place in places:
        check(place)
        below: list[Path] = []
        for folder, inside, names in os.walk(place, onerror=closed):
            if {CONFIG, RESULT} & {*inside, *names}:  # a run that lost one of them is a run
                below.append(Path(folder))
                inside.clear()  # checkpoints and the like
            inside.sort()
        if not below:
            reason = unopened[-1] if unopened else f"there is no {CONFIG} in it or below it"
            raise UserError(f"{clean(place, 300)} holds no run ({reason})")
        for run in below:
            found.setdefault(os.path.realpath(run), run)
    return list(found.values())


def gather(places: Sequence[Path]) -> Ledger:
    """The ledger of all runs in the places.

    Raises:
        UserError: a place is not there or has no run, or no run has a result that reads.
    """
    ledger = Ledger([])
    for folder in find(places, ledger.notes):
        name = clean(folder)
        try:
            run = read(folder)
        except Unread as error:
            ledger.notes.append(f"{name} is left out: {error}")
            continue
        ledger.runs.append(run)
        said = ""
        if not run.evaluated:
            said = " is not evaluated: only its costs and its losses are shown"
        elif run.result.get("finished") is False or ("curve" in run.result and not run.result.get("finished")):
            said = " is not finished: shown is what it has so far"
        reasons = [f"{key} is not computed ({why})" for key, why in run.result.get("not_computed", {}).items()]
        if faults := [*origins(run.result), *run.faults, *images.faults(folder), *reasons]:
            said += f"{';' if said else ':'} {'; '.join(faults)}"
        if said:
            ledger.notes.append(clean(f"{name}{said}"))
    if not ledger.runs:
        raise UserError(f"no run has a result to report: {_few(ledger.notes, '; ')}")
    return ledger


def read(folder: Path) -> Run:
    """One run. What of it is not as a run writes it is left out, and among its faults.

    Raises:
        Unread: its config or its result does not read, or is not as it was written.
    """
    faults: list[str] = []
    content, written = _record(folder, RESULT), _record(folder, CONFIG)
    config, first = _settings(content.get("config"), RESULT), _settings(written, CONFIG)
    if different := [key for key in first if key in config and config[key] != first[key] and not _may_differ(key)]:
        faults.append(f"{CONFIG} is not the config in {RESULT}, which is shown ({_few(different)})")
    odd: list[str] = []
    result = checks.take(checks.RESULT, content, "", odd)
    if odd:
        faults.append(f"{RESULT}: {_few(odd)}")
    log = _log(folder, result.get("steps", 0), faults)
    curve, likelihood = result.get("curve", []), result.get("likelihood", {})
    test = likelihood.get("test")
    return Run(
        folder=folder,
        config={**_defaults(), **config, **_as_settings(result)},
        result=result,
        figures=_figures(result, likelihood, curve),
        kind=test["kind"] if test else None,
        curve=curve,
        history=result.get("history", []),
        log=log,
        faults=faults,
    )


def origins(result: Record) -> list[str]:
    """Where the first weights are from, and how the run was made longer, in words."""
    found = []
    if start := result.get(STARTED):
        found.append(f"begins with the weights of step {start['step']} of {start['run']} ({start.get('weights', '?')})")
    return found + [f"was made longer at step {one['step']} ({one['changes']})" for one in result.get(EXTENDED, [])]


def _as_settings(result: Record) -> Record:
    """The same as what tells a run from others of its config, which it is no twin of."""
    found: Record = {}
    if start := result.get(STARTED):
        found[STARTED] = f"step {start['step']}, {start.get('weights', '?')}"
    if longer := result.get(EXTENDED):
        found[EXTENDED] = "; ".join(f"at step {one['step']}: {one['changes']}" for one in longer)
    return found


def _figures(result: Record, likelihood: Record, curve: Sequence[Record]) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for name, ours in LIKELIHOODS.items():
        if figure := likelihood.get(name):
            found[ours] = Figure(figure["value"], figure.get("standard_error"))
            if "nats" in figure:
                nats = ours.replace("bits_per_dimension", "nats")
                found[nats] = Figure(figure["nats"], figure.get("nats_standard_error"))
    samples = result.get("quality", {}).get("samples", {})
    for name in (*LAW, *QUALITY):
        if name in samples:
            found[name] = Figure(samples[name], samples.get(f"{name}_standard_error"))
    found |= {name: Figure(value) for name, value in adherence.figures(result.get("adherence", {})).items()}
    costs = {
        "evaluations": result.get("sampling", {}).get("network_evaluations_per_sample"),
        "flops_per_sample": curve[0].get("flops_per_sample") if curve else None,  # the first is the config's own
        **{name: result.get(name) for name in ("steps", "images_seen", "parameters", "training_flops")},
    }
    return found | {name: Figure(float(value)) for name, value in costs.items() if value is not None}


def kept(result: Record) -> Record:
    """What a table of members keeps of an evaluated result, as data; a figure that is null stays so.

    Raises:
        KeyError: the result is not evaluated.
    """
    likelihood, samples = result["likelihood"] or {}, (result["quality"] or {}).get("samples") or {}
    sampling = result["sampling"] or {}
    names = ("value", "standard_error", "kind", "images", "dequantisation", "draws")

    def figure(name: str) -> Record | None:
        return {key: likelihood[name][key] for key in names} if likelihood.get(name) else None

    return {
        "likelihood": figure("test"),
        "ode": figure("ode"),
        "in_order": figure("in_order"),
        **{name: samples.get(name) for name in QUALITY},
        "sampler": result["config"]["sampler"]["name"],
        "evaluations": sampling.get("network_evaluations_per_sample"),
        "weights": sampling.get("weights"),
        "steps": result["steps"],
        "parameters": result["parameters"],
        "seed": result["seed"],
        "trained_at_commit": result.get("git_commit"),
        "evaluated_at_commit": result["evaluated"].get("git_commit"),
        "device": result.get("device"),
    }


@cache
def _defaults() -> Record:
    return files.from_json(files.to_json(flatten(base())))  # tuples become lists, as in a result


def _may_differ(key: str) -> bool:
    """Whether a finished run may be evaluated with another value than it was trained with."""
    return within(key, (*SAME_RESULT, *AFTER_TRAINING))


def _record(folder: Path, name: str) -> Record:
    """The object in a file of a run, which may carry a checksum."""
    path = folder / name
    try:
        if os.path.lexists(path) and not path.is_file():  # a pipe would never end
            raise Unread(f"{name} cannot be read (it is not a file)")
        return files.read_record(path)
    except FileNotFoundError as error:
        raise Unread(f"it has no {name}" + (" yet" if name == RESULT else "")) from error
    except OSError as error:
        raise Unread(f"{name} cannot be read ({error.strerror})") from error
    except Unread:
        raise
    except ValueError as error:
        raise Unread(f"{name} is damaged ({clean(error, 100)})") from error


def _settings(config: Any, name: str) -> Record:
    try:
        found = dict(of_today(key, value) for key, value in checks.settings(config).items())
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    except ValueError as error:
        raise Unread(f"{name} is damaged ({error})") from error


def _log(folder: Path, steps: int, faults: list[str]) -> list[Record]:
    """The rows of a log, those of one step put together; the last counts, for a resumed run writes some anew."""
    path = folder / METRICS
    try:
        if os.path.lexists(path) and not path.is_file():
            raise OSError(0, "it is not a file")
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        if steps:
            faults.append(f"{METRICS} is not there: no losses are shown")
        return []
    except OSError as error:
        faults.append(f"{METRICS} cannot be read ({error.strerror})")
        return []
    rows: dict[int, Record] = {}
    odd, unread = [], 0
    for number, line in enumerate(lines, 1):
        try:
            content = files.from_json(line) if line.strip() else None
        except ValueError:
            unread += not (number == len(lines) and line.startswith(b"{"))  # what is being written is cut off
            continue
        row = checks.take(checks.ROW, content, f"line {number}", odd)
        if row:
            rows.setdefault(row["step"], {}).update(row)
    if unread:
        odd.insert(0, f"{unread} of {len(lines)} lines do not read")
    if steps and not rows:
        odd.insert(0, "there is no row")
    if odd:
        faults.append(f"{METRICS}: {_few(odd)}")
    return [rows[step] for step in sorted(rows)]


def _few(words: Sequence[str], between: str = ", ", most: int = 4) -> str:
    """The first of many, and how many there are besides."""
    return between.join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
