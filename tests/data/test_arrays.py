import numpy as np
import pytest

from ddpm_jax.conditions import Conditions, Label, Picture, Text, Vector
from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import from_arrays
from ddpm_jax.errors import UserError

PICTURES = np.zeros((3, 2, 2, 1), np.uint8)


def test_arrays_with_captions_know_the_words_of_training():
    known = {"train": ["a red apple", "a pear", "red"], "validation": ["a red pear"] * 3}
    for order in (["train", "validation"], ["validation", "train"]):
        dataset = from_arrays({split: (PICTURES, {"text": known[split]}) for split in order})
        assert list(dataset.sources) == order
        text = dataset.description.conditions["text"]
        assert isinstance(text, Text) and text.vocabulary == ("a", "apple", "pear", "red") and text.length == 3
        for split, captions in known.items():
            found = dataset.split(split).rows([0, 1, 2])["condition"]["text"]
            assert [text.words(row) for row in found] == captions
    known["validation"][1] = "a green pear"
    with pytest.raises(UserError, match="split 'validation' of 'arrays': text: the word 'green' is in no caption"):
        from_arrays({split: (PICTURES, {"text": captions}) for split, captions in known.items()})


def test_arrays_with_several_conditions():
    kinds = Conditions((("label", Label(3)), ("pose", Vector(2)), ("sketch", Picture((2, 2, 1)))))
    values = {"label": np.array([0, 3, 2]), "pose": np.ones((3, 2)), "sketch": PICTURES, "more": None}
    source = from_arrays({"train": (PICTURES, values)}, conditions=kinds).split("train")
    found = source[1]["condition"]
    assert found["label"] == 3 and found["pose"].tolist() == [1, 1, 1] and (found["sketch"][..., 1] == 1).all()
    np.testing.assert_array_equal(source.arrays()[1]["label"], [0, 3, 2])


@pytest.mark.parametrize(
    ("values", "options", "line"),
    [
        ([0, 1, 2], {}, "split 'train' of 'arrays': there are labels: say how many classes they are of, labels=10"),
        ({"label": [0, 1, 2]}, {}, "split 'train' of 'arrays': there are labels"),
        ([0, 1], {"labels": 3}, "split 'train' of 'arrays': there are 2 of 'label' for 3 images"),
        ([0, 1, 4], {"labels": 3}, "split 'train' of 'arrays': label: 4 is not one of 0 ... 2"),
        ({"pose": np.ones((3, 2))}, {}, "split 'train' of 'arrays': 'pose' is no text: say of what kind it is"),
        ({"text": ["", "", ""]}, {}, "split 'train' of 'arrays': there is no word in any caption"),
        ({}, {"conditions": classes(3)}, "split 'train' of 'arrays' has no 'label'"),
    ],
    ids=str,
)
def test_arrays_whose_conditions_do_not_fit(values, options, line):
    with pytest.raises(UserError) as caught:
        from_arrays({"train": (PICTURES, values)}, **options)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
