import pytest

from ddpm_jax.data.folders.finding import find
from tests.data.folders.examples import refused


def said(root):
    return {one.path: (one.split, one.label, one.text) for one in find(root).files}


ROWS = [
    {"file_name": "a.png", "label": "cat", "text": "a grey cat"},
    {"file_name": "deep/b.png", "label": "dog", "text": "a dog; asleep"},
]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_rows_say_labels_and_texts(name, draw, table):
    root = draw(["a.png", "deep/b.png"])
    table(root / name, ROWS)
    assert said(root) == {"a.png": ("", "cat", "a grey cat"), "deep/b.png": ("", "dog", "a dog; asleep")}


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_texts_stand_beside_the_classes_of_folders(name, draw, table):
    root = draw(["cat/a.png", "dog/b.png"])
    table(root / name, [{"file_name": f"./{path}", "text": f"of {path[:3]}"} for path in ("cat/a.png", "dog/b.png")])
    assert said(root) == {"cat/a.png": ("", "cat", "of cat"), "dog/b.png": ("", "dog", "of dog")}


def test_a_table_in_each_split_and_one_above_them(draw, table):
    root = draw(["train/a.png", "test/a.png"])
    for split in ("train", "test"):
        table(root / split / "metadata.csv", [{"file_name": "a.png", "label": f"of {split}"}])
    found = {"train/a.png": ("train", "of train", None), "test/a.png": ("test", "of test", None)}
    assert said(root) == found
    for split in ("train", "test"):
        (root / split / "metadata.csv").unlink()
    rows = [{"file_name": f"{split}/a.png", "label": f"of {split}"} for split in ("train", "test")]
    table(root / "metadata.jsonl", rows)
    assert said(root) == found


def test_quotes_marks_and_letters_of_all_kinds(draw, table):
    root = draw(["ä b.png", "c.png"])
    (root / "metadata.csv").write_text(
        '\ufefffile_name,text\r\n"ä b.png","one, ""two"" and\nthree"\r\nc.png,ç ☃\r\n', encoding="utf-8", newline=""
    )
    assert [text for _, _, text in said(root).values()] == ["ç ☃", 'one, "two" and\nthree']
    (root / "metadata.csv").unlink()
    table(root / "metadata.jsonl", [{"file_name": "ä b.png", "text": "a\u2028b"}, {"file_name": "c.png", "text": "d"}])
    assert said(root)["ä b.png"][2] == "a\u2028b"


def test_columns_that_are_not_read_are_named(draw, table):
    root = draw(["a.png"])
    table(root / "metadata.csv", [{"file_name": "a.png", "text": "x", "width": 3, "licence": "CC0"}])
    (note,) = find(root).notes
    assert "licence, width" in note


WRONG = {
    "its picture c.png is not there": [{"file_name": "a.png", "label": 0}, {"file_name": "c.png", "label": 0}],
    "1 of 2 pictures": [{"file_name": "a.png", "label": 0}],
    "a.png has two rows": [{"file_name": "a.png", "label": 0}] * 2,
    "1 of 2 pictures have no text: b.png": [{"file_name": "a.png", "text": "x"}, {"file_name": "b.png", "text": ""}],
    "labels are numbers, as '3', and names, as 'cat'": [
        {"file_name": "a.png", "label": "3"},
        {"file_name": "b.png", "label": "cat"},
    ],
    "neither a column label nor text": [{"file_name": "a.png", "caption": "x"}, {"file_name": "b.png", "caption": "y"}],
}


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("words", WRONG)
def test_tables_that_do_not_fit(words, name, draw, table):
    root = draw(["a.png", "b.png"])
    table(root / name, WRONG[words])
    assert words in refused(find, root)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metadata.csv", "", "no column file_name"),
        ("metadata.csv", "name,label\na.png,1\n", "no column file_name"),
        ("metadata.csv", "file_name,label\na.png\n", "line 2, has another number of columns"),
        ("metadata.csv", "file_name,label\na.png,1,2\n", "line 2, has another number of columns"),
        ("metadata.csv", 'file_name,label\n"a.png,1\n', "cannot be read"),
        ("metadata.csv", "file_name,label\n,1\n", "line 2, has no file_name"),
        ("metadata.jsonl", "{\n", "line 1, is no JSON"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": 1}\n\n[1]\n', "line 3, is no JSON object"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": 1.5}\n', "the label of a.png is 1.5"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": true}\n', "the label of a.png is True"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": ["x"]}\n', "and no text"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": null}\n', "have no text"),
    ],
)
def test_tables_that_do_not_read(name, content, words, draw):
    root = draw(["a.png"])
    (root / name).write_text(content)
    assert words in refused(find, root)


def test_tables_that_are_no_text_and_two_of_them(draw, table):
    root = draw(["a.png"])
    (root / "metadata.csv").write_bytes(b"file_name,text\na.png,\xff\xfe\n")
    assert "UTF-8" in refused(find, root)
    table(root / "metadata.csv", [{"file_name": "a.png", "text": "x"}])
    table(root / "metadata.jsonl", [{"file_name": "a.png", "text": "x"}])
    assert "leave one of them" in refused(find, root)
