"""Text to image: members are possible and trained alike, and the report's sentences follow the figures."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from ddpm_jax import data
from ddpm_jax.config.identity import flatten
from ddpm_jax.data import still_lifes
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import checks
from ddpm_jax.reporting import ledger
from ddpm_jax.reporting.groups import group
from ddpm_jax.sweeps import expansion

FOLDER = Path(__file__).parents[2] / "experiments" / "text_to_image"
NAMES = ("study", "claims", "story", "run")
COLUMNS = still_lifes.COLUMNS

ALIKE = ("data.name", "data.splits", "model.conditions", "model.text_channels", "model.text_depth", "training")
ALIKE = (*ALIKE, "objective.condition_drop", "sampler.guidance", "evaluation.samples", "evaluation.curve_guidance")
"""What all members share: the data, the text, the budget, and what is measured."""


@pytest.fixture
def parts(monkeypatch):
    """The experiment's modules by name, as run.py has them."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: importlib.import_module(name) for name in NAMES}
    yield found
    for name in NAMES:
        sys.modules.pop(name, None)


def chosen(config, places):
    return {
        key: value for key, value in flatten(config).items() if any(f"{key}.".startswith(f"{one}.") for one in places)
    }


def test_members_are_possible_and_trained_alike(parts):
    study = parts["study"]
    description = data.load("still_lifes").description
    configs = {member: study.get_config(member) for member in study.MEMBERS}
    for member, config in configs.items():
        checks.check(config)
        checks.check_data(config, description)
        assert chosen(config, ALIKE) == chosen(configs["flow"], ALIKE)
        assert config.training.flops == study.TRAINING_FLOPS and not config.training.steps
        assert not config.training.images and not config.training.seconds
        assert bool(config.evaluation.curve) == (member in study.FREE)
    assert {config.process.order for config in configs.values() if config.process.name == "ordered"} == {
        "raster",
        "independent",
    }
    different = {key for key, value in flatten(configs["pooled"]).items() if value != flatten(configs["flow"])[key]}
    assert different == {"name", "model.text_tokens"}


def test_the_sweep_has_every_member_with_every_seed(parts):
    study = parts["study"]
    pairs = [(one["argument"], one["seed"]) for one in study.sweep()]
    assert sorted(pairs) == sorted((member, seed) for member in study.MEMBERS for seed in study.SEEDS)
    assert len(study.SEEDS) >= 3
    assert [(one["name"], one["seed"]) for one in study.sweep("flow,pooled/4")] == [("flow", 4), ("pooled", 4)]
    for argument, words in (("flwo", "no member 'flwo'"), ("flow/x", "'x' is no seed")):
        with pytest.raises(UserError, match=f"study.py: (there is )?{words}"):
            list(study.sweep(argument))
    with pytest.raises(UserError, match="no member 'flwo'"):
        study.get_config("flwo")


def adherence(share, binding):
    return {"text": {**dict.fromkeys(COLUMNS, share), "colour binding": binding}}


def made_up(member, seed, share=0.97, binding=0.95, unseen=0.93, gain=0.15, drop=0.3):
    """The figures of a run of the study: `gain` is what guidance brings, `drop` what it takes of recall."""
    noise = 0.003 * (seed - 1)
    shares = {0: 0.01, 1: share - gain, 2: share - gain / 3, 3: share, 5: share - 0.01, 7: share - 0.03}

    def at(weight, steps=32):
        few = {1: 0.05, 2: 0.4, 4: 0.8, 8: 0.95, 16: 0.99}.get(steps, 1)
        quality = {"frechet": 2 + 0.5 * weight**1.5 / few, "recall": 0.8 - drop * weight / 7 + noise}
        return {
            "steps": 256 if member == "autoregressive" else steps,
            "order": "",
            "guidance": float(weight),
            "network_evaluations_per_sample": steps * (1.0 if weight in (0, 1) else 2.0),
            "flops_per_sample": 1e8 * steps,
            "quality": {**quality, "variance": 0.9 + 0.05 * weight, "precision": 0.7},
            "adherence": adherence(shares[weight] * few + noise, binding * few),
        }

    steps = () if member == "autoregressive" else (1, 2, 4, 8, 16)
    return {
        "adherence": {
            "samples": adherence(share + noise, binding + noise),
            "real": adherence(0.996, 0.994),
            "unseen": adherence(unseen + noise, binding + noise),
            "unseen_real": adherence(0.995, 0.993),
        },
        "curve": [at(3), *(at(3, number) for number in steps), *(at(weight) for weight in (0, 1, 2, 5, 7))],
    }


