"""A run that begins with the weights of another: which they are, what is anew, and what is refused."""

import shutil

import jax
import numpy as np
import pytest

from ddpm_jax import runs
from ddpm_jax.devices.plan import make_plan
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import load_data, make
from ddpm_jax.pipeline import beginning
from ddpm_jax.pipeline.job import make_job
from ddpm_jax.pipeline.restored import load_run
from ddpm_jax.pipeline.train import train
from ddpm_jax.reporting import ledger


def parts(config):
    dataset = load_data(config)
    return make(config, dataset.description), dataset


def test_the_first_state_has_those_weights_and_nothing_else_of_that_run(trained, tiny_config, tmp_path):
    """Averages start at them. Another decay, seed, optimizer and data order are the new run's own."""
    tiny_config.seed, tiny_config.optimizer.ema, tiny_config.sampler.ema = 5, (0.5, 0.99), 0.5
    experiment, dataset = parts(tiny_config)
    plan = make_plan("jit", "replicated", "auto", 8)
    found = beginning.weights_of(str(trained), tmp_path / "new", experiment, dataset, {})
    theirs = load_run(trained).params  # what that run is sampled with
    state = make_job(experiment, plan, dataset).begun_with(found.params)
    drawn = make_job(experiment, plan, dataset).fresh()
    assert (int(state.step), int(state.skipped.sum())) == (0, 0)
    assert set(state.ema) == {"0.5", "0.99"}
    for params in (state.params, *state.ema.values()):
        jax.tree.map(np.testing.assert_array_equal, params, theirs)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, drawn.opt_state)
    assert jax.tree.structure(state) == jax.tree.structure(drawn)
    assert found.facts["step"] == 2 and found.facts["weights"] == "ema 0.9"


@pytest.mark.slow
def test_a_run_knows_what_it_began_with(trained, tiny_config, tmp_path, capsys):
    """It goes on without that run, and no other weights are taken for it."""
    shutil.copytree(trained, tmp_path / "old")
    tiny_config.objective.name, tiny_config.process.schedule = "bound", "ddpm_cosine"
    result = train(tiny_config, tmp_path / "new", start_from=f"{tmp_path / 'old'}:2")
    said = capsys.readouterr().out
    assert f"begins with the weights of step 2 of {tmp_path / 'old'} (ema 0.9)" in said
    assert "process.schedule is 'ddpm_linear' and not 'ddpm_cosine'" in said
    start = result["started_from"]
    assert (start["run"], start["step"]) == (str(tmp_path / "old"), 2)
    assert runs.read_lineage(tmp_path / "new")["started_from"] == start
    assert ledger.origins(result) == [f"begins with the weights of step 2 of {tmp_path / 'old'} (ema 0.9)"]
    shutil.rmtree(tmp_path / "old")
    for words in ("", str(tmp_path / "old")):
        assert train(tiny_config, tmp_path / "new", start_from=words)["steps"] == 2
    with pytest.raises(UserError, match=r"--from: .*began with step 2 of .*; choose another --workdir"):
        train(tiny_config, tmp_path / "new", start_from=str(trained))


def test_one_that_was_killed_before_its_first_checkpoint_begins_with_them_again(trained, tiny_config, tmp_path):
    folder = tmp_path / "new"
    experiment, dataset = parts(tiny_config)
    facts = beginning.weights_of(str(trained), folder, experiment, dataset, {}).facts
    with pytest.raises(KeyboardInterrupt), runs.claim(folder, tiny_config, start=facts):
        raise KeyboardInterrupt
    lineage = runs.read_lineage(folder)
    assert beginning.asked("", folder, lineage, there=True) == f"{trained}:2"
    beginning.weights_of(f"{trained}:2", folder, experiment, dataset, lineage)
    lineage["started_from"]["checksum"] += 1
    with pytest.raises(UserError, match=r"--from: .* no longer holds the weights"):
        beginning.weights_of(f"{trained}:2", folder, experiment, dataset, lineage)


def test_weights_that_do_not_fit_are_named_in_a_line(trained, tiny_config, tmp_path):
    tiny_config.model.channels, tiny_config.model.depth = 16, 2
    with pytest.raises(UserError) as caught:
        train(tiny_config, tmp_path / "new", start_from=str(trained))
    line = str(caught.value)
    assert line.startswith(f"--from: the weights in {trained} do not fit: network/") and "\n" not in line
    assert "there, and here" in line and " more" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("missing", "--from: missing holds no run"),
        ("run:3", "--from: run: step 3 is not kept there; choose from 2"),
    ],
)
def test_what_is_not_there_is_refused(trained, tiny_config, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    with pytest.raises(UserError) as caught:
        train(tiny_config, tmp_path / "new", start_from=words)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"--from: .* holds a run that began with its own weights"):
        train(tiny_config, tmp_path / "run", start_from=words)
