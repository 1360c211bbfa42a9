"""Captions are cut into pieces as the library of BERT's authors' successors does it."""

import json
import random
from pathlib import Path

import pytest

from ddpm_jax.conditions import wordpiece
from ddpm_jax.errors import UserError

PEER = json.loads((Path(__file__).parent / "fixtures" / "wordpiece.json").read_text())
CLEANING = {
    "small": {"lowercase": True, "strip_accents": None},
    "capitals": {"lowercase": False, "strip_accents": None},
    "accents": {"lowercase": True, "strip_accents": False},
}


def as_json(vocabulary, normalizer=None, **model):
    cleaning = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, **(normalizer or {})}
    known = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    pieces = {piece: number for number, piece in enumerate(vocabulary)}
    return {
        "normalizer": {"strip_accents": None, "lowercase": True, **cleaning},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", **known, "vocab": pieces, **model},
    }


def write(folder, values):
    (folder / "tokenizer.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("name", CLEANING)
def test_it_equals_the_library(tmp_path, name):
    """`tokenizers` 0.23.3."""
    found = wordpiece.read(write(tmp_path, as_json(PEER["vocabulary"], CLEANING[name])))
    assert [found.numbers(text) for text in PEER["strings"]] == PEER[name]


@pytest.mark.parametrize("name", CLEANING)
def test_both_ways_to_keep_a_tokeniser_are_alike(tmp_path, name):
    (tmp_path / "vocab.txt").write_text("\n".join(PEER["vocabulary"]) + "\n", encoding="utf-8")
    settings = {"do_lower_case": CLEANING[name]["lowercase"], "strip_accents": CLEANING[name]["strip_accents"]}
    if name != "small":  # as usual, so it may be missing
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    lines = wordpiece.read(tmp_path)
    assert lines == wordpiece.read(write(tmp_path, as_json(PEER["vocabulary"], CLEANING[name])))


def test_words_come_back_from_their_pieces():
    known = wordpiece.WordPiece(tuple(PEER["vocabulary"]))
    for text in ("a red apple left of a green lime", "watermelons !", "unable"):
        assert known.words(known.numbers(text)) == text
    assert known.words([]) == ""


def test_random_strings_are_cut_as_the_installed_library_does():
    tokenizers = pytest.importorskip("tokenizers")
    numbers = {piece: number for number, piece in enumerate(PEER["vocabulary"])}
    peer, own = tokenizers.BertWordPieceTokenizer(vocab=numbers), wordpiece.WordPiece(tuple(PEER["vocabulary"]))
    draw = random.Random(0)
    for _ in range(3000):
        letters = [chr(draw.randrange(0x500)) if draw.random() < 0.5 else draw.choice("aed rx.-'5") for _ in range(9)]
        text = "".join(letters)
        assert own.numbers(text) == peer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values["model"].update(type="BPE"), "BPE"),
        (lambda values: values.update(pre_tokenizer=None), "None"),
        (lambda values: values["normalizer"].update(type="Lowercase"), "Lowercase"),
        (lambda values: values["normalizer"].update(clean_text=False), "cleaning"),
        (lambda values: values["model"].update(continuing_subword_prefix="@@"), "prefix"),
        (lambda values: values["model"]["vocab"].update(new=99), "numbered"),
        (lambda values: values["model"]["vocab"].update(new=None), "TypeError"),
        (lambda values: values["model"].pop("vocab"), "vocab"),
        (lambda values: values["model"].update(vocab={"[UNK]": 0, "[CLS]": 1}), "SEP"),
        (lambda values: values.clear(), "normalizer"),
    ],
)
def test_another_tokeniser_is_one_line(tmp_path, change, words):
    values = as_json(PEER["vocabulary"])
    change(values)
    with pytest.raises(UserError, match=words) as caught:
        wordpiece.read(write(tmp_path, values))
    assert "\n" not in str(caught.value)


def test_a_folder_without_one_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        wordpiece.read(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe[UNK]")
    with pytest.raises(UserError, match=r"vocab\.txt does not read"):
        wordpiece.read(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[")
    with pytest.raises(UserError, match=r"tokenizer\.json does not read"):
        wordpiece.read(tmp_path)