@pytest.fixture
def fabricated(parts, fabricate):
    """`fabricated(runs, {member: changes of made_up}, seeds)` writes the folders of finished runs of the study."""

    def write(runs, members, seeds=(0, 1, 2)):
        asked = f"{parts['run'].STUDY}:{','.join(members)}/{','.join(map(str, seeds))}"
        for member in expansion.members(asked, runs):
            name, seed = member.config.name, member.config.seed
            figures = made_up(name, seed, **members[name])
            own = figures["curve"][0]["quality"]
            folder = fabricate(member.folder, seed, name, flatten(member.config), kind=None, samples=own)
            result = json.loads((folder / "result.json").read_text())
            (folder / "result.json").write_text(json.dumps({**result, **figures}))

    return write


FIVE = {
    "flow": {},
    "ddpm": {"share": 0.96, "unseen": 0.9},
    "masked": {"share": 0.9, "unseen": 0.7},
    "autoregressive": {"share": 0.99, "gain": -0.005},
    "pooled": {"share": 0.6, "binding": 0.4, "unseen": 0.5},
}


def sentences(parts, runs):
    """What the report says of each sentence, without its plots."""
    groups, _ = group(ledger.gather([runs]).runs)
    return [one.told() for one in parts["claims"].claims(groups)]


def about(told, words):
    return next(line for line in told if words in line)


@pytest.mark.slow
def test_the_report_of_fabricated_runs(parts, fabricated, fabricate, tmp_path, capsys):
    runs = tmp_path / "runs"
    fabricated(runs, FIVE)
    binding = about(sentences(parts, runs), "binds colours worse")
    fabricate(runs / "flow_of_an_earlier_study", name="flow")
    parts["run"].main([f"--runs={runs}", "--report"])
    text = (runs / "report" / "report.md").read_text()
    assert "15 runs in 5 groups of 3 seeds" in text and f"- {binding}" in text
    told = capsys.readouterr().out
    for name in ("report.md", "report.html", "table.csv", "lines.csv"):
        assert str(runs / "report" / name) in told and (runs / "report" / name).stat().st_size
    for name in ("adherence", "guidance", "quality"):
        assert f"({name}.png)" in text and (runs / "report" / f"{name}.png").is_file()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| *the data's own*")]
    assert [[cell.strip() for cell in row[2:4]] for row in rows] == [["0.996"] * 2, ["0.995"] * 2]
    lines = [line for line in text.splitlines() if line.startswith("| pooled")]
    assert any("0.400" in line and "0.600" in line for line in lines)


@pytest.mark.slow
def test_sentences_follow_the_figures(parts, fabricated, tmp_path):
    fabricated(tmp_path / "a", FIVE)
    told = sentences(parts, tmp_path / "a")
    assert "*supported* for flow less pooled (0.550" in about(told, "binds colours worse")
    assert "*supported* for flow less pooled" in about(told, "What is lost")
    helps = about(told, "Guidance helps")
    assert (
        "*contradicted* for autoregressive (-0.005" in helps and "*supported* for" in helps.partition("flow (0.15")[0]
    )
    unseen = about(told, "Unseen combinations")
    assert "*contradicted* for masked (-0.200" in unseen and "ddpm (-0.060" in unseen.partition("*contradicted*")[0]
    best = about(told, "more often than the other kinds")
    assert "*contradicted* for flow less autoregressive" in best and "flow less ddpm" in best.partition("*contra")[0]
    assert "flow (0.257" in about(told, "Guidance costs diversity").partition("*contradicted*")[0]
    swapped = {**FIVE, "flow": {**FIVE["pooled"], "drop": -0.2}, "pooled": FIVE["flow"]}
    fabricated(tmp_path / "b", swapped)
    other = sentences(parts, tmp_path / "b")
    assert "*contradicted* for flow less pooled (-0.550" in about(other, "binds colours worse")
    assert "*contradicted* for flow (-0.171" in about(other, "Guidance costs diversity")


