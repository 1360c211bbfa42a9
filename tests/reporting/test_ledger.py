"""The ledger: which folders are runs, what is read of them, and that one that is damaged does not stop the rest."""

import json

import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.reporting import ledger


def test_runs_are_found_at_any_depth_and_once(tmp_path, fabricate):
    a, b = fabricate(tmp_path / "a"), fabricate(tmp_path / "sweep" / "deep" / "b")
    (a / "checkpoints" / "3").mkdir(parents=True)
    (a / "checkpoints" / "3" / "config.json").write_text("{}")  # inside a run is no other
    (tmp_path / "again").symlink_to(a)
    assert ledger.find([tmp_path]) == [a, b]
    assert ledger.find([a, tmp_path, tmp_path / "again"]) == [a, b]


def test_what_is_read_is_what_the_result_says(tmp_path, fabricate):
    samples = {"frechet": 12.5, "kl": 0.25, "kl_standard_error": 0.5, "recall": None}
    folder = fabricate(tmp_path / "a", seed=3, bits=2.5, samples=samples)
    run = ledger.read(folder)
    assert run.seed == 3 and run.kind == "bound" and run.device == "cpu: A" and run.commit == "c0ffee"
    assert run.figures["bits_per_dimension"] == ledger.Figure(2.5, 0.025)
    assert run.figures["nats"] == ledger.Figure(110.0, 1.1)
    assert run.figures["kl"] == ledger.Figure(0.25, 0.5)
    assert run.figures["frechet"] == ledger.Figure(12.5)
    assert run.figures["training_flops"].value == 1e9 and run.figures["evaluations"].value == 16
    assert "recall" not in run.figures and "bits_per_dimension_ode" not in run.figures


def test_keys_that_an_older_version_did_not_have_are_the_base_s(tmp_path, fabricate):
    folder = fabricate(tmp_path / "a")
    now = ledger.read(folder).config
    result = json.loads((folder / "result.json").read_text())
    del result["config"]["name"], result["config"]["evaluation"]["curve"], result["config"]["model"]["remat"]
    (folder / "result.json").write_text(json.dumps(result))
    assert ledger.read(folder).config == now


def test_a_key_of_an_older_version_is_that_of_today(tmp_path, fabricate):
    """Runs of two versions are one line where they are alike."""
    now = ledger.read(fabricate(tmp_path / "a", overrides={"model.conditions": ("label",)})).config
    for name in ("result.json", "config.json"):
        content = json.loads((tmp_path / "a" / name).read_text())
        model = content.get("config", content)["model"]
        del model["conditions"]
        model["conditional"] = True
        (tmp_path / "a" / name).write_text(json.dumps(content))
    run = ledger.read(tmp_path / "a")
    assert (run.config, run.faults) == (now, [])


def test_a_log_that_was_cut_off_and_resumed(tmp_path, fabricate):
    folder = fabricate(tmp_path / "a")
    rows = [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}, {"step": 2, "validation_loss": 7.0}]
    lines = [json.dumps(row) for row in [*rows, {"step": 2, "loss": 3.0}]]
    (folder / "metrics.jsonl").write_text(
        "\n".join([*lines[:3], "3", "[]", '{"loss": 1}', lines[3], '{"step": 3, "lo'])
    )
    assert ledger.read(folder).log == [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 3.0, "validation_loss": 7.0}]
    (folder / "metrics.jsonl").unlink()
    without = ledger.read(folder)
    assert without.log == [] and without.faults == ["metrics.jsonl is not there: no losses are shown"]


