"""Damage to every file that a run, a cache or a data folder holds; then a command that meets it."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.campaign import judge, places
from tests.campaign.judge import Judged
from tests.campaign.places import Slot
from tests.campaign.world import STEPS, World

AREAS = {
    "config": ("runs/run/config.json", 1.0, {"train half": 1, "sample": 3, "evaluate": 1, "report": 3}),
    "result": ("runs/run/result.json", 1.0, {"report": 6, "evaluate": 1, "train finished": 1}),
    "rows": ("runs/run/metrics.jsonl", 1.0, {"report": 3, "train half": 2, "sample": 1}),
    "checkpoints": ("runs/run/checkpoints/**/*", 5.0, {"sample": 20, "train half": 3, "evaluate": 1}),
    "pictures": ("runs/run/*.png", 0.5, {"report": 3, "train finished": 1}),
    "samples": ("runs/run/samples/*", 0.5, {"report": 2, "sample": 1}),
    "lock": ("runs/run/.lock", 0.3, {"train half": 1, "sample": 1, "report": 1}),
    "trackers": ("runs/run/[wt][ae]n*/**/*", 0.3, {"train half": 1, "report": 1}),
    "cache": ("cache/*/*", 3.0, {"evaluate": 1, "train half": 1, "sample": 10}),
    "digits": ("cache/tfds/**/*", 1.5, {"digits evaluate": 1, "digits sample": 6}),
    "data": ("data/**/*", 2.0, {"evaluate": 1, "train half": 1, "sample": 10}),
    "compiled": ("cache/compiled/**/*", 0.4, {"train half": 1}),
    "frozen": ("runs/run/frozen/**/*", 0.5, {"frozen": 1}),
}
"""Where files are, how often one is taken, and which commands meet it, the dear ones less often. New files are found by
these patterns too."""


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Damage a file, run a command, and judge it."""
    area = places.choose(rng, {name: weight for name, (_, weight, _) in AREAS.items()})
    pattern, _, commands = AREAS[area]
    command = places.choose(rng, commands)
    kind = "half" if "half" in command else "digits" if "digits" in command else "finished"
    if command == "frozen":
        here.bare(slot)
        checkpoints_with_frozen(here, slot)
    else:
        here.fresh(slot, kind)
    if area == "compiled":
        here.with_compiled(slot)
        places.remove(slot.run)
        places.copy(here.runs / kind, slot.run)
    if area in {"data", "digits"} and rng.random() < 0.6:
        places.forget(slot)  # or the damaged file is not read at all
    files = sorted(path for path in slot.folder.glob(pattern) if path.is_file())
    if not files:
        return case(here, slot, rng)  # this version keeps none of this kind: another
    path = rng.choice(files)
    what = f"{path.relative_to(slot.folder)}: {damage(path, rng)}; {command}"
    if area == "compiled":
        return what, train(here, slot, JAX_COMPILATION_CACHE_DIR=None)
    return what, COMMANDS[command.split()[-1] if "digits" in command else command.split()[0]](here, slot)


def damage(path: Path, rng: random.Random) -> str:
    """Damage a file, and say how. Half of the time its time of change stays, as on a disk that decays."""
    before, content = path.stat(), path.read_bytes()
    ways = {"bit": 8, "byte": 2, "cut": 3, "zeros": 1, "empty": 1, "delete": 1, "folder": 1, "double": 1, "more": 1}
    way = places.choose(rng, ways if content else {"delete": 1, "folder": 1, "more": 1})
    at = rng.randrange(len(content)) if content else 0
    changed = bytearray(content)
    words = f"{way} at {at} of {len(content)}"
    if way == "bit":
        bit = rng.randrange(8)
        changed[at] ^= 1 << bit
        words = f"bit {bit} of byte {at} of {len(content)}"
    elif way == "byte":
        changed[at] = rng.randrange(256)
    elif way == "cut":
        del changed[at:]
    elif way == "zeros":
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    elif way == "empty":
        changed.clear()
    elif way == "double":
        changed += content
    elif way == "more":
        changed += rng.randbytes(rng.randrange(1, 100))
    if way in {"delete", "folder"}:
        path.unlink()
        if way == "folder":
            path.mkdir()
        return "deleted" if way == "delete" else "a folder in its place"
    path.write_bytes(changed)
    if rng.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        words += ", its time kept"
    return words


def sample(here: World, slot: Slot) -> Judged:
    """Draw samples: those of the newest checkpoint, or, if that is said, of an earlier one."""
    outcome = here.run(slot, *places.sample_words(slot))
    file, wanted = places.drawn_file(slot), here.samples
    if outcome.code != 0:
        return judge.after_damage(outcome, "", made=file.exists())
    drawn = places.read_samples(file)
    wrong = "" if drawn in wanted.values() else "the samples are of no checkpoint"
    lost = "" if drawn == wanted[str(STEPS[-1])] else "the samples are of an earlier checkpoint"
    return judge.after_damage(outcome, wrong, lost)


