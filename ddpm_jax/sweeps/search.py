"""Sweeps whose members Optuna chooses: each trial is a member, its value a figure of the member's `result.json`.

def search(trial):
    return {"optimizer.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import files, runs
from ddpm_jax.config.identity import flatten
from ddpm_jax.config.loading import read_file, users_code
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import Record
from ddpm_jax.sweeps import expansion, loop
from ddpm_jax.sweeps.expansion import Member

ENGINES = ("optuna",)

JOURNAL = "optuna.journal"
"""The study's file in the sweep's folder."""

CHANGES, METRIC, NAME = "changes", "metric", "search"


def check_engine(engine: str) -> None:
    """Raise UserError if there is no such engine, or if it is not installed."""
    if engine not in ENGINES:
        raise UserError(f"--search: unknown engine {engine!r}; {nearest(engine, ENGINES)}")
    try:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    except ImportError as error:
        raise UserError("--search=optuna needs Optuna: pip install -e '.[search]'") from error


class Search:
    """The trials of a study, as the members that they ask for.

    Trials that were cut off come first; they are gone on with, not asked for again.

    Args:
        config_file: it defines `search(trial)`.
        root: the folder of the run folders and of the study.
        overrides: for every member.
        trials: how many the study shall have in all.
        metric: the dotted key of `result.json`.
        maximise: whether more is better.

    Raises:
        UserError: the file has no `search`, or the study in the folder has another aim, or is damaged.
    """

    def __init__(
        self, config_file: str, root: Path, overrides: Sequence[str], trials: int, metric: str, maximise: bool = False
    ):
        self._file, self._root, self._overrides = config_file, root, overrides
        self._trials, self._metric, self._maximise = trials, metric, maximise
        self._function: Any = read_file(config_file).get("search")
        if not callable(self._function):
            raise UserError(f"--config={config_file}: there is no function search(trial); see ddpm_jax.sweeps.search")
        self._numbers: dict[str, list[int]] = {}
        self._path = root / JOURNAL
        self._study: Any = self._open() if self._path.exists() else None

    def _open(self) -> Any:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        self._root.mkdir(parents=True, exist_ok=True)
        direction = "maximize" if self._maximise else "minimize"
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(self._path)))
            study = optuna.create_study(study_name=NAME, storage=storage, direction=direction, load_if_exists=True)
            # seeded by what has been, so that a study that goes on does not draw the first trials again
            with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
                study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), constant_liar=True)
        except Exception as error:  # of a damaged journal, which may be anything
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            raise UserError(
                f"{self._path} cannot be read ({why}); move it away, and the search begins anew: its runs stay"
            ) from error
        metric = study.user_attrs.get(METRIC, self._metric)  # known when a first trial had it
        if metric != self._metric or study.direction.name.lower() != direction:
            aim = f"--metric={metric}{' --maximise' if study.direction.name == 'MAXIMIZE' else ''}"
            raise UserError(f"{self._path} is of a search with {aim}; say the same, or choose another --workdir")
        return study

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return sum(trial.state.is_finished() for trial in self._study.trials) if self._study else 0

    @property
    def cut_off(self) -> int:
        """How many trials were asked for and have not ended."""
        return len(self._study.trials) - self.done if self._study else 0

    def members(self) -> Iterator[Member]:
        """The members of the trials that are left, asked for one by one."""
        import optuna

        self._study = self._study or self._open()
        for trial in self._study.trials:
            if trial.state.is_finished():
                continue
            if CHANGES in trial.user_attrs:
                yield self._member(trial.number, json.loads(trial.user_attrs[CHANGES]))
            else:  # the process was killed before it knew what to change
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        while len(self._study.trials) < self._trials:
            trial = self._study.ask()
            try:
                changes = self._ask(trial)
                trial.set_user_attr(CHANGES, json.dumps(dict(changes)))  # now, lest another search takes it for dead
                member = self._member(trial.number, changes)
                expansion.check([member], data=True)
            except optuna.TrialPruned:
                self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            except UserError:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                raise
            yield member

    def _ask(self, trial: Any) -> Record:
        import optuna

        with users_code(self._file, optuna.TrialPruned):
            changes = self._function(trial)
        if not isinstance(changes, Mapping):
            raise UserError(f"--config={self._file}: search(trial) must return a mapping of dotted keys to values")
        return dict(changes)

    def _member(self, number: int, changes: Record) -> Member:
        member = expansion.make_member(self._file, self._root, changes, self._overrides, f"trial {number}")
        self._numbers.setdefault(member.name, []).append(number)
        return member

    def ended(self, member: Member, good: bool) -> None:
        """Tell the study what became of a member.

        Raises:
            UserError: its result has no such figure. The trial stays open, to be told when the right one is named.
        """
        import optuna

        value = figure(member.folder, self._metric) if good else None
        if good:
            self._study.set_user_attr(METRIC, self._metric)
        good = value is not None and math.isfinite(value)  # what is not finite is a failure of that trial
        value, state = value if good else None, None if good else optuna.trial.TrialState.FAIL
        number = self._numbers[member.name].pop()
        self._study.tell(number, value, state, skip_if_finished=True)  # another sweep may have told it

    def best(self) -> str:
        """The best trial so far, in a line."""
        import optuna

        if not self._study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
            return "no trial was finished"
        trial = self._study.best_trial
        changes = json.loads(trial.user_attrs[CHANGES])
        folder = expansion.make_member(self._file, self._root, changes, self._overrides).folder
        told = " ".join(f"{key}={value}" for key, value in changes.items())
        return f"best of {self.done} trials: {self._metric} {trial.value:g} with {told} ({folder})"


def figure(folder: Path, key: str) -> float:
    """A figure of the run's `result.json` by its dotted key.

    Raises:
        UnreadableError: the file is damaged.
        UserError: there is none.
    """
    try:
        values = flatten(files.read_record(folder / runs.RESULT))
    except (OSError, ValueError, RecursionError) as error:
        raise loop.UnreadableError(f"{folder / runs.RESULT} cannot be read: {error}") from error
    values = {name: value for name, value in values.items() if type(value) in (int, float)}
    if key not in values:
        told = [name for name in values if not name.startswith("config.")]
        raise UserError(f"--metric: {folder / runs.RESULT} has no figure {key!r}; {nearest(key, told)}")
    return float(values[key])


def run(search: Search, trials: int, jobs: int, root: Path) -> list[loop.Failure]:
    """Run what is left of a search, and return the members that failed. Raises as `loop.run`."""
    return loop.run(search.members(), trials - search.done, jobs, root, search.ended)