def test_folders_that_do_not_open_are_told(tmp_path, fabricate, monkeypatch):
    import os

    fabricate(tmp_path / "good")
    (tmp_path / "shut").mkdir()
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (note,) = ledger.gather([tmp_path]).notes
    assert note == f"{tmp_path / 'shut'} is left out: it cannot be opened (Permission denied)"
    with pytest.raises(UserError, match=r"holds no run .*Permission denied"):
        ledger.gather([tmp_path / "shut"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"config": {', "result.json is damaged (Expecting"),
        ("", "result.json is damaged (Expecting value"),
        ("[]", "result.json is damaged (it holds no object"),
        ("{}", "result.json is damaged (config is no object)"),
        ('{"config": {}}', "result.json is damaged (config has no data.name)"),
        (
            '{"config": {"data": {"name": "digits"}, "seed": "x"}}',
            "result.json is damaged (config.seed is not a number",
        ),
        ('{"config": {"data": {"name": "digits"}}, "checksum": "0"}', "result.json is damaged (it is not as it was"),
        (b"\xff\xfe", "result.json is damaged ("),
        (None, "it has no result.json yet"),
    ],
)
def test_a_damaged_run_is_named_and_left_out(tmp_path, fabricate, content, words):
    good, bad = fabricate(tmp_path / "good"), fabricate(tmp_path / "bad")
    if content is None:
        (bad / "result.json").unlink()
    else:
        (bad / "result.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = ledger.gather([tmp_path])
    assert [run.folder for run in found.runs] == [good]
    assert len(found.notes) == 1 and found.notes[0].startswith(f"{bad} is left out: {words}")
    with pytest.raises(UserError) as caught:
        ledger.gather([bad])
    assert "no run has a result to report" in str(caught.value) and "\n" not in str(caught.value)


def test_places_without_runs_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for place, words in (("empty", "holds no run"), ("missing", "no such folder")):
        with pytest.raises(UserError, match=words):
            ledger.find([tmp_path / place])


def test_what_is_not_evaluated_or_not_finite_is_said(tmp_path, fabricate):
    bare = fabricate(tmp_path / "bare")
    result = json.loads((bare / "result.json").read_text())
    for name in ("likelihood", "quality", "evaluated", "sampling"):
        del result[name]
    (bare / "result.json").write_text(json.dumps(result))
    fabricate(tmp_path / "wild", samples={"frechet": float("nan"), "precision": 0.5})
    found = ledger.gather([tmp_path])
    assert found.notes == [
        f"{bare} is not evaluated: only its costs and its losses are shown",
        f"{tmp_path / 'wild'}: result.json: quality.samples.frechet is not a finite number (nan)",
    ]
    assert "frechet" not in found.runs[1].figures and found.runs[1].figures["precision"].value == 0.5


def test_a_run_whose_figures_are_not_all_there_is_told(tmp_path, fabricate):
    folder = fabricate(tmp_path / "a")
    assert ledger.gather([tmp_path]).notes == []
    result = json.loads((folder / "result.json").read_text())
    for missing in ([], ["curve"], ["curve", "quality", "sampling"]):  # they come one after the other
        kept = {key: value for key, value in result.items() if key not in missing}
        (folder / "result.json").write_text(json.dumps({**kept, "finished": False}))
        (note,) = ledger.gather([tmp_path]).notes
        assert note.startswith(f"{folder} is not finished")


def test_runs_that_were_made_longer_or_begin_with_others_weights_are_no_twins(tmp_path, fabricate):
    """They have the config and the seed of a run that was trained from start to end, and are another model."""
    import json

    from ddpm_jax.reporting.groups import group

    told = {
        "straight": {},
        "longer": {"extended": [{"step": 50, "changes": "training.steps 50 -> 100", "date": "2026-01-01"}]},
        "later": {"started_from": {"run": "runs/x", "step": 7, "weights": "ema 0.9"}},
        "odd": {"extended": [{"step": "x"}], "started_from": 3},
    }
    for name, values in told.items():
        path = fabricate(tmp_path / name, name="same") / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    found = ledger.gather([tmp_path])
    groups, notes = group(found.runs)
    assert sorted(len(one.runs) for one in groups) == [1, 1, 1]
    assert len({one.label for one in groups}) == 3
    (twin,) = [note for note in notes if "has the config and the seed" in note]
    assert "odd" in twin and "straight" in twin
    words = "\n".join(found.notes)
    assert "longer: was made longer at step 50 (training.steps 50 -> 100)" in words
    assert "later: begins with the weights of step 7 of runs/x (ema 0.9)" in words
