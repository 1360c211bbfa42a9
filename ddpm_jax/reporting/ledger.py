"""The ledger: every run found in some folders, with its figures as plain numbers.

A run is a folder with a `config.json`; its `result.json` and `metrics.jsonl` are read as they are. A run that is not
done, or whose result does not read, is named in the notes and left out; the rest goes on.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ddpm_jax import configuration
from ddpm_jax.base import base
from ddpm_jax.errors import UserError
from ddpm_jax.runs import CONFIG, RESULT

QUALITY = ("frechet", "precision", "recall", "copies", "variance")
"""Figures of samples against test images."""

LAW = ("kl", "total_variation")
"""Figures of samples of data whose law is known."""

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
        config: dotted keys and values; keys that the run's version did not have are at the base config's values.
        figures: by name; what a run has not measured is not there.
        kind: of its likelihood: `exact`, `bound` or `ode`; None where it has none.
        curve: quality against numbers of sampler steps, in one or several orders, as `result.json` has it.
        history: figures of its checkpoints, as `result.json` has it.
        log: rows of `metrics.jsonl`, one a step.
        strange: names of figures that are not finite numbers.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    figures: Mapping[str, Figure]
    kind: str | None
    curve: Sequence[Mapping[str, Any]] = ()
    history: Sequence[Mapping[str, Any]] = ()
    log: Sequence[Mapping[str, Any]] = ()
    strange: Sequence[str] = ()

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
        device = self.result.get("device") or {}
        count = device.get("count", 1)
        return f"{device.get('kind', 'unknown')}" + (f" x {count}" if count != 1 else "")

    @property
    def commit(self) -> str:
        """The code that evaluated it, else that trained it."""
        evaluated = (self.result.get("evaluated") or {}).get("git_commit")
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


def find(places: Sequence[Path]) -> list[Path]:
    """All run folders that are among the places or below them, each once.

    Raises:
        UserError: a place is not there, or has no run.
    """
    found: dict[Path, Path] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place}: there is no such folder; give folders of runs, such as runs/")
        below = []
        for folder, inside, files in os.walk(place):
            if CONFIG in files:
                below.append(Path(folder))
                inside.clear()  # checkpoints and the like
            inside.sort()
        if not below:
            raise UserError(f"{place} holds no run (there is no {CONFIG} in it or below it)")
        for run in below:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def gather(places: Sequence[Path]) -> Ledger:
    """The ledger of all runs in the places.

    Raises:
        UserError: a place is not there or has no run, or no run has a result that reads.
    """
    ledger = Ledger([])
    for folder in find(places):
        try:
            run = read(folder)
        except FileNotFoundError:
            ledger.notes.append(f"{folder} is left out: it has no {RESULT} yet")
            continue
        except OSError as error:
            ledger.notes.append(f"{folder} is left out: {RESULT} cannot be read ({error.strerror})")
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            ledger.notes.append(f"{folder} is left out: {RESULT} is damaged ({_words(error)})")
            continue
        ledger.runs.append(run)
        if not run.evaluated:
            ledger.notes.append(f"{folder} is not evaluated: only its costs and its losses are shown")
        elif "curve" in run.result and not run.result.get("finished"):  # older versions say nothing of it
            ledger.notes.append(f"{folder} is not finished: shown is what it has so far")
        if run.strange:
            ledger.notes.append(f"{folder}: not a finite number, and left out: {', '.join(run.strange)}")
    if not ledger.runs:
        raise UserError(f"no run has a result to report: {'; '.join(ledger.notes)}")
    return ledger


def read(folder: Path) -> Run:
    """One run.

    Raises:
        OSError: there is no result, or it cannot be read.
        ValueError, KeyError, TypeError, AttributeError: the result is not what a run writes.
    """
    result = json.loads((folder / RESULT).read_text())
    config = {**_defaults(), **configuration.flatten(result["config"])}
    likelihood, samples = result.get("likelihood") or {}, (result.get("quality") or {}).get("samples") or {}
    found: dict[str, Figure] = {}
    for name, ours in LIKELIHOODS.items():
        if figure := likelihood.get(name):
            found[ours] = Figure(float(figure["value"]), float(figure["standard_error"]))
            if "nats" in figure:
                found[ours.replace("bits_per_dimension", "nats")] = Figure(
                    float(figure["nats"]), float(figure["nats_standard_error"])
                )
    for name in (*LAW, *QUALITY):
        if samples.get(name) is not None:
            found[name] = Figure(float(samples[name]), _number(samples.get(f"{name}_standard_error")))
    curve = [dict(point) for point in result.get("curve") or ()]
    costs = {
        "evaluations": (result.get("sampling") or {}).get("network_evaluations_per_sample"),
        "flops_per_sample": curve[0].get("flops_per_sample") if curve else None,  # the first is the config's own
        **{name: result.get(name) for name in ("steps", "images_seen", "parameters", "training_flops")},
    }
    found |= {name: Figure(float(value)) for name, value in costs.items() if value is not None}
    finite = {name: figure for name, figure in found.items() if math.isfinite(figure.value)}
    test = likelihood.get("test")
    return Run(
        folder=folder,
        config=config,
        result=result,
        figures=finite,
        kind=str(test["kind"]) if test else None,
        curve=curve,
        history=[dict(point) for point in result.get("history") or ()],
        log=_log(folder / "metrics.jsonl"),
        strange=[name for name in found if name not in finite],
    )


def kept(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of members keeps of an evaluated result, as data.

    Raises:
        KeyError: the result is not evaluated.
    """
    likelihood, samples = result["likelihood"], result["quality"]["samples"]
    names = ("value", "standard_error", "kind", "images", "dequantisation", "draws")

    def figure(name: str) -> dict[str, Any] | None:
        return {key: likelihood[name][key] for key in names} if name in likelihood else None

    return {
        "likelihood": figure("test"),
        "ode": figure("ode"),
        "in_order": figure("in_order"),
        **{name: samples.get(name) for name in QUALITY},
        "sampler": result["config"]["sampler"]["name"],
        "evaluations": result["sampling"]["network_evaluations_per_sample"],
        "weights": result["sampling"]["weights"],
        "steps": result["steps"],
        "parameters": result["parameters"],
        "seed": result["seed"],
        "trained_at_commit": result.get("git_commit"),
        "evaluated_at_commit": result["evaluated"].get("git_commit"),
        "device": result.get("device"),
    }


@cache
def _defaults() -> dict[str, Any]:
    return json.loads(json.dumps(configuration.flatten(base())))  # tuples become lists, as in a result


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, those of one step put together; the last counts, for a resumed run writes some anew."""
    rows: dict[int, dict[str, Any]] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            row = dict(json.loads(line))
            rows.setdefault(int(row["step"]), {}).update(row)
        except (ValueError, TypeError, KeyError):  # a line that was cut off
            continue
    return [rows[step] for step in sorted(rows)]


def _words(error: Exception) -> str:
    missing = f"{error} is missing" if type(error) is KeyError else str(error)
    return " ".join(missing.split())
