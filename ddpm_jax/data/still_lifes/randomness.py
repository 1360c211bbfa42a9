"""Random numbers that belong to a picture's number: the same in whatever batch it is drawn."""

import numpy as np
from jaxtyping import Float64, UInt64

_STEP = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, numbers: np.ndarray, purpose: int, count: int) -> Float64[np.ndarray, "n count"]:
    """`count` uniform numbers in [0, 1) for each of `numbers`; independent for other seeds, numbers and purposes.

    A hash of (seed, purpose, number, place) by SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable
    pseudorandom number generators", 2014). There is no state, so nothing depends on the batch.
    """
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.array([seed], np.int64).view(np.uint64)) + np.uint64(purpose) * _STEP)
        start = _mix(_mix(np.asarray(numbers, np.int64).view(np.uint64) * _STEP) ^ key)
        bits = _mix(start[:, None] + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * _STEP)
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(bits: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
