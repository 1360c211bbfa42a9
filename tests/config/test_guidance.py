"""What a config may say of guidance."""

import pytest

from ddpm_jax.config import guidance
from ddpm_jax.experiment import check
from tests.config.examples import about, changed, told

BOTH = {
    "model__conditions": ("label", "text"),
    "objective__condition_drop_each": 0.1,
    "sampler__guidance_each": ("text:3", "label:1.5"),
}


def test_weights_keep_their_order():
    assert guidance.weights(("text:3", "label:1.5")) == (("text", 3.0), ("label", 1.5))
    assert guidance.weights(()) == ()


@pytest.mark.parametrize(
    "words", [("text",), ("text:",), (":3",), ("text:x",), ("text:-1",), ("text:nan",), ("a:1", "a:2")]
)
def test_words_that_are_no_weights(words):
    with pytest.raises(ValueError, match=r"weight") as raised:
        guidance.weights(words)
    assert "\n" not in str(raised.value)


def test_what_can_be_guided():
    check(changed(**BOTH))
    own = {"objective__condition_drop_each": 0.0, "objective__condition_drop_own": ("text:0.1", "label:0.6")}
    check(changed(**{**BOTH, **own}))
    check(changed(sampler__weak="runs/weak", sampler__guidance=2.0))  # of an unconditional run too
    check(changed(sampler__weak=":500", evaluation__curve_guidance=(2.0, 3.0), sampler__guidance=1.5))
    check(changed(sampler__classifier="runs/classifier", sampler__classifier_scale=3.0))


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"sampler__guidance_each": ("text:3",)}, "sampler.guidance_each", "label has no weight"),
        ({"sampler__guidance_each": ("text:3", "labl:1")}, "sampler.guidance_each", "is not told 'labl'"),
        ({"sampler__guidance_each": ("text=3", "label:1")}, "sampler.guidance_each", "is not name:weight"),
        ({"model__conditions": ("label",)}, "sampler.guidance_each", "for several conditions"),
        ({"objective__condition_drop_each": 0.0}, "sampler.guidance_each", "condition_drop_each"),
        (
            {"objective__condition_drop_own": ("text:0",)},
            "sampler.guidance_each",
            "text always is told",
        ),
        ({"objective__condition_drop_each": 0.0}, "sampler.guidance_each", "label, text always"),
        ({"objective__condition_drop_own": ("text:1",)}, "objective.condition_drop_own", "below 1"),
        ({"objective__condition_drop_own": ("txt:0.5",)}, "objective.condition_drop_own", "is not told 'txt'"),
        (
            {"model__conditions": ("label",), "sampler__guidance_each": (), "objective__condition_drop_own": ("a:0",)},
            "objective.condition_drop_own",
            "for several conditions",
        ),
        ({"sampler__guidance": 2.0}, "sampler.guidance", "leave it 1"),
        ({"evaluation__curve_guidance": (2.0,)}, "evaluation.curve_guidance", "leave it ()"),
        ({"sampler__weak": "runs/weak"}, "sampler.guidance_each", "one weight"),
    ],
)
def test_what_cannot_be_guided_so(changes, key, reason):
    assert reason in about(key, told(check, changed(**{**BOTH, **changes})))


def test_helpers_that_would_do_nothing():
    assert "set a weight" in about("sampler.weak", told(check, changed(sampler__weak="runs/weak")))
    lines = told(check, changed(sampler__classifier_scale=3.0))
    assert "there is no classifier" in about("sampler.classifier_scale", lines)
