"""What a figure depends on besides its config."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ddpm_jax import runs


def test_provenance():
    known = runs.provenance()
    json.dumps(known)
    assert re.fullmatch(r"\d+\.\d+\..+", known["versions"]["jax"])
    assert known["device"]["count"] >= 1
    assert known["git_commit"] is None or len(known["git_commit"].removesuffix("+changes")) == 40


def test_a_package_inside_another_repository_has_not_its_commit(tmp_path):
    """A wheel's files in the ignored `.venv` of somebody's repository."""

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git("add", ".")
    git("commit", "-q", "-m", "theirs")
    site = tmp_path / ".venv" / "site"
    source = Path(runs.__file__).parents[1]
    shutil.copytree(source, site / "ddpm_jax", ignore=shutil.ignore_patterns("__pycache__"))
    words = "from ddpm_jax.runs import origin; print(origin.__file__, origin.git_commit())"

    def told():
        environment = {**os.environ, "PYTHONPATH": str(site)}
        line = [sys.executable, "-c", words]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)

    done = told()
    assert done.stdout.split() == [str(site / "ddpm_jax" / "runs" / "origin.py"), "None"]
    git("add", "-f", ".venv")
    git("commit", "-q", "-m", "now it is theirs")
    done = told()
    assert re.fullmatch("[0-9a-f]{40}", done.stdout.split()[1])
