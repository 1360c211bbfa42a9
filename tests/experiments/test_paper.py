"""Paper experiments: what they name is there, and their verdicts are what the figures say."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ddpm_jax import commands
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import checks
from ddpm_jax.reporting.ledger import Figure

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("autoregressive", "ddpm_2020", "score_sde_2021")


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    yield importlib.import_module("paper")
    for name in ("paper", "families.table", "families"):
        sys.modules.pop(name, None)


def test_the_experiments_are_there(paper):
    assert tuple(paper.names()) == EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_members_are_good_configs_and_claims_name_members(paper, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment, digits = paper.load(name, "digits")
    assert set(experiment["tiers"]) == {"digits", "cifar10"}
    for tier, content in experiment["tiers"].items():
        for _, options in paper.jobs(tier, content["members"], Path("runs"), 2).values():
            parser = commands.Parser()
            parser.add_argument("--config")
            _, config, _ = commands.parse_with_config(parser, options)
            checks.check(config)
            assert config.data.name == tier
    for claim in experiment["claims"]:
        for member, figure in (claim["lower"], claim["higher"]):
            assert member in digits["members"] and figure in paper.FORMATS
        assert claim["source"].strip() and claim["note"].strip()
        assert claim["lower"] != claim["higher"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_published_reference_finds_a_figure(paper, name):
    experiment, cifar10 = paper.load(name, "cifar10")
    for entry in experiment["published"]:
        assert paper.beside({"published": [entry]}, "cifar10", {}).rows
        assert entry["member"] in cifar10["members"]
        assert entry["tolerance"] is None or (0 < entry["tolerance"] <= 0.1 and entry["why"])
    assert {entry["member"] for entry in experiment["published"]} == set(cifar10["members"])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_kept_is_what_is_printed_without_runs(paper, name, tmp_path, capsys):
    paper.main([name, f"--runs={tmp_path}"])
    kept = (ROOT / "experiments" / name / "digits.md").read_text()
    assert capsys.readouterr().out.startswith(kept)


def row(bits=2.0, kind="bound", frechet=12.0, seed=0, ode=None):
    def figure(value, kind):
        return {"value": value, "standard_error": 0.01, "kind": kind}

    return {
        "likelihood": figure(bits, kind),
        "ode": ode and figure(ode, "ode"),
        "frechet": frechet,
        "seed": seed,
        "evaluations": 10.0,
        "steps": 100,
    }


def claim(lower, higher):
    return {"claim": "c", "source": "s", "note": "n", "lower": lower, "higher": higher}


def told(paper, lower, higher, figure, found, **deviations):
    experiment = {"claims": [claim([lower, figure], [higher, figure])], "deviations": deviations}
    table = paper.claims(experiment, found)
    cells = dict(zip(table.head, table.rows[0], strict=True))
    return cells["our figures"], cells["difference"], cells["interval"]


def test_verdicts(paper):
    found = {
        "a": paper.Member([row(2.0, frechet=12.0)], "runs"),
        "b": paper.Member([row(2.1, frechet=16.0)], "runs"),
        "c": paper.Member([row(2.02, frechet=12.5)], "runs"),
    }
    wide = "over test images"  # 1.96 sqrt(2) 0.01
    assert told(paper, "a", "b", "likelihood", found) == ("shown (one seed)", "+0.100", f"± 0.028 {wide}")
    assert told(paper, "b", "a", "likelihood", found)[0] == "the contrary (one seed)"
    assert told(paper, "a", "c", "likelihood", found)[0] == "cannot be told"
    assert told(paper, "a", "b", "frechet", found) == ("cannot be told", "+4.000", "unknown")
    sure, known_from_two = {"value": 1.0, "runs": 1000}, {"value": 1.0, "runs": 2}
    assert told(paper, "a", "b", "frechet", found, frechet=sure)[:2] == ("shown (one seed)", "+4.000")
    assert told(paper, "a", "c", "frechet", found, frechet=sure)[0] == "cannot be told"
    width = f"± {12.7062 * 2**0.5:.3f} from what 2 runs differ by"
    assert told(paper, "a", "b", "frechet", found, frechet=known_from_two) == ("cannot be told", "+4.000", width)
    assert told(paper, "a", "d", "likelihood", found) == ("not run", "-", "-")
    assert told(paper, "a", "b", "ode", found)[0] == "not run"


def test_with_seeds_the_interval_is_welch_s(paper):
    random = np.random.default_rng(0)
    a, b = random.normal(2.0, 0.1, 3), random.normal(2.5, 0.3, 4)
    gap, half_width, words = paper.difference(
        [Figure(x, 9.0) for x in a], [Figure(x, 9.0) for x in b], {"value": 9.0, "runs": 2}
    )
    variances = np.array([a.var(ddof=1) / 3, b.var(ddof=1) / 4])
    freedom = variances.sum() ** 2 / (variances**2 / [2, 3]).sum()
    assert gap == pytest.approx(b.mean() - a.mean())
    assert half_width == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum()))
    assert words == "over seeds"


def test_with_seeds_on_one_side_the_other_is_taken_to_differ_as_much(paper):
    a, b = np.array([2.0, 2.1, 2.3]), 2.6
    for sign, sides in ((1, (a, [b])), (-1, ([b], a))):
        gap, half_width, words = paper.difference(*([Figure(x, 1e-3) for x in side] for side in sides), None)
        assert gap == pytest.approx(sign * (b - a.mean()))
        assert half_width == pytest.approx(stats.t.ppf(0.975, 2) * a.std(ddof=1) * np.sqrt(1 + 1 / 3))
        assert words == "over seeds"


def test_published_figures_are_compared_where_they_can_be(paper):
    entry = {"tolerance": 0.05}

    def told(ours, **changes):
        published = {"metric": "bits_per_dimension", "kind": "bound", "split": "test", "value": 3.75, **changes}
        return paper.compared(published, entry, ours and paper.Member([ours], "runs"))[1]

    assert told(row(3.79)) == told(row(3.71)) == "as near as it should be"
    assert told(row(3.9)) == "off by +0.150"
    assert told(None) == "not run"
    assert told(row(3.75, "exact")) == told(row(3.75), split="train") == "not comparable: another kind or split"
    assert told(row(9.9, ode=3.7), kind="ode") == "as near as it should be"
    assert told(row(9.9), kind="ode") == "not comparable: another kind or split"
    assert told(row(3.75), metric="fid", kind=None) == "not comparable: other features"


def test_runs_come_before_what_is_kept_and_seeds_are_gathered(paper, tmp_path, fabricate, capsys, monkeypatch):
    real = paper.kept_rows
    monkeypatch.setattr(paper, "kept_rows", lambda folder, tier: real(folder, tier) if folder == "families" else {})
    for seed, name in enumerate(("digits_ddpm", "digits_ddpm_seed1", "digits_ddpm_seed2")):
        fabricate(tmp_path / name, seed=seed, bits=2.0 + seed / 10)
    fabricate(tmp_path / "digits_ddpm_seed1_backup", seed=3, bits=9.0)
    fabricate(tmp_path / "digits_ddpm_seed9", seed=0, bits=9.0)  # a seed counts once
    (tmp_path / "digits_vdm").mkdir()
    (tmp_path / "digits_vdm" / "result.json").write_text("{")
    members = paper.load("ddpm_2020", "digits")[1]["members"]
    found = paper.figures("ddpm_2020", "digits", members, tmp_path)
    assert {name: one.source for name, one in found.items()} == {"ddpm": "runs", "vdm": "kept"}
    assert [row["seed"] for row in found["ddpm"].rows] == [0, 1, 2]
    paper.main(["ddpm_2020", f"--runs={tmp_path}"])
    said = capsys.readouterr().out
    assert "| 2.100 ± 0.248 | bound |" in " ".join(said.split())
    assert "not run: ddpm_bound, ddpm_x0" in said


def test_what_no_other_experiment_has_is_kept(paper, tmp_path, fabricate, monkeypatch):
    members = paper.load("ddpm_2020", "digits")[1]["members"]
    monkeypatch.setattr(paper, "HERE", tmp_path)
    for name, seed in (("digits_ddpm", 0), ("digits_ddpm_bound", 0), ("digits_ddpm_bound_seed1", 1)):
        fabricate(tmp_path / "runs" / name, seed=seed, bits=2.0 + seed)
    paper.keep("ddpm_2020", "digits", members, tmp_path / "runs")
    kept = paper.figures("ddpm_2020", "digits", members, None)
    assert {name: (one.source, len(one.rows)) for name, one in kept.items()} == {"ddpm_bound": ("kept", 2)}
    paper.keep("ddpm_2020", "digits", members, tmp_path / "none")  # nothing new: what there is stays
    assert paper.figures("ddpm_2020", "digits", members, None)["ddpm_bound"].rows == kept["ddpm_bound"].rows
    assert [figure.value for figure in kept["ddpm_bound"].figures("likelihood")] == [2.0, 3.0]


def test_what_is_missing_is_trained_by_the_command_and_failures_are_told(paper, tmp_path, fabricate, monkeypatch):
    fabricate(tmp_path / "digits_vdm")
    lines = []

    def run(line):
        lines.append(line)
        folder = Path(line[-1].removeprefix("--workdir="))
        if "x0" not in folder.name:
            fabricate(folder)
        return int("x0" in folder.name)

    monkeypatch.setattr(paper.families.commands, "to_its_end", run)
    with pytest.raises(UserError, match=r"^ddpm_x0, ddpm_x0_seed1 failed"):
        paper.main(["ddpm_2020", f"--runs={tmp_path}", "--train", "--seeds=2"])
    assert lines[0] == [
        *(sys.executable, "-m", "ddpm_jax.train", "--config=configs/digits/ddpm.py"),
        f"--workdir={tmp_path / 'digits_ddpm'}",
    ]
    assert "--config.objective.name=bound" in lines[2] and "--config.seed=1" in lines[3]
    assert len(lines) == 7  # four members, two seeds, one there already


def test_a_member_s_failure_in_a_process_of_its_own(paper, tmp_path, capfd):
    jobs = {"bad": (tmp_path / "digits_bad", ["--config=no_such_config.py"])}
    assert paper.families.train(jobs) == ["bad"]
    assert "there is no file no_such_config.py" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ddpm_2021"], "there is no experiment ddpm_2021; did you mean 'ddpm_2020'?"),
        (["ddpm_2020", "--tier=cifar100"], "has no tier cifar100; did you mean 'cifar10'?"),
        (["ddpm_2020", "--seeds=0"], "--seeds: 0 is less than 1"),
        ([], "are required: EXPERIMENT"),
    ],
)
def test_wrong_input_is_one_line(paper, arguments, words):
    with pytest.raises(UserError) as caught:
        paper.main(arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_experiment_files_hold_no_published_figures_of_their_own(paper):
    for name in EXPERIMENTS:
        for entry in json.loads((ROOT / "experiments" / name / "experiment.json").read_text())["published"]:
            assert set(entry) == {"file", "where", "member", "tolerance", "why"}