def evaluate(here: World, slot: Slot) -> Judged:
    """Evaluate: the figures are those of the checkpoint that they name."""
    before = (slot.run / "result.json").read_bytes() if (slot.run / "result.json").is_file() else b""
    outcome = here.run(slot, "evaluate", f"--workdir={slot.run}")
    if outcome.code != 0:
        after = (slot.run / "result.json").read_bytes() if (slot.run / "result.json").is_file() else b""
        return judge.after_damage(outcome, "", made=before != after)
    return judge.after_damage(outcome, *figures_of(here, slot))


def figures_of(here: World, slot: Slot) -> tuple[str, str]:
    """What is wrong and what is missing in the run's figures."""
    try:
        result = json.loads((slot.run / "result.json").read_text())
        step = str(result["evaluated"]["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"result.json: {type(error).__name__} {error}", ""
    wanted = here.figures
    if step not in wanted:
        return f"figures of step {step}", ""
    wrong, lost = judge.compare_figures(result, without_data_name(wanted[step], result))
    return wrong, lost or ("" if step == str(STEPS[-1]) else "the figures are of an earlier checkpoint")


def without_data_name(wanted: dict, result: dict) -> dict:
    """The figures that are wanted, with the name of the data set that the run was trained on (the images are equal)."""
    name = result.get("config", {}).get("data", {}).get("name") if isinstance(result.get("config"), dict) else None
    if name != "digits":
        return wanted
    return {**wanted, "config": {**wanted["config"], "data": {**wanted["config"]["data"], "name": name}}}


def train(here: World, slot: Slot, **changes: str | None) -> Judged:
    """Go on with the run: its end is that of the undisturbed run. `changes` are of the environment."""
    outcome = here.run(slot, *places.train_words(slot), environment=here.environment(slot, **changes))
    if outcome.code != 0:
        return judge.after_damage(outcome, "")
    wrong, lost = end_of(here, slot)
    log = slot.run / "metrics.jsonl"
    if wrong.startswith(log.name) and any(str(log) in line for line in judge.said(outcome)):
        wrong, lost = "", lost or wrong  # a flipped letter in a row cannot be told from another row: the file is named
    return judge.after_damage(outcome, wrong, lost)


def end_of(here: World, slot: Slot) -> tuple[str, str]:
    """What is wrong and what is missing in a run that has come to its end."""
    found = here.digests(slot, slot.run)
    last = str(STEPS[-1])
    if found.get(last) != here.arrays[last]:
        return f"the arrays of step {last} differ: {found.get(last) or found}", ""
    # a run that was told to make room may have saved between two milestones, too
    if wrong := [step for step, told in found.items() if here.arrays.get(step, told) != told and len(told) == 64]:
        return f"the arrays of step {wrong[0]} differ", ""
    rows = judge.compare_rows(slot.run / "metrics.jsonl", here.runs / "finished" / "metrics.jsonl")
    figures = figures_of(here, slot)
    return rows[0] or figures[0], rows[1] or figures[1]


def report(here: World, slot: Slot) -> Judged:
    """Report on the run and another: the other is there as it was, this one as it was or with a word."""
    outcome = here.run(slot, *here.report_words(slot))
    made, wanted = places.read_report(slot), here.report
    if outcome.code != 0:
        return judge.after_damage(outcome, "", made=bool(made))
    paths = set(wanted)
    words = [line for line in judge.lines_of(outcome.out) if Path(line).name not in {*paths, "report.html"}]
    wrong = judge.compare_tables(made.get("table.csv", ""), wanted["table.csv"])
    wrong = wrong or judge.compare_tables(made.get("lines.csv", ""), wanted.get("lines.csv", ""))
    if not wrong and "other" not in made.get("table.csv", ""):
        wrong = "the undamaged run is not in the report"
    lost = "" if made == wanted else "the report differs"
    return judge.after_damage(outcome, wrong, lost, told=bool(words))


def checkpoints_with_frozen(here: World, slot: Slot) -> None:
    """Checkpoints of a state with frozen parameters, in the slot's run folder."""
    kept = here.folder / "base" / "frozen"
    if not kept.exists():
        slot.run.mkdir(parents=True)
        process = here.start(slot, places.PROGRAMS, "save", str(slot.run))
        for _ in range(2000):
            if process.out.exists() and process.out.read_text().count("\n") >= 3:
                break
            process.process.wait(0.05)
        process.send(9)
        process.end()
        places.copy(slot.run, kept)
        places.remove(slot.run)
    places.copy(kept, slot.run)


def frozen(here: World, slot: Slot) -> Judged:
    """Read a state whose frozen parameters are damaged: no other arrays than those that were saved."""
    outcome = here.run(slot, places.PROGRAMS, "saved", str(slot.run))
    words = judge.last_words(outcome.err)
    if outcome.code == 0:
        same = json.loads(outcome.out.splitlines()[-1])["same"]
        return Judged(judge.Verdict.NO_EFFECT) if same else judge.failed("other arrays are read")
    if "UserError" in words:  # the program does not go through a command's end
        return Judged(judge.Verdict.DETECTED, words)
    return judge.failed(f"not a UserError: {words}")


COMMANDS: dict[str, Callable[[World, Slot], Judged]] = {
    "sample": sample,
    "evaluate": evaluate,
    "train": train,
    "report": report,
    "frozen": frozen,
}
