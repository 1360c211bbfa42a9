"""The page needs nothing but itself, and says what the report says."""

import base64
import re
from html.parser import HTMLParser

from ddpm_jax.reporting import html
from ddpm_jax.reporting.blocks import Bullets, Figures, Heading, Paragraph, Picture, as_markdown
from ddpm_jax.reporting.tables import Table

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Text, pictures and whether tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_escaped(tmp_path):
    content = b"\x89PNG not really"
    (tmp_path / "a.png").write_bytes(content)
    blocks = [
        Heading(1, "A < B"),
        Paragraph("some *words* and `code`, 2 * 3 * 4"),
        Bullets(["<script>alert(1)</script>", "two"]),
        Figures(Table(("", "bits & pieces"), [("*train*", "1 ± 2"), ("a_b", "-")])),
        Picture("a.png", 'A "title"', "its caption"),
    ]
    page = html.page("A < B", blocks, tmp_path)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.sources == [f"data:image/png;base64,{base64.b64encode(content).decode()}"]
    words = " ".join(reader.text)
    for part in ("A < B", "<script>alert(1)</script>", "bits & pieces", "1 ± 2", "2 * 3 * 4", "its caption"):
        assert part in words
    assert "<em>words</em>" in page and "<code>code</code>" in page and "<em>train</em>" in page
    assert not re.search(r"https?:|<script|<link|url\(|@import", page)
    written = as_markdown(blocks)
    assert '![A "title"](a.png)' in written and "- two\n" in written and written.startswith("# A < B\n")
