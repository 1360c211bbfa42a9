"""Folders of pictures, written by Pillow."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw(tmp_path):
    """A function that writes pictures of noise, `{path: (width, height)}`, no two alike, and returns the folder."""
    generator = np.random.default_rng(0)
    root = tmp_path / "pictures"

    def write(files, size=(8, 8), channels=3):
        sizes = files if isinstance(files, dict) else dict.fromkeys(files, size)
        for name, (width, height) in sizes.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (height, width) if channels == 1 else (height, width, channels)
            Image.fromarray(generator.integers(0, 256, shape).astype(np.uint8)).save(path)
        return root

    return write


@pytest.fixture
def table():
    """A function that writes a table of rows, `metadata.csv` or `metadata.jsonl`."""

    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jsonl":
            lines = [json.dumps(row) for row in rows]
        else:
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write
