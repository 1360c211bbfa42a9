"""Text that pictures can show."""

from ddpm_jax.runs import fonts


def test_what_the_font_has_not_is_written_as_escapes():
    assert fonts.legible("Ωé") == "Ωé" and fonts.legible("日") == "\\u65e5" and fonts.legible("a\nb") == "a b"
    assert len(fonts.legible("a" * 500)) == fonts.MOST and len(fonts.legible("a" * 500, 400)) == 400
