"""The plan of a sweep: states from what folders hold, and costs from what members have taken."""

import json
from pathlib import Path

import pytest

from ddpm_jax.runs import locks
from ddpm_jax.sweeps import expansion, plan

ROOT = Path(__file__).resolve().parents[2]
DIGITS = f"{ROOT}/configs/digits/ddpm.py"  # 3,000 steps of 64 images


def member(root, **changes):
    return expansion.make_member(DIGITS, root, {key.replace("_", "."): value for key, value in changes.items()})


def trained(member, seconds, step, finished=False):
    """A run folder that has come to a step."""
    (member.folder / "checkpoints" / str(step) / "state").mkdir(parents=True)
    rows = [{"step": step, "images_seen": step * 64, "elapsed_seconds": seconds}, {"step": step, "validation_loss": 1}]
    (member.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (member.folder / "result.json").write_text(json.dumps({"finished": finished}))


def test_states_and_estimates(tmp_path):
    members = [member(tmp_path, name=name, seed=seed) for name in "ab" for seed in range(2)]
    steps = [3000] * 4
    rows = plan.make_plan(members, steps)
    assert [(row.state, row.left, row.seconds) for row in rows] == [("new", 3000, None)] * 4
    assert plan.total(rows, 1) == (
        "4 runs, 0 finished; left: 12,000 steps, 768,000 images; time: not known before one has trained"
    )
    trained(members[0], 600.0, 3000, finished=True)  # 0.2 s a step
    rows = plan.make_plan(members, steps)
    assert [row.state for row in rows] == ["finished", "new", "new", "new"]
    assert [row.seconds for row in rows] == pytest.approx([0, 600, 600, 600])  # the only one that is known
    trained(members[2], 100.0, 1000)  # 0.1 s a step
    rows = plan.make_plan(members, steps)
    assert [row.state for row in rows] == ["finished", "new", "to resume at step 1000", "new"]
    assert [row.left for row in rows] == [0, 3000, 2000, 3000]
    assert [row.seconds for row in rows] == pytest.approx([0, 600, 200, 300])  # each as those of its name
    assert plan.total(rows, 2) == (
        "4 runs, 1 finished; left: 8,000 steps, 512,000 images; "
        "about 9 min of training, 2 at a time, evaluation not counted"
    )
    with locks.hold(members[3].folder):
        assert "trains it" in plan.make_plan(members, steps)[3].state


def test_a_budget_of_time(tmp_path):
    one = member(tmp_path, training_steps=0, training_seconds=90.0)
    (row,) = plan.make_plan([one], [None])
    assert (row.left, row.seconds) == (None, 90.0)
    trained(one, 30.0, 50)
    (row,) = plan.make_plan([one], [None])
    assert row.seconds == 60.0
    assert plan.total([row], 1) == "1 run, 0 finished; about 60 s of training, evaluation not counted"


def test_table(tmp_path):
    members = [member(tmp_path, seed=0, training_flops=2e12), member(tmp_path, seed=1)]
    lines = plan.table(plan.make_plan(members, [534, 3000]), 1).splitlines()
    assert lines[0].split("  ")[0] == "state"
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["new", "534", "34,176", "2e+12", "?"],
        ["new", "3,000", "192,000", "0", "?"],
    ]
    assert lines[1].endswith(f"{members[0].name}  seed=0 training.flops=2000000000000.0")
    assert lines[3].startswith("2 runs, 0 finished")


@pytest.mark.parametrize("value", ["many", None, [1], True, float("nan"), float("inf"), 0, -1])
def test_odd_values_in_a_log_tell_nothing(tmp_path, value):
    one = member(tmp_path, training_steps=0, training_seconds=90.0)
    trained(one, value, 50)
    (row,) = plan.make_plan([one], [None])
    assert row.seconds in (90.0, 91.0)
    (one.folder / "metrics.jsonl").write_text(json.dumps({"images_seen": value, "elapsed_seconds": 3.0}) + "\n")
    other = member(tmp_path, seed=1)
    assert plan.make_plan([one, other], [None, 3000])[1].seconds is None
