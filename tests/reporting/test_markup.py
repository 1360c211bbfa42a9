"""What others wrote comes out as the text it is, in Markdown and in HTML, whatever it holds."""

import html
import random
import re
import string
from html.parser import HTMLParser

import pytest

from ddpm_jax.reporting.markup import as_html, as_markdown, quoted
from ddpm_jax.runs.shown import clean

PIECES = [
    *string.punctuation,
    *("<b>", "</td>", "<!--", "<script>alert(1)</script>", "<img src=x onerror=y>", "&lt;", "&#60;", "&amp", "]]>"),
    *(
        "**so**",
        "_so_",
        "`so`",
        "[a](b)",
        "![a](b)",
        "[^1]",
        "~~so~~",
        "$x^",
        "$$",
        "\\(",
        "\\\\",
        "https://a.b",
        "www.a.b",
    ),
    *("a@b.c", "# a", "- a", "+ a", "1. a", "1) a", "> a", "---", "===", "| - |", "a|b", "```", "    a", "\ta"),
    *("\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x00", "\x07", "\x1b[31m", "\x7f", "\x9b"),
    *("\ud800", "\udcff", "\u202e", "\u202a", "\u2066", "\u2069", "\u200f", "\u061c", "\ufeff", "\uffff"),
    *("é", "שלום", "مرحبا", "日本語", "Ω", "😀", "e\u0301", "\u3000", "\xa0", "a", "Z", "7", " "),
]
WORDS = [*PIECES, *("".join(random.Random(i).choices(PIECES, k=5)) for i in range(300))]
ISOLATES = re.compile("[\u2068\u2069]")


class Text(HTMLParser):
    """Tags and text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    handle_endtag = lambda self, tag: self.tags.append(f"/{tag}")  # noqa: E731
    handle_comment = handle_decl = unknown_decl = handle_pi = lambda self, data: self.tags.append(data)

    def handle_data(self, data):
        self.text += data


def same(text, word):
    """Whether the text is the word in one line; spaces at its ends and several in a row do not show."""
    return ISOLATES.sub("", text).split() == clean(word).split()


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_text(word):
    markup = quoted(word)
    page = Text(as_html(markup))
    assert page.tags == [] and same(page.text, word)
    markdown = as_markdown(markup, starts=True)
    known = r"\\[!-/:-@\[-`{-~]|&(?:lt|gt|amp|#124);"  # escapes and entities
    rest = re.sub(known, "\x00", markdown)
    assert not re.search(r"[\\`\[\]#~$@|]|\*(?=\S)|(?<=\S)\*|<(?=\S)|&(?=[#\w])|\b_|_\b|://|www\.", rest, re.IGNORECASE)
    assert not re.match(r"[-+=>]|\d+[.)]|\s", rest)
    assert Text(markdown).tags == []  # whoever takes it for HTML finds none
    assert same(html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: html.escape(found[1]), markdown)), word)
    for written in (markdown, page.text):
        written.encode()
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u200f\u2028\u2029]", written)


@pytest.mark.parametrize("word", WORDS[::7])
def test_a_word_in_our_own_markup_stays_in_its_place(word):
    page = Text(as_html(f"before *{quoted(word) or 'x'}* and `code`, {quoted(word)} after"))
    assert page.tags == ["em", "/em", "code", "/code"]
    assert page.text.startswith("before ") and page.text.endswith(" after")
    markdown = as_markdown(f"*{quoted(word) or 'x'}* `code`")
    assert markdown.startswith("*") and markdown.endswith("* `code`")


def test_letters_from_right_to_left_are_kept_apart():
    assert quoted("שלום") == "\u2068שלום\u2069"
    assert quoted("abc é") == "abc é"


def test_our_own_words_are_no_html_either():
    assert as_markdown("some *words* and `a_b`, 2 * 3 < 7 > 5 & 1") == "some *words* and `a_b`, 2 * 3 < 7 > 5 & 1"
    assert as_markdown("<b>") == "&lt;b&gt;" and as_html("*a* <b>") == "<em>a</em> &lt;b&gt;"
