"""A run's metrics.jsonl: what a resumed run keeps, notices and writes again."""

import json
import warnings

import pytest

from ddpm_jax.training.facts import Facts
from ddpm_jax.training.lines import Lines, read_lines


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path, losses=(0.5, 0.25)):
    """A run of two steps whose second is a milestone; the facts of its checkpoint."""
    lines = Lines(path)
    for step, loss in enumerate(losses, 1):
        lines.write(step, {"loss": loss, "learning_rate": 0.5})
    facts = Facts(1.0, 0.125, *lines.mark)
    lines.write(len(losses), {"validation_loss": 0.125})
    lines.write(len(losses), {"test/frechet_distance": 3.0})  # figures at the end, which come again
    lines.write(len(losses) + 1, {"loss": 9.0})
    lines.close()
    return facts


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


WHOLE = [
    {"step": 1, "loss": 0.5, "learning_rate": 0.5},
    {"step": 2, "loss": 0.25, "learning_rate": 0.5},
    {"step": 2, "validation_loss": 0.125},
]


def test_a_resumed_run_keeps_the_rows_up_to_its_step_and_says_nothing(path):
    facts = written(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = Lines(path, 2, facts)
    assert rows(path) == WHOLE
    lines.write(3, {"loss": 0.0})
    lines.close()
    assert rows(path) == [*WHOLE, {"step": 3, "loss": 0.0}]


def test_a_checkpoint_s_row_that_a_kill_has_kept_from_being_written_is_written(path):
    facts = written(path)
    kept = path.read_bytes().splitlines(keepends=True)
    for left in (2, 3):  # without the validation row, and with it
        path.write_bytes(b"".join(kept[:left]))
        Lines(path, 2, facts).close()
        assert rows(path) == WHOLE


def test_rows_that_nobody_vouches_for_are_not_kept(path):
    facts = written(path)
    path.write_bytes(path.read_bytes() * 2)
    Lines(path, 2, facts).close()
    assert rows(path) == WHOLE


def test_what_was_lost_or_changed_is_said_and_the_rest_is_kept(path):
    facts = written(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"0.25") + 2] ^= 1
    damages = {"emptied": b"", "cut": whole[:20], "flipped": bytes(flipped), "binary": b"\xff" * 40}
    for content in damages.values():
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="is not as it was at step 2") as told:
            Lines(path, 2, facts).close()
        assert len(told) == 1
        assert rows(path)[-1] == {"step": 2, "validation_loss": 0.125}
    path.unlink()
    with pytest.warns(UserWarning, match="is not as it was"):
        Lines(path, 2, facts).close()


def test_every_flipped_bit_of_what_a_checkpoint_vouches_for_is_noticed(path):
    facts = written(path)
    whole = path.read_bytes()
    for byte in range(0, facts.log_bytes, 5):
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << byte % 8
        path.write_bytes(flipped)
        with pytest.warns(UserWarning, match="is not as it was"):
            Lines(path, 2, facts).close()


def test_lines_are_plain_json_and_odd_ones_are_left_out(path):
    lines = Lines(path)
    lines.write(1, {"loss": float("nan"), "rate": float("inf")})
    lines.close()
    assert rows(path) == [{"step": 1, "loss": None, "rate": None}]
    path.write_bytes(b'{"step": 2}\n{"step": "3"}\n{"step": true}\n' + b"[" * 100_000 + b'\n{"step": 4}\n{"step": 5')
    assert read_lines(path) == [{"step": 2}, {"step": 4}]


def test_half_a_row_is_taken_back(path, monkeypatch):
    """A disk that has room for a part of it: the file is as it was, and so is what is known of it."""
    lines = Lines(path)
    lines.write(1, {"loss": 0.5})
    before, mark = path.read_bytes(), lines.mark
    whole = lines._file

    class Short:
        name, truncate = str(path), whole.truncate

        def write(self, line):
            return whole.write(line[:5])

    lines._file = Short()
    with pytest.raises(OSError, match="No space left"):
        lines.write(2, {"loss": 0.5})
    assert (path.read_bytes(), lines.mark) == (before, mark)
    lines._file = whole
    lines.close()
