"""A very short campaign, and the judge itself: one that cannot find a fault would be worthless."""

import json
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.campaign import campaign, environments, flips, inputs, judge, kills, places, world
from tests.campaign.judge import Outcome, Verdict

CHECKOUT = Path(__file__).resolve().parents[2]


def trace():
    try:
        raise KeyError("a")
    except KeyError:
        import traceback

        return traceback.format_exc()


BAD = {
    "a traceback": Outcome(1, "", trace()),
    "a traceback and a good end": Outcome(0, "", trace()),
    "a traceback before a good line": Outcome(2, "", f"{trace()}\nerror: config.seed: 'a' is not of type int\n"),
    "an exception in a thread": Outcome(0, "", "Exception ignored in: <function a at 0x1>\n"),
    "a hang": Outcome(None, "", ""),
    "a native abort": Outcome(-6, "", "terminate called"),
    "too many words": Outcome(0, "", "warning: this\n" * 20),
    "an unexpected fault": Outcome(1, "", "error: something: it broke\n"),
}

BAD_REFUSALS = {
    **BAD,
    "it was taken": Outcome(0, "", ""),
    "two lines": Outcome(2, "", "error: config.seed: no\nerror: config.data: no\n"),
    "no word": Outcome(2, "", ""),
    "not an error's line": Outcome(2, "", "config.seed: no\n"),
    "what to change is not named": Outcome(2, "", "error: something is wrong\n"),
    "another code": Outcome(3, "", "error: config.seed: no\n"),
}

BAR = "  0%|          | 0/6 [00:00<?, ?step/s]\r 17%|#7  | 1/6 [00:04<00:20,  4.14s/step, loss 0.9964, 2 images/s]\n"


@pytest.mark.parametrize("name", BAD)
def test_ends_that_are_bad(name):
    assert judge.fault(BAD[name])
    assert judge.after_damage(BAD[name], "").verdict == Verdict.FAILED
    assert kills.survived(BAD[name], "", "").verdict == Verdict.FAILED


@pytest.mark.parametrize("name", BAD_REFUSALS)
def test_refusals_that_are_bad(name):
    assert judge.refused(BAD_REFUSALS[name]).verdict == Verdict.FAILED


def test_good_ends():
    assert judge.after_damage(Outcome(0, "words\n", BAR), "").verdict == Verdict.NO_EFFECT
    said = Outcome(0, "", f"{BAR}warning: checkpoint step 6 does not read; using step 4\n")
    assert judge.after_damage(said, "").verdict == Verdict.DETECTED
    assert judge.refused(Outcome(2, "", "error: config.seed: no\n")).verdict == Verdict.REFUSED
    assert judge.said(said) == ["warning: checkpoint step 6 does not read; using step 4"]
    assert judge.said(Outcome(0, "", "warning: /a/runs/run/result.json: 3 steps/s\n"))


def test_what_is_wrong_or_lost_needs_a_word_and_what_is_wrong_is_never_good():
    silent, said = Outcome(0, "", ""), Outcome(0, "", "warning: a row was lost\n")
    assert judge.after_damage(silent, "", "a row is missing").verdict == Verdict.FAILED
    assert judge.after_damage(said, "", "a row is missing").verdict == Verdict.DETECTED
    assert judge.after_damage(said, "the arrays differ").verdict == Verdict.FAILED
    assert judge.after_damage(Outcome(2, "", "error: config.a: no\n"), "", made=True).verdict == Verdict.FAILED
    assert judge.refused(Outcome(2, "", "error: config.a: no\n"), wrote="runs/run").verdict == Verdict.FAILED


FIGURES = {"evaluated": {"step": 6, "git_commit": "a"}, "likelihood": {"test": {"value": 2.5}}, "seconds": 1.0}


@pytest.fixture
def place(tmp_path):
    """A slot and a stand-in for the world, in which `command` says what a command does and how it ends."""
    slot = places.Slot(tmp_path, 0)
    slot.run.mkdir(parents=True)
    (slot.run / "result.json").write_text(json.dumps(FIGURES))
    here = SimpleNamespace(figures={"6": FIGURES}, samples={"4": "", "6": ""}, command=lambda: Outcome(0, "", ""))
    here.run = lambda *words, **options: here.command()
    return here, slot


def changed(slot, value):
    (slot.run / "result.json").write_text(
        json.dumps({**FIGURES, "seconds": 2.0, "likelihood": {"test": {"value": value}}})
    )


def test_a_figure_that_changes_in_silence_is_bad(place):
    here, slot = place
    assert flips.evaluate(here, slot).verdict == Verdict.NO_EFFECT
    changed(slot, 2.5)
    assert flips.evaluate(here, slot).verdict == Verdict.NO_EFFECT
    changed(slot, 2.5000001)
    assert flips.evaluate(here, slot).verdict == Verdict.FAILED
    changed(slot, None)
    assert flips.evaluate(here, slot).verdict == Verdict.FAILED
    here.command = lambda: Outcome(0, "", "warning: likelihood.test is not known: three images are too few\n")
    assert flips.evaluate(here, slot).verdict == Verdict.DETECTED


def test_samples_of_another_checkpoint_need_a_word_and_others_are_bad(place):
    here, slot = place
    file = places.drawn_file(slot)
    file.parent.mkdir()
    for step, pixel in (("4", 4), ("6", 6)):
        np.savez(file, images=np.full((2, 8, 8, 1), pixel, np.uint8))
        here.samples[step] = places.read_samples(file)
    assert flips.sample(here, slot).verdict == Verdict.NO_EFFECT
    np.savez(file, images=np.full((2, 8, 8, 1), 4, np.uint8))
    assert flips.sample(here, slot).verdict == Verdict.FAILED
    here.command = lambda: Outcome(0, "", "warning: step 6 does not read\n")
    assert flips.sample(here, slot).verdict == Verdict.DETECTED
    np.savez(file, images=np.full((2, 8, 8, 1), 5, np.uint8))
    assert flips.sample(here, slot).verdict == Verdict.FAILED


