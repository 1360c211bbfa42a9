"""The script measures what it says it measures, on few pictures."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
STEPS = ["prepare", "imports", "stream", "stream, decoding", "evaluation"]


@pytest.fixture(scope="module")
def script():
    file = ROOT / "experiments" / "own_pictures" / "measure.py"
    spec = importlib.util.spec_from_file_location("measure_own_pictures", file)
    assert spec and spec.loader
    module = sys.modules["measure_own_pictures"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measure_own_pictures"]


def test_pictures_are_the_same_whenever_and_in_whatever_order_they_are_made(script, tmp_path):
    script.make(tmp_path / "a", 40, 16)
    script.make(tmp_path / "b", 30, 16)
    script.make(tmp_path / "b", 40, 16)
    one, other = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert one == other and len(set(one.values())) == 40
    assert {path.suffix for path in one} == {".png", ".jpg"} and len({path.parent for path in one}) == script.CLASSES
    assert np.asarray(Image.open(tmp_path / "a" / "0" / "0000000.png")).shape == (16, 16, 3)


MEASURE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import measure
for code in sys.argv[3:]:
    said, step = measure.measured("any", ["-c", code], Path(sys.argv[2]))
    print(json.dumps([said, step.mebibytes, step.seconds, step.busy]))
"""


def test_the_most_memory_and_the_work_of_a_child_are_its_own(script, tmp_path):
    """In a process as small as the script's, for a child begins with its parent's memory."""
    code = "import time; a = bytearray(200 * 2**20); time.sleep(0.3); print('done')"
    words = [sys.executable, "-c", MEASURE, str(Path(script.__file__).parent), str(tmp_path), code, "1"]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    (said, most, seconds, busy), (_, least, _, _) = map(json.loads, lines)
    assert said == "done\n" and 200 <= most < 300 and least < 200
    assert seconds > 0.3 and busy < seconds
    with pytest.raises(script.UserError, match="any failed: no luck"):
        script.measured("any", ["-c", "import sys; sys.exit('error: no luck')"], tmp_path)


@pytest.mark.slow
def test_each_step_reads_as_many_images_as_it_says(script, tmp_path):
    script.main(["--count=200", "--size=8", "--images=2000", f"--place={tmp_path}", f"--output={tmp_path / 'o.json'}"])
    result = json.loads((tmp_path / "o.json").read_text())
    steps = {step["name"]: step for step in result["steps"]}
    assert list(steps) == STEPS
    assert steps["prepare"]["images"] == 200 and steps["imports"]["images"] == 0
    assert steps["stream"]["images"] == steps["stream, decoding"]["images"] == 1280  # whole dispatches
    kept = json.loads((tmp_path / "prepared" / "prepared.json").read_text())["splits"]
    assert steps["evaluation"]["images"] == kept["train"]["images"] + kept["test"]["images"]


def test_counts_are_refused_in_one_line(script):
    with pytest.raises(script.UserError, match="--count: 0"):
        script.main(["--count=0"])
