"""Text from outside in lines."""

from ddpm_jax.runs.shown import clean


def test_long_names_are_cut():
    assert clean("a" * 1000, 200) == "a" * 199 + "…" and len(clean("a" * 1000)) == 1000


def test_what_does_not_show_is_written_as_python_writes_it():
    assert clean(" a\x1b\u202e\ud83d\nb\r\n") == "a\\x1b\\u202e\\ud83d b"
