"""Pictures that fit: as they are where they can be, with fewer colours, then with fewer pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.reporting import png


@pytest.fixture
def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8))


def test_what_fits_is_not_changed(noise):
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.fitting(noise)))), np.asarray(noise))


@pytest.mark.parametrize(("share", "same_size"), [(0.6, True), (0.1, False)])
def test_what_does_not_fit_is_made_to(noise, monkeypatch, share, same_size):
    limit = int(len(png.fitting(noise)) * share)
    monkeypatch.setattr(png, "LARGEST", limit)
    content = png.fitting(noise)
    assert len(content) <= limit
    assert (Image.open(io.BytesIO(content)).size == noise.size) is same_size
