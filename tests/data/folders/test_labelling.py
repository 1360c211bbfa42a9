import pytest

from ddpm_jax.data.folders.labelling import captions_of, classes_of
from ddpm_jax.errors import UserError


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        ([2, 0, 1, 0], (), [2, 0, 1, 0]),
        (["2", "0", "1", "10"] + [str(number) for number in range(3, 10)], (), [2, 0, 1, 10, *range(3, 10)]),
        (["10", "9", "2"], ("2", "9", "10"), [2, 1, 0]),  # by size, not by letters
        ([-1, 1], ("-1", "1"), [0, 1]),
        (["00", "01"], ("00", "01"), [0, 1]),
        (["2", "a", "10"], ("10", "2", "a"), [1, 2, 0]),
    ],
    ids=str,
)
def test_numbers_are_themselves_and_names_are_numbered(labels, names, numbers):
    kind, found = classes_of(labels)
    assert (kind.names, kind.classes, found.tolist()) == (names, len(set(labels)), numbers)
    if names:
        assert [kind.words(number) for number in found] == [str(label) for label in labels]
        assert kind.rows([str(label) for label in labels]).tolist() == numbers


def test_captions_have_the_words_of_all():
    texts = ["A red cat.", "two dogs, asleep", "a dog"]
    kind, rows = captions_of(texts)
    assert [kind.words(row) for row in rows] == ["a red cat .", "two dogs , asleep", "a dog"]
    with pytest.raises(UserError, match=r"config\.data\.dir: text"):
        captions_of([" ", "  "])
