"""What a run kept of its data describes them, and gives no image."""

import json

import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.conditions import Conditions, Label, Picture, Text, Vector
from ddpm_jax.errors import UserError

KINDS = Conditions(
    (
        ("label", Label(3, ("a", "b", "c"))),
        ("text", Text(("pear", "red"), 2)),
        ("pose", Vector(2)),
        ("sketch", Picture((2, 2, 1))),
    )
)
VALUES = {
    "label": [0, 2],
    "text": ["red pear", "pear"],
    "pose": np.ones((2, 2)),
    "sketch": np.zeros((2, 2, 2, 1), "u1"),
}


@pytest.fixture
def whole():
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    return data.from_arrays({"train": (images, VALUES), "validation": (images, VALUES)}, conditions=KINDS)


def test_the_description_comes_back(whole):
    kept = json.loads(json.dumps(data.fingerprint(whole)))
    found = data.recorded(kept)
    assert found.description == whole.description
    assert list(found.description.conditions) == list(KINDS)
    assert found.description.class_names == ("a", "b", "c")
    assert data.difference(data.fingerprint(found), data.fingerprint(whole)) is None
    with pytest.raises(UserError, match=r"config\.data\.dir"):
        found.split("train")


@pytest.mark.parametrize("kept", [{}, {"description": {}}, {"description": {"labels": "many"}}, {"description": 3}])
def test_what_describes_no_data(kept):
    with pytest.raises(ValueError):
        data.recorded(kept)