def test_every_row_once(tmp_path):
    ours, wanted = tmp_path / "ours.jsonl", tmp_path / "wanted.jsonl"
    rows = [{"step": 2, "loss": 1.0, "elapsed_seconds": 3.0}, {"step": 2, "validation_loss": 2.0}]
    wanted.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for kept, good in (
        ([{**rows[0], "elapsed_seconds": 9.0}, rows[1]], True),
        (rows[:1], False),
        ([*rows, rows[1]], False),
        ([{**rows[0], "loss": 1.5}, rows[1]], False),
    ):
        ours.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
        assert (judge.compare_rows(ours, wanted) == ("", "")) == good
    ours.write_text('{"step": 2, "lo')
    assert judge.compare_rows(ours, wanted)[0]


def test_a_cell_that_differs():
    table = "name,bits\nrun,2.5\nother,2.4\n"
    assert not judge.compare_tables("name,bits\nrun,\nother,2.4\n", table)
    assert judge.compare_tables("name,bits\nrun,2.6\nother,2.4\n", table)
    assert judge.compare_tables("name,bits\nstray,2.5\n", table)


@pytest.mark.parametrize(
    "word, kept, good",
    [
        ("0.5", 0.5, True),
        ("1e-400", 0.0, False),
        ("0e-400", 0.0, True),
        ("3", 3, True),
        ("3", 4, False),
        ("a b", "a b", True),
        ("a b", "a", False),
        ("(1, 2)", [1, 2], True),
        ("(1, 2)", [1], False),
        ("true", True, True),
        ("2", True, False),
    ],
)
def test_a_value_that_is_taken_is_the_one_that_was_given(word, kept, good):
    assert (inputs.accepted("key", word, kept).verdict == Verdict.NO_EFFECT) == good


def test_what_is_written_elsewhere_and_secrets_are_found(tmp_path):
    slot = places.Slot(tmp_path, 0)
    for file in ("runs/run/a", "cache/b", "home/.cache/c"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("words")
    odd = environments.Surroundings()
    assert environments.strays(slot, places.listing(tmp_path), odd) == "home/.cache/c"
    assert not environments.secret_in(slot)
    (slot.run / "a").write_text(f"key: {environments.SECRET}\n")
    assert environments.secret_in(slot)


def test_damage_is_damage_and_comes_from_the_seed(tmp_path):
    path = tmp_path / "file"
    for seed in range(60):
        ends = []
        for _ in range(2):
            places.remove(path)
            path.write_bytes(bytes(range(200)))
            words = flips.damage(path, random.Random(seed))
            ends.append((words, path.read_bytes() if path.is_file() else path.exists()))
        assert ends[0] == ends[1]
        assert ends[0][1] != bytes(range(200)) or words.startswith("byte")


def test_a_plan_mixes_the_kinds_and_names_what_is_not_there():
    assert campaign.plan(cases=["flips:12"]) == [("flips", 12)]
    planned = campaign.plan(counts="kills=2,flips=8")
    assert len(planned) == 10 and [kind for kind, _ in planned[:5]].count("kills") == 1
    with pytest.raises(ValueError, match="no kind 'flops'"):
        campaign.plan(counts="flops=2")
    with pytest.raises(ValueError, match="KIND:NUMBER"):
        campaign.plan(cases=["flips"])


def test_a_failed_case_is_shown_with_the_command_that_repeats_it():
    results = [
        campaign.Result("flips", 3, "a file: bit 1", judge.failed("wrong samples"), 1.0),
        campaign.Result("inputs", 4, "a key", judge.Judged(Verdict.REFUSED), 1.0),
    ]
    shown = campaign.table(results, 7)
    assert "python -m tests.campaign --seed=7 --case=flips:3" in shown and "wrong samples" in shown
    assert "inputs:4" not in shown


@pytest.fixture(scope="module")
def bare_world(tmp_path_factory):
    here = world.World(tmp_path_factory.mktemp("world"), 1)
    yield here
    here.close()


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    "text, bad",
    [
        ("print('fine')", ""),
        ("def f():\n    raise KeyError('planted')\nf()", "a traceback: KeyError: 'planted'"),
        ("import time\ntime.sleep(100)", "it hangs"),
        ("import os\nos.abort()", "a native abort (signal 6)"),
        ("import sys\nfor i in range(30): print('warning', file=sys.stderr)", "30 lines"),
    ],
)
def test_stub_commands_that_are_at_fault(bare_world, text, bad, real, tmp_path):
    slot = bare_world.bare(bare_world.slots[0])
    stub = tmp_path / "stub.py"
    stub.write_text(text)
    seconds = 3 if "sleep" in text else 120
    found = judge.fault(bare_world.run(slot, str(stub), real=real, seconds=seconds))
    assert found.startswith(bad) if bad else not found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_very_short_campaign_finds_nothing(tmp_path):
    """Seeded: the same cases each time. `python -m tests.campaign` says more of one that fails."""
    counts = "kills=1,flips=2,inputs=4,signals=1,environments=1"
    words = [
        sys.executable,
        "-m",
        "tests.campaign",
        "--seed=1",
        f"--counts={counts}",
        f"--output={tmp_path / 'all.json'}",
    ]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    verdicts = [case["judged"]["verdict"] for case in json.loads((tmp_path / "all.json").read_text())]
    assert len(verdicts) == 9 and {"refused", "survived"} <= set(verdicts)
