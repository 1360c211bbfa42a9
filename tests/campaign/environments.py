"""Odd surroundings: no home, other languages, odd names, closed streams, secrets, settings of W&B and Python.

After each the outcome is as ever, or one line says what is wrong; nothing is written outside the run and the cache.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.campaign import disks, flips, judge, kills, places, world
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import Slot
from tests.campaign.world import World

SECRET = "8e5ec4e7" * 5
"""Forty hexadecimal digits, as a key of W&B has."""

UNUSABLE = {"PYTHONWARNINGS=error", "JAX_PLATFORMS=nonsense", "TQDM_MININTERVAL=nonsense"}
"""Surroundings in which a library may not work at all: exit code 1 and one line will do."""


@dataclass(frozen=True)
class Surroundings:
    """What is odd about a case.

    Attributes:
        names: in words.
        variables: that are set, or taken away by None.
        shell: lines of shell before the command.
        folder: the run folder's name.
        hidden: what the command says cannot be seen.
        root: needs root.
        more: further words of the command line of training.
    """

    names: tuple[str, ...] = ()
    variables: dict[str, str | None] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    folder: str = "run"
    hidden: bool = False
    root: bool = False
    more: tuple[str, ...] = ()

    def __add__(self, other: "Surroundings") -> "Surroundings":
        return Surroundings(
            self.names + other.names,
            {**self.variables, **other.variables},
            self.shell + other.shell,
            other.folder if self.folder == "run" else self.folder,
            self.hidden or other.hidden,
            self.root or other.root,
            self.more + other.more,
        )


def variables(**values: str | None) -> Surroundings:
    """Variables that are set, or taken away by None."""
    return Surroundings(tuple(f"{name}={value}" for name, value in values.items()), dict(values))


def shell(name: str, line: str, **options: bool) -> Surroundings:
    """A line of shell before the command."""
    return Surroundings((name,), shell=(line,), **options)


ODD_NAMES = (
    "with space",
    "quo'te\"s",
    "new\nline",
    "tab\there",
    "$HOME",
    "`id`",
    "$(id)",
    "ä漢字",
    "\u202eright-to-left",
    "x" * 240,
    "-dash",
    "--dashes=1",
    "a=b",
    "a,b;c&d|e",
    "%s%n",
    "{}",
    "*",
    "[a]",
    "~",
    ".hidden",
    "a\\b",
    "#hash",
    "\x1b[31mred",
    "\udcff\udcfe",
    "1234",
    "checkpoints",
    "a:b",
    "😀",
    "\u2028line",
)

WANDB = {
    "WANDB_MODE": ("disabled", "dryrun", "nonsense"),
    "WANDB_DIR": ("/nonexistent/place", "/dev/null"),
    "WANDB_PROJECT": ("a/b c", "x" * 300),
    "WANDB_RUN_ID": ("fixed", "a/b"),
    "WANDB_ENTITY": ("somebody",),
    "WANDB_SILENT": ("false", "nonsense"),
    "WANDB_CONSOLE": ("wrap", "off", "nonsense"),
    "WANDB_BASE_URL": ("nonsense", "http://localhost:1"),
    "WANDB_CACHE_DIR": ("/dev/null/a",),
    "WANDB_RESUME": ("must", "nonsense"),
    "WANDB_START_METHOD": ("thread", "fork"),
}

PLAIN = {
    "LANG": ("C", "tr_TR.UTF-8", "nonsense"),
    "LC_ALL": ("C", "POSIX", "C.UTF-8"),
    "PYTHONIOENCODING": ("ascii", "latin-1", "utf-16"),
    "PYTHONUTF8": ("0", "1"),
    "TZ": ("Asia/Kathmandu", "nonsense", ""),
    "COLUMNS": ("1", "0", "nonsense", "100000"),
    "LINES": ("1",),
    "TERM": ("dumb", "", "nonsense"),
    "NO_COLOR": ("1",),
    "PYTHONHASHSEED": ("0", "12345"),
    "PYTHONDONTWRITEBYTECODE": ("1",),
    "PYTHONUNBUFFERED": ("1",),
    "PYTHONOPTIMIZE": ("1", "2"),
    "PYTHONDEVMODE": ("1",),
    "PYTHONWARNINGS": ("error", "always", "nonsense", "ignore"),
    "PYTHONFAULTHANDLER": ("1",),
    "PYTHONSAFEPATH": ("1",),
    "PYTHONINTMAXSTRDIGITS": ("640",),
    "OMP_NUM_THREADS": ("1", "nonsense"),
    "MPLBACKEND": ("TkAgg", "nonsense"),
    "MPLCONFIGDIR": ("/dev/null/a",),
    "JAX_PLATFORMS": ("nonsense",),
    "JAX_COMPILATION_CACHE_DIR": ("/dev/null/a", ""),
    "JAX_TRACEBACK_FILTERING": ("off",),
    "TQDM_DISABLE": ("1",),
    "TQDM_MININTERVAL": ("nonsense",),
    "GIT_DIR": ("/nonexistent",),
    "PATH": ("", "/nonexistent"),
    "CUDA_VISIBLE_DEVICES": ("nonsense",),
    "SLURM_JOB_ID": ("12",),
    "DEBUG": ("1",),
}

HOMES = ("gone", "empty", "a file", "missing", "not to be written", "a link to itself")


def home(rng: random.Random) -> Surroundings:
    """A home that is not one, with the cache in it or not."""
    name = rng.choice(HOMES)
    cache: dict[str, str | None] = {"DDPM_JAX_CACHE": None} if rng.random() < 0.6 else {}
    value, line = {
        "gone": (None, ":"),
        "empty": ("", ":"),
        "a file": ("../a_file", "touch ../a_file"),
        "missing": ("/nonexistent/home", ":"),
        "not to be written": ("/proc", ":"),
        "a link to itself": ("../loop", "ln -s loop ../loop"),
    }[name]
    words = f"a home that is {name}{', with the cache in it' * bool(cache)}"
    return Surroundings((words,), {"HOME": value, **cache}, (line,))


def cache(rng: random.Random) -> Surroundings:
    """A cache folder that is none."""
    place = rng.choice(("", "/dev/null/a", "/proc/a", "~nobody_of_this_name/a", "../a_file", "relative", "../ä 漢\n$x"))
    return Surroundings((f"DDPM_JAX_CACHE={place!r}",), {"DDPM_JAX_CACHE": place}, ("touch ../a_file",))


def temporary(rng: random.Random) -> Surroundings:
    """A place for temporary files that is none."""
    return variables(TMPDIR=rng.choice(("/nonexistent", "/dev/null", "/proc", "")))


def secrets(rng: random.Random) -> Surroundings:
    """Secrets in the environment, beside W&B."""
    names = rng.sample(("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "PASSWORD", "KAGGLE_KEY"), 2)
    found = variables(**dict.fromkeys(["WANDB_API_KEY", *names], SECRET))
    return replace(
        found, names=("secrets",), more=("--config.logging.wandb=offline", "--config.logging.tensorboard=True")
    )


def wandb(rng: random.Random) -> Surroundings:
    """Settings of W&B, with W&B."""
    names = rng.sample(list(WANDB), rng.choice((1, 2)))
    found = variables(**{name: rng.choice(WANDB[name]) for name in names})
    return replace(found, more=("--config.logging.wandb=offline",))


def plain(rng: random.Random) -> Surroundings:
    """One or two variables."""
    return variables(**{name: rng.choice(PLAIN[name]) for name in rng.sample(list(PLAIN), rng.choice((1, 2)))})


def named(rng: random.Random) -> Surroundings:
    """An odd name of the run folder, sometimes in a language that cannot show it."""
    found = Surroundings((), folder=rng.choice(ODD_NAMES))
    found = replace(found, names=(f"a run folder named {found.folder[:30]!r}",))
    plain_terminal = variables(**{rng.choice(("PYTHONIOENCODING",)): "ascii"}) + variables(LANG="C", PYTHONUTF8="0")
    return found + plain_terminal if rng.random() < 0.5 else found


def streams(rng: random.Random) -> Surroundings:
    """Closed streams, or full ones."""
    return rng.choice(
        (
            shell("no stdin", "exec <&-"),
            shell("no stdout", "exec >&-", hidden=True),
            shell("no stderr", "exec 2>&-", hidden=True),
            shell("no streams", "exec <&- >&- 2>&-", hidden=True),
            shell("stdout is full", "exec >/dev/full", hidden=True),
            shell("stderr is full", "exec 2>/dev/full", hidden=True),
        )
    )


def rights(rng: random.Random) -> Surroundings:
    """Another working folder, other rights of what is written, no entry of the user."""
    empty = "touch ../a_file && mount --bind ../a_file /etc/passwd"
    return rng.choice(
        (
            shell("umask 077", "umask 077"),
            shell("umask 000", "umask 000"),
            shell("working in /", "cd /"),
            shell("working in a folder that is gone", "mkdir gone && cd gone && rmdir ../gone"),
            shell("no entry in passwd", empty, root=True),
            shell("no entry in passwd and no home", f"{empty} && unset HOME DDPM_JAX_CACHE", root=True),
            shell("no entry in passwd, no home and no cache", f"{empty} && unset HOME", root=True),
        )
    )


MAKERS: dict[Callable[[random.Random], Surroundings], float] = {
    home: 3, cache: 2, temporary: 1, secrets: 2, wandb: 2, plain: 6, named: 5, streams: 2, rights: 3,
}  # fmt: skip


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Run a command in odd surroundings."""
    makers = rng.choices(list(MAKERS), list(MAKERS.values()), k=rng.choice((1, 1, 1, 2)))
    odd = sum((maker(rng) for maker in dict.fromkeys(makers)), Surroundings())
    command = "train" if odd.more else rng.choice(("train", "sample", "sample", "evaluate", "report"))
    what = f"{command} with {' and '.join(odd.names)}"
    if odd.root and not disks.can_mount():
        return what, Judged(Verdict.SKIPPED, "needs root")
    return what, attempt(here, replace(slot, name=odd.folder), command, odd)


