"""A run's result.json: figures that come, that are kept, and that are not dropped for worse ones."""

import pytest

from ddpm_jax import runs
from ddpm_jax.files import plain, read_record
from ddpm_jax.runs.results import same_figures


def test_results_are_put_beside_one_another(tmp_path):
    path = runs.write_result(tmp_path, {"a": 1, "b": 1})
    assert runs.write_result(tmp_path, {"b": 2}) == path
    assert read_record(path) == {"a": 1, "b": 2}


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_damaged_result_is_written_anew(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.warns(UserWarning, match="is set aside as result.json.damaged and written anew"):
        path = runs.write_result(tmp_path, {"b": 2})
    assert read_record(path) == {"b": 2}
    assert (tmp_path / "result.json.damaged").read_text() == content


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"finished": "no"}'])
def test_what_is_not_finished(tmp_path, content):
    assert not runs.finished(tmp_path)
    (tmp_path / "result.json").write_text(content)
    assert not runs.finished(tmp_path)


def keep(folder, config, step=2, **figures):
    """An evaluation of a run that is cut off after these figures."""
    book = runs.begin_figures(folder, step, config)
    book.put("evaluated", {"step": step})
    for key, value in figures.items():
        book.put(key, value)


def test_figures_of_another_step_or_other_settings_are_kept(tmp_path, tiny_config):
    keep(tmp_path, tiny_config, quality={"samples": {"frechet": 1.0}})
    runs.end_figures(tmp_path, 2, tiny_config)
    assert read_record(tmp_path / "result.json")["quality"] == {"samples": {"frechet": 1.0}}
    tiny_config.sampler.steps += 1
    with pytest.warns(UserWarning, match="figures of step 2 are kept under 'before'"):
        keep(tmp_path, tiny_config)
    result = read_record(tmp_path / "result.json")
    assert result["quality"] is None
    (before,) = result["before"]
    assert before["quality"] == {"samples": {"frechet": 1.0}}
    assert before["config"]["sampler"]["steps"] + 1 == result["config"]["sampler"]["steps"]
    with pytest.warns(UserWarning, match="are kept under 'before'"):
        keep(tmp_path, tiny_config, step=3)
    runs.end_figures(tmp_path, 3, tiny_config)
    assert len(read_record(tmp_path / "result.json")["before"]) == 2
    tiny_config.evaluation.pictures = not tiny_config.evaluation.pictures  # no figure depends on them
    keep(tmp_path, tiny_config, step=3)
    runs.end_figures(tmp_path, 3, tiny_config)
    assert len(read_record(tmp_path / "result.json")["before"]) == 2


def test_an_attempt_that_is_cut_off_takes_no_figure_of_an_earlier_one(tmp_path, tiny_config):
    whole = {"likelihood": {"test": {"value": 2.0}}, "quality": {"samples": {"frechet": 1.0}}, "raw": {"step": 2}}
    runs.write_result(tmp_path, {"steps": 2})
    keep(tmp_path, tiny_config, **whole)
    runs.end_figures(tmp_path, 2, tiny_config)
    runs.write_result(tmp_path, {"finished": True})
    for _ in range(3):  # the same question again, cut off early each time
        keep(tmp_path, tiny_config, likelihood={"unit": "bits per dimension"})
        result = read_record(tmp_path / "result.json")
        (before,) = result["before"]
        assert {key: before[key] for key in whole} == whole
        assert result["finished"] is False
    again = {"likelihood": {"test": {"value": 2.5}}, "quality": {"samples": {"frechet": 1.5}}}
    keep(tmp_path, tiny_config, **again)
    runs.end_figures(tmp_path, 2, tiny_config)
    result = read_record(tmp_path / "result.json")
    assert {key: result[key] for key in whole} == {**again, "raw": {"step": 2}}  # which this one does not make
    assert result["finished"] is True
    assert result["before"] == []


def test_a_run_whose_result_was_lost_is_not_called_unfinished(tmp_path, tiny_config):
    (tmp_path / "result.json").write_text("{")
    with pytest.warns(UserWarning, match="is set aside"):
        keep(tmp_path, tiny_config)
    runs.end_figures(tmp_path, 2, tiny_config)
    assert "finished" not in read_record(tmp_path / "result.json")
    runs.begin_figures(tmp_path, 2, tiny_config, {"steps": 2})
    assert read_record(tmp_path / "result.json")["finished"] is False


def test_figures_begin_in_one_write(tmp_path, tiny_config, monkeypatch):
    """A kill between two would leave a run that is finished and has no figures."""
    keep(tmp_path, tiny_config)
    runs.write_result(tmp_path, {"steps": 2, "finished": True})
    written = []
    monkeypatch.setattr("ddpm_jax.runs.results.write_record", lambda path, values: written.append(values))
    tiny_config.sampler.steps += 1
    with pytest.warns(UserWarning):
        runs.begin_figures(tmp_path, 2, tiny_config)
    (values,) = written
    assert values["finished"] is False
    assert values["evaluated"] is None


def test_keys_that_came_later_do_not_make_an_earlier_run_another(tiny_config):
    now = plain(tiny_config.to_dict())
    earlier = {**now, "sampler": {key: value for key, value in now["sampler"].items() if "guidance_" not in key}}
    assert same_figures(earlier, now)
    now["sampler"]["guidance_interval"] = [0.2, 0.8]
    assert not same_figures(earlier, now)
