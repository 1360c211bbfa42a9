"""WordPiece: a caption as the numbers of its pieces, as BERT was trained to read it.

The text is cleaned and cut at spaces and marks; then each word is the longest pieces of the vocabulary from left to
right, a piece within a word written with ## before it (Devlin et al. 2019, arXiv:1810.04805; Wu et al. 2016,
arXiv:1609.08144, section 4.1). Plain Python, for the library that does the same brings a client of a model hub along.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ddpm_jax.errors import UserError, one_line
from ddpm_jax.files import Facts, from_json

UNKNOWN, FIRST, LAST = "[UNK]", "[CLS]", "[SEP]"
"""Pieces that stand for a word of which some part is in no vocabulary, before a text and after it."""

WITHIN = "##"
"""Written before a piece that does not begin a word."""

LONGEST = 100
"""Letters of a word; a longer one is unknown."""

_IDEOGRAPHS = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF)),
    *((0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F)),
)
"""Ranges of letters that are words by themselves, as BERT has them."""


@dataclass(frozen=True)
class WordPiece:
    """A vocabulary of pieces, and how a text is cleaned before it is cut.

    >>> pieces = WordPiece(("[UNK]", "[CLS]", "[SEP]", "a", "lime", "##s", "!"))
    >>> pieces.numbers("A lïmes!")
    [3, 4, 5, 6]
    >>> pieces.words([3, 4, 5, 6])
    'a limes !'

    Attributes:
        vocabulary: the pieces, by their numbers.
        lower: letters are made small.
        plain: accents are left out.
        apart: each ideograph is a word.
    """

    vocabulary: tuple[str, ...]
    lower: bool = True
    plain: bool = True
    apart: bool = True

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.vocabulary)}

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    def number(self, piece: str) -> int:
        """Of one piece."""
        return self._numbers[piece]

    def numbers(self, text: str) -> list[int]:
        """Of the pieces of a text."""
        return [number for word in self._words(text) for number in self._of(word)]

    def words(self, numbers: Sequence[int]) -> str:
        """The pieces in one line, a space between two words or marks."""
        return " ".join(self.vocabulary[number] for number in numbers).replace(f" {WITHIN}", "")

    def _of(self, word: str) -> list[int]:
        if word not in self._known:
            self._known[word] = list(self._cut(word))
        return self._known[word]

    def _cut(self, word: str) -> Iterator[int]:
        """The longest piece that the word begins with, then that of what is left; unknown if there is one without."""
        found, start = [], 0
        while start < len(word) <= LONGEST:
            mark = WITHIN if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self._numbers), None)
            if end is None:
                break
            found.append(self._numbers[mark + word[start:end]])
            start = end
        yield from found if start == len(word) else [self._numbers[UNKNOWN]]

    def _words(self, text: str) -> Iterator[str]:
        """Runs of letters between spaces, and each mark."""
        text = "".join(self._cleaned(letter) for letter in text)
        if self.plain:
            text = "".join(letter for letter in unicodedata.normalize("NFD", text) if not _is(letter, "Mn"))
        if self.lower:
            text = "".join(letter.lower() for letter in text)  # one by one: a sigma is one, wherever it stands
        for part in text.split():
            word = ""
            for letter in part:
                if _mark(letter):
                    yield from filter(None, (word, letter))
                    word = ""
                else:
                    word += letter
            if word:
                yield word

    def _cleaned(self, letter: str) -> str:
        """A letter without what is none: spaces are alike, signs that control a terminal are nothing."""
        if letter in "\t\n\r":
            return " "
        if letter == "\ufffd" or (_is(letter, "C") and not _is(letter, "Cn")):
            return ""
        if letter.isspace():
            return " "
        alone = self.apart and any(low <= ord(letter) <= high for low, high in _IDEOGRAPHS)
        return f" {letter} " if alone else letter


def _is(letter: str, category: str) -> bool:
    return unicodedata.category(letter).startswith(category)


def _mark(letter: str) -> bool:
    """Of punctuation; in ASCII all that is no letter and no digit."""
    return _is(letter, "P") or (letter.isascii() and not letter.isalnum())


def read(folder: Path) -> WordPiece:
    """From `tokenizer.json`, or else `vocab.txt`, of a folder.

    Raises:
        UserError: neither is there, or it is of another kind.
    """
    try:
        if (path := folder / "tokenizer.json").is_file():
            found = _of_json(path)
        elif (path := folder / "vocab.txt").is_file():
            found = _of_lines(path)
        else:
            raise UserError(f"{folder}: neither tokenizer.json nor vocab.txt is there")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        words = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{path} does not read as a WordPiece tokeniser ({words})") from error
    if missing := [piece for piece in (UNKNOWN, FIRST, LAST) if piece not in found.vocabulary]:
        raise UserError(f"{path}: its vocabulary has no {missing[0]}")
    return found


def _of_json(path: Path) -> WordPiece:
    """As the library `tokenizers` writes it."""
    values = from_json(path.read_bytes())
    clean, model = values["normalizer"] or {}, values["model"]
    kinds = (model.get("type"), clean.get("type"), (values["pre_tokenizer"] or {}).get("type"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        words = ", ".join(str(kind) for kind in kinds)
        raise UserError(f"{path}: it is {words}; a tokeniser of BERT is WordPiece, BertNormalizer, BertPreTokenizer")
    own = (model["unk_token"], model["continuing_subword_prefix"], model["max_input_chars_per_word"])
    if own != (UNKNOWN, WITHIN, LONGEST) or not clean["clean_text"]:
        raise UserError(f"{path}: its unknown piece, prefix, longest word or cleaning is not BERT's")
    pieces: Mapping[str, int] = model["vocab"]
    if sorted(pieces.values()) != list(range(len(pieces))):
        raise UserError(f"{path}: the pieces are not numbered 0 ... {len(pieces) - 1}")
    return _made(sorted(pieces, key=pieces.__getitem__), clean, "lowercase", "handle_chinese_chars")


def _of_lines(path: Path) -> WordPiece:
    """A piece a line; `tokenizer_config.json` beside it says how a text is cleaned, if that is not as usual."""
    beside = path.with_name("tokenizer_config.json")
    clean = from_json(beside.read_bytes()) if beside.is_file() else {}
    pieces = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return _made(pieces, clean, "do_lower_case", "tokenize_chinese_chars")


def _made(pieces: Sequence[str], clean: Facts, lower: str, apart: str) -> WordPiece:
    """Accents go where letters are made small, unless it says otherwise."""
    small, plain = bool(clean.get(lower, True)), clean.get("strip_accents")
    return WordPiece(tuple(pieces), small, small if plain is None else bool(plain), bool(clean.get(apart, True)))