def attempt(here: World, slot: Slot, command: str, odd: Surroundings) -> Judged:
    """Run it, and judge what it said, what it made, and what it left elsewhere."""
    here.fresh(slot, "" if command == "train" else "finished")
    words = {
        "train": places.train_words(slot, *odd.more),
        "sample": places.sample_words(slot),
        "evaluate": ["evaluate", f"--workdir={slot.run}"],
        "report": here.report_words(slot),
    }[command]
    script = " && ".join([*odd.shell, 'exec "$@"'])
    before = [*(["unshare", "-m"] if odd.root else []), "/bin/sh", "-c", script, "sh"] if odd.shell else []
    already = places.listing(slot.folder)
    outcome = here.run(slot, *words, real=True, environment=here.environment(slot, **odd.variables), before=before)
    made = places.listing(slot.folder) - already
    if stray := strays(slot, made, odd):
        return failed(f"it wrote {stray}")
    if place := secret_in(slot):
        return failed(f"a secret is in {place}")
    tracebacks = judge.traceback_in(outcome)
    unseen = odd.hidden and outcome.code in {0, 1, 2}
    unusable = outcome.code == 1 and bool(UNUSABLE & set(odd.names))
    if (unseen or unusable) and outcome.code != 0 and not tracebacks:
        return Judged(Verdict.DETECTED, judge.last_words(outcome.err))
    few = 100 if odd.variables.get("WANDB_SILENT") else judge.FEW  # who asks W&B to speak is told much
    if bad := judge.fault(outcome, few) or (judge.unclear(outcome, besides=judge.FEW - 1) if outcome.code else ""):
        return failed(bad)
    if outcome.code != 0:
        return Judged(Verdict.DETECTED, judge.last_words(outcome.err))
    return kills.survived(outcome, *end(here, slot, command), few)


