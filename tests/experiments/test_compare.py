"""The benchmark compares like with like, and its arithmetic is right; its figures are for a quiet machine."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from typing import ClassVar

import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "speed"
MODULES = ("cases", "worker", "ours", "peer", "peer_networks", "compare")
UNET = {"name": "unet", "channels": 8, "multipliers": (1,), "blocks": 1, "attention_resolutions": (), "groups": 4}
CAUSAL = {"name": "causal_transformer", "context": 0, "channels": 16, "depth": 1, "heads": 2}


@pytest.fixture
def load(monkeypatch):
    """Imports a module of the folder, as its scripts do, and forgets it after the test."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def tiny(load):
    cases = load("cases")
    common = {"shape": (8, 8, 1), "levels": 4, "batch": 2}
    return {
        "unet": cases.Case("unet", "training", "training", model=UNET, work=2, peer=False, **common),
        "heun": cases.Case("heun", "Heun", "sampling", "edm", UNET, work=3, sampler="heun", peer=False, **common),
        "cached": cases.Case("cached", "cached", "sampling", "autoregressive", CAUSAL, sampler="cached", **common),
        "likelihood": cases.Case("likelihood", "bound", "likelihood", model=UNET, work=3, peer=False, **common),
        "limit": cases.Case("limit", "product", "product", batch=16, work=3),
    }


def test_a_case_survives_json(load):
    cases = load("cases")
    for size in cases.SIZES:
        for case in (*cases.cases(size).values(), cases.product(size)):
            assert cases.from_dict(json.loads(json.dumps(dataclasses.asdict(case)))) == case


def test_work_is_counted(load, tiny):
    assert (tiny["unet"].images, tiny["unet"].passes) == (4, 6)
    assert (tiny["heun"].images, tiny["heun"].passes) == (2, 5)
    assert (tiny["cached"].images, tiny["cached"].passes) == (2, 1)
    assert load("cases").product_flops(tiny["limit"]) == 3 * 2 * 16**3
    ddpm = load("cases").cases("cpu")["ddpm"]
    assert "of 1000" in load("cases").row_title(ddpm)
    assert "1000 steps" in load("cases").row_title(load("cases").long(ddpm))


def test_a_run_knows_who_else_was_at_work(load):
    timed = load("worker").timed(lambda: sum(range(200_000)))
    assert timed["seconds"] > 0 and timed["cores"] > 0
    assert timed["others"] is None or timed["others"] >= 0


def test_different_networks_are_refused(load):
    refusal = load("compare").refusal
    ours = {"parameters": 10, "flops": 100.0}
    assert refusal(ours, {"parameters": 10, "flops": 104.0}) is None
    assert "10 parameters, there 11" in refusal(ours, {"parameters": 11, "flops": 100.0})
    assert "FLOPs" in refusal(ours, {"parameters": 10, "flops": 110.0})


def test_figures_and_ratios(load, tiny):
    compare = load("compare")
    assert compare.ratios([1.0, 2.0], [3.0, 1.0]) == [3.0, 0.5]
    figures = compare.figures(tiny["unet"], 10.0, [1.0, 4.0, 2.0])
    assert (figures["median"], figures["images_per_second"], figures["flops_per_second"]) == (2.0, 2.0, 30.0)
    assert compare.figures(tiny["limit"], 8.0, [2.0])["flops_per_second"] == 4.0


@pytest.mark.slow
def test_our_worker_measures_every_kind_of_task(load, tiny):
    """One worker, a case of each task in turn; then one it cannot do, which is an answer too."""
    compare = load("compare")
    side = compare.Side("ours", "ours.py", ("--threads=2",), environment=(("JAX_PLATFORMS", "cpu"),))
    with side.start() as worker:
        assert worker.ask("hello")["platform"] == "cpu"
        for name in ("unet", "cached", "likelihood", "limit"):
            case = tiny[name]
            facts = worker.ask("prepare", case=dataclasses.asdict(case))
            assert facts["flops"] > 0
            assert worker.ask("measure")["seconds"] > 0
        assert worker.ask("memory", forget=True)["peak"] is None or sys.platform == "linux"
        with pytest.raises(load("worker").WorkerError, match="heads"):
            wrong = dataclasses.replace(tiny["cached"], model={**CAUSAL, "heads": 3})
            worker.ask("prepare", case=dataclasses.asdict(wrong))
        assert worker.ask("measure")["seconds"] > 0


