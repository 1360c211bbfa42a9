"""The study: its arms differ in what they say they differ in, and perfect predictions give the exact laws."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.conditions import labels
from ddpm_jax.config.identity import flatten
from ddpm_jax.data import ising
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import checks, make
from ddpm_jax.oracles import JointTable
from ddpm_jax.processes import Ordered, make_order
from ddpm_jax.schedules.keeping import KEEPS
from ddpm_jax.sweeps import expansion

FOLDER = Path(__file__).parents[2] / "experiments" / "why_diffusion"


def load(name):
    spec = importlib.util.spec_from_file_location(f"why_diffusion_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


study, perfect, run = load("study"), load("perfect"), load("run")
ARMS = [(name, arm) for name, tier in study.TIERS.items() for arm in tier.arms]

DESCRIPTIONS = {
    "known": ising.describe("ising"),
    "digits": data.load("digits").description,
    "mnist": data.Description("mnist", "3.0.1", (28, 28, 1), 256, labels(10)),
    "cifar10": data.Description("cifar10", "3.0.2", (32, 32, 3), 256, labels(10)),
}

OF_AN_ARM = (
    *("name", "process", "objective.name", "objective.times", "model.prediction", "model.variance", "model.time"),
    *("model.name", "optimizer.learning_rate", "sampler", "evaluation.curve", "evaluation.curve_orders"),
    *("evaluation.decoder_noise", "evaluation.likelihood_groups"),
)
"""What an arm may change: what is removed, what the network sees and says, and how it is sampled."""
OF_A_UNET = ("model.channels", "model.heads", "training.save_every", "training.keep_every")


@pytest.mark.parametrize(("tier", "arm"), ARMS)
def test_arms_are_possible_and_alike_in_all_else(tier, arm):
    config = study.get_config(f"{tier}/{arm}")
    checks.check(config)
    checks.check_data(config, DESCRIPTIONS[tier])
    own = (*OF_AN_ARM, *(OF_A_UNET if arm.endswith("unet") else ()))
    first = flatten(study.get_config(f"{tier}/raster"))
    different = [
        key
        for key, value in flatten(config).items()
        if value != first[key] and not any(f"{key}.".startswith(f"{same}.") for same in own)
    ]
    assert different == []


@pytest.mark.parametrize("tier", ["known", "digits"])
def test_the_same_blocks_behind_every_arm(tier):
    """What lies between the embedding and the head has the same arrays in all transformers."""
    import jax

    blocks = []
    for arm in ("raster", "one_shot", "masked", "v"):
        network = make(study.get_config(f"{tier}/{arm}"), DESCRIPTIONS[tier]).model.network
        params = jax.eval_shape(network.init, jax.random.key(0))
        shapes = {name: jax.tree.map(lambda leaf: leaf.shape, params[name]) for name in params if "block" in name}
        assert len(shapes) == study.get_config(f"{tier}/{arm}").model.depth
        blocks.append(shapes)
    assert all(other == blocks[0] for other in blocks)


def test_every_arm_is_in_the_central_plot():
    assert set(study.ARMS) <= set(load("story").WAYS)


@pytest.mark.parametrize("tier", study.TIERS)
def test_every_arm_has_as_many_seeds_and_trials(tier):
    members = list(study.sweep(tier))
    for arm in study.TIERS[tier].arms:
        mine = [member for member in members if member["argument"] == f"{tier}/{arm}"]
        assert [member["seed"] for member in mine] == list(study.SEEDS) and len(study.SEEDS) >= 3
        trials = [member for member in study.sweep(f"{tier}_rates") if member["argument"] == f"{tier}/{arm}"]
        assert [trial["optimizer.learning_rate"] for trial in trials] == list(study.TIERS[tier].trials)
        assert len({trial["training.flops"] for trial in trials}) == 1
    kept = json.loads(study.RATES.read_text())
    for rates in (kept.get(tier, {}),):
        assert not rates or set(rates) == set(study.TIERS[tier].arms)
        assert set(rates.values()) <= set(study.TIERS[tier].trials)


@pytest.mark.parametrize(
    ("argument", "words"), [("digit/raster", "no tier 'digit'"), ("known/rastr", "no arm 'rastr' in known")]
)
def test_wrong_names(argument, words):
    with pytest.raises(UserError, match=words):
        study.get_config(argument)
    with pytest.raises(UserError, match="there is no sweep 'digits_data'"):
        list(study.sweep("digits_data"))


def test_the_trial_with_the_least_loss_is_chosen(tmp_path):
    """Of trials that ended, and of the present study: an earlier version may have trained longer."""
    members = expansion.members(f"{run.STUDY}:known_rates", tmp_path / "known_rates")
    trials = [member for member in members if member.config.name.startswith("raster at ")]
    rates = [member.config.optimizer.learning_rate for member in trials]
    assert rates == list(study.TIERS["known"].trials)
    folders = [*(member.folder for member in trials), tmp_path / "known_rates" / "raster-at-7_seed0-0123abcd"]
    for folder, loss, ended in zip(folders, (2.0, 1.5, 0.5, 0.1), (True, True, False, True), strict=True):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"name": "raster at 7", "optimizer": {"learning_rate": 7.0}}))
        rows = [{"step": 1, "validation_loss": 0.1}, {"step": 2, "loss": 0.0}, {"step": 2, "validation_loss": loss}]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "result.json").write_text(json.dumps({"finished": ended}))
    assert run.choose_rates("known", tmp_path) == {"raster": rates[1]}


P = np.random.default_rng(0).dirichlet(np.full(16, 0.5)).reshape(2, 2, 2, 2)


@pytest.mark.parametrize("name", ["raster", "spread"])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_perfect_predictions_in_a_fixed_order(name, steps):
    """The same law as enumeration over sets of sites gives, by other code."""
    order = make_order(name, (2, 2), chunk=4 // steps)
    exact = JointTable(P, np.array([-1.0, 1.0])).sampled_law(
        Ordered(order, KEEPS["linear"]), np.linspace(1, 0, steps + 1)
    )
    ours = perfect.law_of_groups(P, perfect.in_turn(list(order.sequence), steps))
    np.testing.assert_allclose(ours, exact, rtol=1e-12)
    if steps == 4:
        np.testing.assert_allclose(ours, P, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_perfect_predictions_in_random_orders(steps):
    """The mean over all 24 orders is the law that enumeration gives."""
    order = make_order("random", (2, 2))
    exact = JointTable(P, np.array([-1.0, 1.0])).sampled_law(
        Ordered(order, KEEPS["linear"]), np.linspace(1, 0, steps + 1)
    )
    groups = (perfect.in_turn(sequence, steps) for sequence in itertools.permutations(range(4)))
    np.testing.assert_allclose(perfect.mean_law(P, groups), exact, rtol=1e-9)


def test_perfect_predictions_at_independent_times(monkeypatch):
    """Random orders are drawn here, so the law is near the exact one: within four standard errors over repetitions."""
    monkeypatch.setattr(perfect, "ORDERS", 400)
    table, process = JointTable(P, np.array([-1.0, 1.0])), Ordered(make_order("independent", (2, 2)), KEEPS["cosine"])
    exact = table.sampled_law(process, np.linspace(1, 0, 4))
    laws = np.stack([perfect.mean_law(P, perfect.independent_groups(4, 3, seed)) for seed in range(20)])
    error = laws.std(axis=0, ddof=1) / np.sqrt(len(laws))
    assert np.all(np.abs(laws.mean(axis=0) - exact) < 4.5 * error + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("arm", perfect.NOISE)
def test_perfect_predictions_from_noise(arm, monkeypatch):
    """In many steps the samples are true draws, in two they are not."""
    law = np.full((2, 2, 2, 2), 0.2 / 14)
    law[0, 0, 0, 0] = law[1, 1, 1, 1] = 0.4
    monkeypatch.setitem(ising.LAWS, "tiny", (lambda: law, (2, 2, 1)))
    monkeypatch.setattr(perfect, "SAMPLES", 2**14)

    def distance(samples):
        counts = np.bincount(samples.reshape(-1, 4) @ [8, 4, 2, 1], minlength=16)
        return np.abs(counts / len(samples) - law.ravel()).sum() / 2

    true = np.random.default_rng(0).choice(16, 2**14, p=law.ravel())
    floor = distance((true[:, None] >> np.array([3, 2, 1, 0])) & 1)
    many, few = (distance(perfect.noise_samples("tiny", arm, steps)) for steps in (100, 2))
    assert many < floor + 0.02 < few


@pytest.mark.slow
def test_the_report_of_fabricated_runs(fabricate, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "story", load("story"))
    runs = tmp_path / "runs"
    members = expansion.members(f"{run.STUDY}:digits", runs / "digits")
    for number, arm in enumerate(("raster", "masked")):
        member = next(one for one in members if one.config.name == arm)
        fabricate(member.folder, name=arm, bits=2.0 + number)
    fabricate(runs / "digits" / "raster_of_an_earlier_study", name="raster", overrides={"model.channels": 8})
    run.main([f"--runs={runs}", "--report"])
    assert "known: no runs yet" in capsys.readouterr().out
    text = (runs / "report" / "report.md").read_text()
    assert "central_digits.png" in text and text.count("\n| raster") == text.count("\n| masked") > 0
    (runs / "mnist").mkdir()  # its first runs are training: the others' report is written none the less
    run.main([f"--runs={runs}", "--tiers=mnist,digits", "--report"])
    assert "mnist holds no run" in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no run of known in"):
        run.main([f"--runs={runs}", "--tiers=known", "--report"])
    with pytest.raises(UserError, match="--tiers: name some of known"):
        run.main(["--tiers=", "--report"])
    with pytest.raises(UserError, match="--tiers: there is no tier 'digit'"):
        run.main(["--tiers=digit", "--report"])
    with pytest.raises(UserError, match="--jobs: 0 is less than 1"):
        run.main(["--jobs=0"])