def end(here: World, slot: Slot, command: str) -> tuple[str, str]:
    """What is wrong and what is missing in what the command made."""
    if command == "train":
        return flips.end_of(here, slot)
    if command == "evaluate":
        return flips.figures_of(here, slot)
    if command == "report":
        wrong = judge.compare_tables(places.read_report(slot).get("table.csv", ""), here.report["table.csv"])
        return wrong if slot.name == "run" else "", "" if places.read_report(slot) else "there is no report"
    drawn = places.read_samples(places.drawn_file(slot))
    return ("", "") if drawn == here.samples[str(world.STEPS[-1])] else (f"the samples differ: {drawn}", "")


OWN = ("a_file", "loop", "gone")
"""What the shell's lines make."""


def strays(slot: Slot, made: set[str], odd: Surroundings) -> str:
    """A path that was written outside the run folder, the cache and the places that were asked for."""
    inside = [slot.run, slot.cache, slot.folder / "report", slot.folder / "drawn"]
    place = odd.variables.get("DDPM_JAX_CACHE", "-")
    if place != "-":
        inside += [slot.folder / "here" / place] if place else [slot.folder / "home" / ".cache" / "ddpm_jax"]
    normal = [os.path.normpath(folder) for folder in inside]
    found = []
    for path in made:
        rooted = any(
            path == folder or path.startswith(f"{folder}/") or folder.startswith(f"{path}/") for folder in normal
        )
        named = Path(path).name in OWN or Path(path).name.startswith(
            "ddpm_jax_traceback_"
        )  # which an error's line names
        if not rooted and not named and "__pycache__" not in path:
            found.append(str(Path(path).relative_to(slot.folder)))
    return max(found, default="")  # a file, where there is one, rather than the folder that it is in


def secret_in(slot: Slot) -> str:
    """A file that holds the secret; empty if none does."""
    for path in places.listing(slot.folder):
        try:
            with open(path, "rb") as file:
                if SECRET.encode() in file.read():
                    return path
        except OSError:
            continue
    return ""
