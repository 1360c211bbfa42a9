"""Binarised data sets: `binarised_` and the name of a grey set, each pixel drawn once, 0 or 1.

    x_d ~ Bernoulli(u_d / 255),   u_d = 0 ... 255 the stored intensity of pixel d

The draw is this project's own, made once and for good: every run, machine and split sees the same binary images, and
no epoch draws them anew ("dynamic" binarisation, under which figures come out lower). It is *not* the static set of the
literature (Salakhutdinov and Murray 2008; Larochelle and Murray 2011; TFDS calls that one `binarized_mnist`), which is
another draw of the same law, split into 50,000, 10,000 and 10,000; so figures on the two may be compared with care but
not ranked. Nothing is thresholded at one half, which would give a far easier set.
"""

import hashlib

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError

PREFIX = "binarised_"
DRAW = 1  # which draw: part of the random bits and of the version; another number is another data set


def describe(grey: Description) -> Description:
    """The binarised set's description: `binarised_mnist`, version `3.0.1-draw1`, 2 levels, and the labels of `grey`.

    Raises UserError unless `grey` has 256 levels and one channel.
    """
    if (grey.levels, grey.channels) != (256, 1):
        raise UserError(
            f"data set '{PREFIX}{grey.name}' needs images of 256 levels and one channel, but {grey.name!r} has "
            f"{grey.levels} and {grey.channels}: choose a grey data set, for instance {PREFIX}mnist"
        )
    return Description(f"{PREFIX}{grey.name}", f"{grey.version}-draw{DRAW}", grey.shape, 2, grey.conditions)


def draw(images: UInt8[np.ndarray, "n *site"]) -> UInt8[np.ndarray, "n *site"]:
    """Grey images of levels 0 ... 255 to their binary draw, 0 or 1: 1 with probability u/255.

    A pixel's random number is a word of the SHAKE-256 hash of `DRAW` and its whole image, so that it depends on the
    image alone: an image keeps its bits whatever else is read, in whatever order it is stored, and however splits are
    cut, on any machine. Different images get independent bits, and two equal ones equal bits.
    """
    drawn = np.empty_like(images)
    for row, image in enumerate(images):
        # 255 divides 2^32 - 1, so word mod 255 is uniform but for one part in 2^32.
        stream = hashlib.shake_256(f"ddpm_jax binarised {DRAW}:".encode() + image.tobytes()).digest(4 * image.size)
        drawn[row] = np.frombuffer(stream, "<u4").reshape(image.shape) % 255 < image
    return drawn