class Canned:
    """A worker that answers at once: ours takes 1 s a run, others 3 s, and their counts are as given."""

    started: ClassVar[list[str]] = []

    def __init__(self, script, options, python, environment):
        self.name, self.counts = script.name, {"parameters": 7, "flops": 12.0}
        self.fails = "--compile" in options

    def ask(self, name, seconds=None, **more):
        if name == "prepare" and self.fails:
            raise sys.modules["worker"].WorkerError("not done within 5 s")
        if name == "measure":
            self.started.append(self.name)
        return {
            "hello": {"platform": "cpu", "device": {"kind": "none"}, "versions": {}, "git_commit": None},
            "prepare": dict(self.counts),
            "memory": {"peak": 100.0},
            "measure": {"seconds": 1.0 if self.name == "ours.py" else 3.0, "cores": 1.5, "others": 0.5},
        }[name]

    def end(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def test_sides_take_turns_and_the_table_says_what_was_left_out(load, monkeypatch, tmp_path, capsys):
    compare, output = load("compare"), tmp_path / "out.json"
    monkeypatch.setattr(compare, "Worker", Canned)
    monkeypatch.setattr(compare, "PAUSE", 0)
    Canned.started.clear()
    compare.main(["--rows=unet,ddpmpp", "--pairs=3", "--compile", f"--output={output}"])
    ours, peer = "ours.py", "peer.py"
    twice = 3 * [ours, peer, peer, ours]  # every pair is disturbed, so they are run again
    assert Canned.started == [*twice, *twice, *(6 * [ours])]
    result = json.loads(output.read_text())
    row = result["rows"]["unet"]
    assert len(row["turns"]) == 6 and row["counted"] == [0, 1, 2]
    assert row["ratios"] == {"pytorch": [3.0, 3.0, 3.0]}
    assert row["left_out"] == {"compiled": "not done within 5 s"}
    assert row["sides"]["ours"]["share_of_limit"] == pytest.approx(12 * 6 / 12)
    assert result["rows"]["ddpmpp"]["left_out"]["pytorch"].startswith("there is no network")
    said = capsys.readouterr().out
    assert "unet: 3.00, target 1.0: met" in said
    assert "compiled: not done within 5 s" in said
    assert "disturbed: others used 0.5 cores" in said
    assert "start_up.py" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--rows=unett", "did you mean 'unet'"),
        ("--pairs=0", "less than 1"),
        ("--threads=100000", "cores"),
        ("--size=huge", "invalid choice"),
        ("--peer_python=/nowhere/python", "not a program"),
        ("--output=/proc/version/out.json", "cannot be written"),
    ],
)
def test_wrong_options_are_refused_in_one_line(load, option, words):
    compare = load("compare")
    with pytest.raises(compare.UserError, match=words) as error:
        compare.main([option])
    assert "\n" not in str(error.value)


def test_without_pytorch_ours_is_alone(load, tmp_path):
    """The peer's worker says what is missing."""
    compare = load("compare")
    ours = compare.Side("ours", "ours.py", ("--threads=2",), environment=(("JAX_PLATFORMS", "cpu"),))
    script = tmp_path / "peer.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nsys.modules['torch'] = None\nimport peer\npeer.main()\n"
    )
    peer = dataclasses.replace(ours, name="pytorch", script=str(script), options=("--threads=2", "--device=cpu"))
    facts, sides, alone = compare.introduce([ours, peer], gpu=False)
    assert [side.name for side in sides] == ["ours"]
    assert "PyTorch does not start" in alone and "peers" in alone
    assert facts["ours"]["versions"]["jax"]


@pytest.mark.peers
@pytest.mark.parametrize("name", ["unet", "dit", "causal", "heun"])
def test_both_sides_have_the_same_network(load, name):
    for package in ("torch", "diffusers"):
        pytest.importorskip(package)
    case = dataclasses.replace(load("cases").cases("cpu")[name], batch=2)
    ours, peer = load("ours"), load("peer").Peer(2, "cpu", compiled=False)
    counts = ours.counts(case, ours.experiment_of(case)[0])
    theirs = peer.counts(case, load("peer_networks").make(case.shape, case.levels, case.model))
    assert load("compare").refusal(counts, theirs) is None
    assert theirs["parameters"] == {"unet": 8_952_067, "heun": 8_952_067}.get(name, counts["parameters"])
