"""The notebooks: they run from top to bottom, the long one with the values below in its cell tagged `parameters`."""

import ast
import json
import re
from pathlib import Path

import pytest

from ddpm_jax.config import base

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORTENED = {"train_and_change": {"STEPS": 6, "SAMPLES": 24, "CODED": 4, "FEWER": (5,)}}
"""What a run in CI sets after a notebook's cell of parameters, by name."""


def _small(config):
    """The base of every config with a network that compiles in a moment."""
    config.model.update({"channels": 8, "blocks": 1, "multipliers": (1,), "attention_resolutions": ()})
    return config.copy_and_resolve_references


def cells(notebook, kind):
    """The sources of the cells of a kind, and their tags."""
    found = json.loads(notebook.read_text("utf-8"))["cells"]
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in found if cell["cell_type"] == kind]


def assigned(source):
    """The names that a cell assigns to."""
    return {target.id for node in ast.parse(source).body for target in getattr(node, "targets", [])}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_is_small_plain_python_with_links_that_lead_somewhere(notebook):
    assert notebook.stat().st_size < 300_000
    for source, _ in cells(notebook, "code"):
        compile(source, notebook.name, "exec")  # no magic: it runs as a script does
    for source, _ in cells(notebook, "markdown"):
        for link in re.findall(r"\]\(([^)\s#]+)", source):
            assert "://" in link or (notebook.parent / link).exists(), link


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_is_on_the_site_and_has_parameters(notebook):
    assert f"notebooks/{notebook.stem}.md" in (ROOT / "mkdocs.yml").read_text("utf-8")
    (parameters,) = [source for source, tags in cells(notebook, "code") if "parameters" in tags]
    assert set(SHORTENED.get(notebook.stem, {})) <= assigned(parameters)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_what_a_notebook_shows_was_made_by_one_run_of_it(notebook):
    """Pictures and figures are kept, for the site runs nothing; cells were run in order, from the first."""
    found = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    kinds = {output["output_type"] for cell in found for output in cell["outputs"]}
    assert kinds == {"stream", "display_data"}  # and no error


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path, monkeypatch):
    from matplotlib import pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "digits", _small(base.digits()))
    made = {"__name__": "__main__"}
    with plt.rc_context():
        plt.switch_backend("agg")
        for source, tags in cells(notebook, "code"):
            exec(compile(source, notebook.name, "exec"), made)
            if "parameters" in tags:
                made.update(SHORTENED.get(notebook.stem, {}))
            plt.close("all")
