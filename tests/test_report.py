"""The report command: what it writes, what it says, and wrong input in one line."""

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import report
from ddpm_jax.errors import UserError
from ddpm_jax.runs import pictures

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fabricate):
    """Two groups with curves, checkpoints and pictures, three seeds each, and one of a known law."""
    root = tmp_path_factory.mktemp("report") / "sweep"
    random = np.random.default_rng(0)
    for label, level in (("raster", 1.0), ("noise", 2.0)):
        for seed in range(3):
            at = [
                {
                    "steps": steps,
                    "network_evaluations_per_sample": float(steps),
                    "flops_per_sample": 1e6 * steps,
                    "quality": {"frechet": 10 * level + 80 / steps + seed / steps, "precision": 0.5},
                }
                for steps in (1, 4, 16)
            ]
            past = [
                {
                    "step": step,
                    "training_flops": 1e7 * step,
                    "images_seen": 64 * step,
                    "likelihood": {"value": level + 9 / step + seed / 50, "standard_error": 0.1, "kind": "bound"},
                    "quality": {"frechet": 10 * level + 900 / step},
                }
                for step in (25, 50, 100)
            ]
            folder = fabricate(
                root / f"{label}_seed{seed}", seed, label, bits=level + seed / 10, curve=at, history=past
            )
            pictures.grid(folder / "samples.png", random.uniform(-1, 1, (64, 8, 8, 1)))
            pictures.film(folder / "film.png", *random.uniform(-1, 1, (2, 10, 6, 8, 8, 1)))
    law = {"kl": 0.25, "total_variation": 0.125}
    fabricate(root / "law", samples=law, kind="exact", overrides={"data.name": "known"})
    return root


@pytest.fixture(scope="module")
def said(sweep):
    """What the report of these runs, which is there since, has said."""
    with contextlib.redirect_stdout(io.StringIO()) as words:
        report.main([str(sweep), f"--published={ROOT}/experiments/published/*.json", "--title=A study"])
    return words.getvalue().splitlines()


def test_everything_is_written_and_needs_nothing_else(sweep, said):
    output = sweep / "report"
    assert said == [str(output / name) for name in ("report.md", "report.html", "table.csv", "lines.csv")]
    names = {path.name for path in output.glob("*.png")}
    parts = {"quality", "samples", "films", "history", "training"}  # one point of the known law makes no plot
    assert names == {*(f"{part}_digits.png" for part in parts), "training_known.png"}
    for name in names:
        assert (output / name).stat().st_size < 300_000
        Image.open(output / name).load()
    page = (output / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == page.count("<img ") == len(names)
    assert not re.search(r'(src|href)="(?!data:)', page) and "://" not in page
    written = (output / "report.md").read_text()
    assert written.startswith("# A study\n\n7 runs in 3 groups of 1 to 3 seeds each.")
    assert set(re.findall(r"\]\(([^)]*)\)", written)) == names
    digits = written.split("## digits")[1].split("## ")[0]
    # bits 1.0, 1.1, 1.2 at seeds 0, 1, 2: 0.1 / sqrt 3 * 4.3027
    assert re.search(r"\| raster +\| +1\.100 ± 0\.248 +\| bound \|", digits)
    assert digits.index("| raster") < digits.index("| noise") < digits.index("*independent pixels*")
    assert "| KL |" not in digits and "0.2500" in written.split("## known")[1]
    with (output / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["data"], row["group"]) for row in rows} >= {("digits", "raster"), ("digits", "noise")}
    with (output / "lines.csv").open() as file:
        points = [
            (float(row["x"]), float(row["value"]), row["runs"])
            for row in csv.DictReader(file)
            if (row["group"], row["figure"], row["against"]) == ("noise", "frechet", "flops_per_sample")
        ]
    assert points == [
        (1e6, pytest.approx(101), "3"),
        (4e6, pytest.approx(40.25), "3"),
        (16e6, pytest.approx(25.0625), "3"),
    ]
    assert "Published figures: cifar10" in written and "nothing stands beside them" in written


def test_the_command_needs_no_jax_does_not_report_its_report_and_leaves_the_runs_files(sweep, said):
    """Written again, in a process of its own."""

    def own():
        files = (path for path in sweep.rglob("*") if path.is_file() and path.parent.name != "report")
        return {path: path.read_bytes() for path in files}

    before = own()
    assert len(before) > 20
    code = (
        "import sys; from ddpm_jax import report; "
        f"report.main([{str(sweep)!r}]); "
        "assert not {'jax', 'jaxlib', 'flax', 'orbax', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    written = (sweep / "report" / "report.md").read_text()
    assert "7 runs" in written and "A study" not in written
    assert own() == before
    assert json.loads((sweep / "law" / "result.json").read_text())["finished"]


def test_what_differs_and_what_is_left_out_is_said(tmp_path, fabricate, capsys):
    a, b = fabricate(tmp_path / "a", name="a"), fabricate(tmp_path / "b", seed=1, name="a", device="gpu", commit="beef")
    twin, cut = fabricate(tmp_path / "c", name="a"), fabricate(tmp_path / "d", name="d")
    (cut / "result.json").write_text('{"config": {"da')
    report.main([str(a), str(b), str(twin), str(cut), f"--output={tmp_path / 'out'}"])
    written = (tmp_path / "out" / "report.md").read_text()
    for words in (
        f"- {cut} is left out: result.json is damaged (",
        f"- {twin} has the config and the seed of {a}; only the latter counts",
        "- the runs were evaluated by different versions of the code: c0ffee (1); beef (1)",
        "- the runs were trained on different devices: cpu: A (1); gpu (1)",
        "2 runs in 1 group of 2 seeds each",
    ):
        assert words in written
    said = capsys.readouterr().out
    assert f"{cut} is left out" in said and f"{twin} has the config" in said


def test_where_it_writes():
    assert report.default_output([ROOT / "missing"]) == ROOT / "missing" / "report"


def test_several_runs_are_reported_beside_them(tmp_path, fabricate):
    a, b = fabricate(tmp_path / "a"), fabricate(tmp_path / "b")
    assert report.default_output([a, b]) == tmp_path / "report"
    assert report.default_output([a]) == a / "report"
    assert report.default_output([tmp_path, b]) == tmp_path / "report"


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        report.main([str(argument) for argument in arguments])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_input_is_one_line_and_writes_nothing(tmp_path, fabricate):
    run = fabricate(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert "holds no run" in refused(tmp_path / "empty")
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "are required: RUNS" in refused()
    assert "is not a folder" in refused(run, f"--output={tmp_path / 'file'}")
    assert "there is no file" in refused(run, f"--published={tmp_path / 'none.json'}")
    assert "is not a file" in refused(run, f"--published={tmp_path / 'empty'}")
    assert "name is empty" in refused(run, "")
    assert "no such folder" in refused("x" * 5000) and "too long" in refused(run, f"--output={'x' * 5000}")
    assert "unknown option --titel; did you mean '--title'?" in refused(run, "--titel=x")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_one_line(tmp_path, fabricate, monkeypatch):
    run = fabricate(tmp_path / "a")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device" in refused(run)
    assert not list((run / "report").iterdir())
