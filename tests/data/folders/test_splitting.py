import hashlib

import numpy as np
import pytest

from ddpm_jax.data.folders.splitting import assign, by_content, chosen
from ddpm_jax.errors import UserError

DIGESTS = [hashlib.sha256(bytes([row % 256, row // 256])).hexdigest() for row in range(20_000)]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_each_share_is_as_large_as_asked(share):
    """Binomial: within five deviations."""
    drawn = by_content(DIGESTS, share, 0)
    for split, part in (("test", share), ("validation", share), ("train", 1 - 2 * share)):
        deviation = np.sqrt(part * (1 - part) * len(DIGESTS))
        assert abs(drawn.count(split) - part * len(DIGESTS)) < 5 * deviation


def test_seeds_draw_independently():
    one, other = (np.array(by_content(DIGESTS, 0.25, seed)) == "test" for seed in (0, 1))
    both = (one & other).mean()
    assert abs(both - 0.25**2) < 5 * np.sqrt(0.0625 * 0.9375 / len(DIGESTS))


def test_no_picture_moves_when_others_come_or_go():
    before = dict(zip(DIGESTS[:500], by_content(DIGESTS[:500], 0.1, 3), strict=True))
    after = dict(zip(DIGESTS[::-1], by_content(DIGESTS[::-1], 0.1, 3), strict=True))
    assert all(after[digest] == split for digest, split in before.items())


def test_a_split_that_is_given_takes_none_of_the_others():
    places = ["test"] * 1000 + ["train"] * 9000
    rows = assign(places, DIGESTS[:10_000], 0.1, 0)
    assert sorted(rows["test"]) == list(range(1000))
    assert rows["validation"].min() >= 1000
    assert 700 < len(rows["validation"]) < 1100
    assert sorted(np.concatenate(list(rows.values()))) == list(range(10_000))


def test_the_order_in_a_split_is_that_of_the_contents():
    rows = assign([""] * 1000, DIGESTS[:1000], 0.1, 0)
    turned = assign([""] * 1000, DIGESTS[:1000][::-1], 0.1, 0)
    for split in rows:
        assert [DIGESTS[row] for row in rows[split]] == [DIGESTS[:1000][::-1][row] for row in turned[split]]
        assert len(rows[split]) < 10 or list(rows[split]) != sorted(rows[split])


SPLITS = {"train": np.arange(10, 30), "test": np.arange(5)}


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("train", range(10, 30)),
        ("train[:3]", range(10, 13)),
        ("train[18:]", range(28, 30)),
        ("train[-2:]", range(28, 30)),
        ("train[50%:75%]", range(20, 25)),
        ("test[:]", range(5)),
    ],
)
def test_words_of_a_config(words, rows):
    assert chosen(SPLITS, {"some": words})["some"].tolist() == list(rows)


@pytest.mark.parametrize(
    ("words", "hint"), [("trian", "did you mean 'train'"), ("train[5", "no split"), ("test[5:]", "holds no picture")]
)
def test_words_that_mean_nothing(words, hint):
    with pytest.raises(UserError, match=r"config\.data\.splits\.some: ") as caught:
        chosen(SPLITS, {"some": words})
    assert hint in str(caught.value)
