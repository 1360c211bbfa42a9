"""Data sets whose captions a frozen encoder reads: each caption once, the same as a prompt, and known by its words."""

import json
import shutil

import jax
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax.conditions import Label, Picture, Tokens
from ddpm_jax.data import encoder as encoders
from ddpm_jax.data import from_arrays
from ddpm_jax.data.encoder import Encoder
from ddpm_jax.errors import UserError

CAPTIONS = ["a red apple", "two limes", "a green apple", "a red apple", "a red apple left of two green limes"] * 8


def captioned(captions=CAPTIONS, count=40):
    images = np.random.RandomState(0).randint(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    part = slice(0, 10)
    values = (images, {"text": captions}), (images[part], {"text": captions[part]})
    return from_arrays(dict(zip(("train", "validation"), values, strict=True)), name="captioned")


@pytest.fixture
def folder(tmp_path, write_encoder):
    return write_encoder(tmp_path / "encoder")


@pytest.fixture
def data(folder, cache):
    return dj.data.encoded(captioned(), folder)


def test_images_stay_and_captions_are_as_prompts_are(data):
    kind, train = data.description.conditions["text"], data.split("train")
    assert isinstance(kind, Tokens)
    assert kind.length == 9  # "limes" is two pieces
    expected = kind.rows(CAPTIONS)
    images, conditions = train.arrays()
    np.testing.assert_array_equal(images, captioned().split("train").arrays()[0])
    np.testing.assert_allclose(conditions["text"][:], expected, atol=2e-3)
    rows = train.rows([7, 0, 39])
    np.testing.assert_array_equal(rows["condition"]["text"], conditions["text"][np.array([7, 0, 39])])
    np.testing.assert_array_equal(train[4]["condition"]["text"], conditions["text"][4])
    assert kind.words(rows["condition"]["text"][2]) == CAPTIONS[39]


def test_rows_are_the_same_whether_or_not_all_is_in_memory(folder, cache):
    one, other = (dj.data.encoded(captioned(), folder).split("train") for _ in range(2))
    one.arrays()
    jax.tree.map(np.testing.assert_array_equal, one.rows([3, 8]), other.rows([3, 8]))


def test_a_compiled_step_draws_the_same_values(data):
    train = data.split("train")
    on_device = jax.device_put(train.arrays())
    batch = jax.jit(dj.data.draw)(*on_device, jax.random.split(jax.random.key(0), 6))
    rows = train.rows(np.asarray(batch["row"]))
    np.testing.assert_array_equal(batch["condition"]["text"], rows["condition"]["text"])
    np.testing.assert_array_equal(batch["image"], rows["image"])


def test_the_bytes_of_all_are_known_before_any_caption_is_encoded(data, monkeypatch):
    train = data.split("train")
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", lambda *_: pytest.fail("it was encoded"))
        size = train.nbytes
    assert size == sum(array.nbytes for array in jax.tree.leaves(train.arrays()))


def test_each_different_caption_is_kept_once_and_read_once(folder, cache, monkeypatch):
    read, real = [], Encoder.encode

    def counted(self, numbers, progress=""):
        read.append(len(numbers))
        return real(self, numbers, progress)

    monkeypatch.setattr(Encoder, "encode", counted)
    first, again = (dj.data.encoded(captioned(), folder).split("train") for _ in range(2))
    table = first.arrays()[1]["text"]
    assert table.features.shape[0] == 4
    assert table.features.dtype == np.float16
    first.rows([0])
    again.arrays()
    assert read == [4]  # of the second time, the cache has it
    dj.data.encoded(captioned(), shutil.copytree(folder, folder.parent / "copy")).split("train").arrays()
    assert read == [4]  # wherever the encoder lies


def test_another_encoder_is_read_anew(folder, cache, tmp_path, write_encoder):
    other = write_encoder(tmp_path / "other", seed=1)
    one, two = (dj.data.encoded(captioned(), place).split("train").arrays()[1]["text"] for place in (folder, other))
    assert np.abs(one[:] - two[:]).max() > 0.1


def test_other_conditions_stay_and_those_without_a_caption_are_none(folder, cache):
    kinds = dj.conditions.Conditions
    plain = captioned(["a red apple", "two limes"], 2)
    images = plain.split("train").arrays()[0]
    text = plain.description.conditions["text"]
    conditions = kinds((("label", Label(3)), ("text", text), ("sketch", Picture((8, 8, 1)))))
    values = {"label": [1, 2], "text": ["a red apple", "two limes"], "sketch": list(images)}
    whole = from_arrays({"train": (images, values)}, conditions=conditions)
    found = dj.data.encoded(whole, folder)
    assert list(found.description.conditions) == ["label", "text", "sketch"]
    rows, before = (each.split("train").rows([1, 0])["condition"] for each in (found, whole))
    np.testing.assert_array_equal(rows["label"], before["label"])
    np.testing.assert_array_equal(rows["sketch"], before["sketch"])
    captions = whole.split("train").arrays()[1]["text"]
    captions.flags.writeable = True
    captions[1] = 0  # all padding: none
    rows = dj.data.encoded(whole, folder).split("train").rows([0, 1])["condition"]["text"]
    assert rows[0].any()
    assert not rows[1].any()


def test_a_run_knows_its_data_by_their_words_and_by_the_encoder(data, folder, tmp_path, write_encoder, cache):
    facts = dj.data.fingerprint(data)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["splits"] == dj.data.fingerprint(captioned())["splits"]  # and not by rounded outputs
    assert dj.data.difference(facts, dj.data.fingerprint(dj.data.encoded(captioned(), folder))) is None
    other = dj.data.encoded(captioned(), write_encoder(tmp_path / "other", seed=1))
    assert "text.encoder" in dj.data.difference(facts, dj.data.fingerprint(other))
    reordered = dj.data.encoded(captioned(CAPTIONS[::-1]), folder)
    assert "sha256" in dj.data.difference(facts, dj.data.fingerprint(reordered))


def _many_pieces(folder, write):
    return captioned(["a red apple " * 5] * 40), folder


def _no_text(folder, write):
    return from_arrays({"train": (np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2, 3])}, labels=4), folder


def _capitals(folder, write):
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    return captioned(), folder


def _small_vocabulary(folder, write):
    with (folder / "vocab.txt").open("a") as file:
        file.write("\none more")
    return captioned(), folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_many_pieces, "15 pieces"),
        (_no_text, "no text"),
        (_capitals, "capitals"),
        (_small_vocabulary, "14 pieces"),
        (lambda folder, write: (captioned(), folder / "nowhere"), "no such folder"),
        (lambda folder, write: (captioned(), folder.parent), "config.json"),
    ],
)
def test_what_cannot_be_is_one_line(folder, write_encoder, make, words):
    with pytest.raises(UserError, match=words) as caught:
        dj.data.encoded(*make(folder, write_encoder))
    assert "\n" not in str(caught.value)


def test_an_encoder_reads_many_captions_in_parts_as_few(folder, monkeypatch):
    encoder = encoders.read(folder)
    numbers = np.random.RandomState(0).randint(0, 13, (11, 5)).astype(np.int32)
    numbers = np.where(np.cumprod(numbers > 0, axis=1), numbers, 0)
    whole = encoder.encode(numbers)
    monkeypatch.setattr(encoders, "BATCH", 4)
    np.testing.assert_allclose(encoder.encode(numbers), whole, atol=1e-5)
    assert not whole[numbers == 0].any()
