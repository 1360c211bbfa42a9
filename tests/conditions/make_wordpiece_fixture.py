"""Makes fixtures/wordpiece.json: how the library `tokenizers` cuts some strings into the pieces of a small vocabulary.

Run it with `tokenizers` installed:

    python tests/conditions/make_wordpiece_fixture.py
"""

import json
from pathlib import Path

FIXTURE = Path(__file__).parent / "fixtures" / "wordpiece.json"
SETTINGS = {
    "small": {"lowercase": True},
    "capitals": {"lowercase": False},
    "accents": {"lowercase": True, "strip_accents": False},
}
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple", "##s", "water", "##mel", "##on", "left", "of", "green"),
    *("lime", "cafe", "café", "Café", "##é", ",", ".", "!", "-", "'", "s", "it", "un", "##able", "##a", "##b", "##le"),
    *("中", "文", "naive", "naïve", "$", "x", "##x", "ij", "ß", "σας", "##ς", "##σ", "σα", "Red"),
    *("##5", "5", "한", "i"),
]
STRINGS = [
    *("a red apple", "A  RED\tApples!", "watermelons", "Café, CAFÉ.", "naïve", "it's", "unable", "unablex", "$5,5"),
    *("green-lime", "中文 lime", "x" * 100, "x" * 101, "a\u200bred", "red\u00a0lime", "ΣΑΣ", "İ", "zebra apple", ""),
    *("  \n ", "a\x00b", "apple\ufffds", "…a", "한", "e\u0301", "Cafe\u0301", "a🍎red", "STRAẞE ß", "ﬁ"),
    *("[SEP2]", "##s"),
]

if __name__ == "__main__":
    import tokenizers

    found = {"version": tokenizers.__version__, "vocabulary": VOCABULARY, "strings": STRINGS}
    numbers = {piece: number for number, piece in enumerate(VOCABULARY)}
    for name, settings in SETTINGS.items():
        tokeniser = tokenizers.BertWordPieceTokenizer(vocab=numbers, **settings)
        found[name] = [tokeniser.encode(text, add_special_tokens=False).ids for text in STRINGS]
    FIXTURE.parent.mkdir(exist_ok=True)
    FIXTURE.write_text(json.dumps(found) + "\n")