def test_one_seed_decides_nothing_and_none_is_said(parts, fabricated, tmp_path):
    fabricated(tmp_path, {"flow": {}, "masked": {}}, seeds=(5,))
    told = sentences(parts, tmp_path)
    assert len(told) > 8 and not any("supported" in line or "contradicted" in line for line in told)
    assert "*not measured*" in about(told, "binds colours worse")


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ((0.78, 0.78, 0.78), "supported"),
        ((0.75, 0.75, 0.75), "supported"),  # the bound itself
        ((0.79, 0.78, 0.73), "not decided"),
        ((0.70, 0.71, 0.72), "contradicted"),
        ((0.79,), "not decided"),
    ],
)
def test_a_sentence_about_a_bound(parts, figures, verdict):
    assert parts["claims"].Claim("", {"a": figures}, 0.75).verdict("a") == verdict
    assert parts["claims"].Claim("", {"a": [1.5 - one for one in figures]}, -1, 0.75).verdict("a") == verdict


def test_a_difference_of_none_is_no_support(parts):
    claim = parts["claims"].Claim("", {"a": (0.0, 0.0, 0.0), "b": (0.1, 0.1, 0.1)}, strict=True)
    assert [claim.verdict(whose) for whose in "ab"] == ["not decided", "supported"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--members=flwo"], "--members: there is no member 'flwo'"),
        (["--members=,"], "--members: it is empty"),
        (["--seeds=x"], "--seeds: 'x' is no whole number"),
        (["--seeds=-1"], "--seeds: '-1' is no whole number"),
        (["--seeds="], "--seeds: it is empty"),
        (["--jobs=0"], "--jobs: 0 is less than 1"),
        (["--report", "--runs=nowhere"], "--runs: there is no folder nowhere"),
        (["--output=file"], "--output: file cannot be written"),
    ],
)
def test_wrong_options_are_one_line(parts, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(UserError) as caught:
        parts["run"].main(words)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_no_run_of_the_present_study(parts, fabricate, tmp_path):
    fabricate(tmp_path / "a" / "flow_of_an_earlier_study", name="flow")
    with pytest.raises(UserError, match="no run of the present study"):
        parts["run"].main([f"--runs={tmp_path / 'a'}", "--report"])


@pytest.mark.slow
def test_a_member_is_trained_measured_and_reported(parts, tmp_path):
    """Two steps of training by the file itself, to the end: what the report reads is what a run writes."""
    small = {"training.flops": 0.0, "training.steps": 2, "evaluation.samples": 8, "evaluation.curve": (1, 2)}
    small |= {"model.channels": 8, "data.batch": 8, "sampler.batch": 8, "sampler.steps": 2}
    small |= {
        "evaluation.curve_guidance": (1.0,),
        "evaluation.validation_images": 8,
        "evaluation.prompts": ("a red cup",),
    }
    small |= {"model.text_channels": 8, "evaluation.pictures": False}
    small |= {"model.multipliers": (1,), "model.attention_resolutions": ()}
    small |= {f"data.splits.{split}": f"{split}[:64]" for split in ("train", "validation", "test")}
    root = tmp_path / "runs"
    member = expansion.make_member(f"{FOLDER / 'study.py'}:flow", root, {"argument": "flow", **small})
    from ddpm_jax.train import train

    train(member.config, member.folder)
    parts["story"].write(root, root / "report", {member.name})
    text = (root / "report" / "report.md").read_text()
    assert text.count("*the data's own*") == 2 and "(adherence.png)" in text and "(guidance.png)" in text
