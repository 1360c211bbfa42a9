"""Distances from a known law, against numbers worked out by hand and the statistics of counts."""

import math

import numpy as np

from ddpm_jax.metrics.law import between, law_distance, law_references

LAW = np.array([[0.5, 0.25], [0.125, 0.125]])


def test_by_hand():
    samples = np.array([[0, 0], [0, 0], [0, 1], [1, 1]], np.uint8)  # q = 1/2, 1/4, 0, 1/4
    found = law_distance(samples, LAW)
    assert math.isclose(found.kl, 0.25 * math.log(2))
    assert math.isclose(found.total_variation, 0.125)
    assert math.isclose(found.variance, (0.25 * 0.75 + 0.25) / (0.25 * 0.75 + 0.375 * 0.625))
    assert found.count == 4


def test_one_picture_has_no_variance_and_impossible_ones_are_infinitely_far():
    assert law_distance(np.zeros((9, 2), np.uint8), LAW).variance == 0
    never = np.array([[0.5, 0.5], [0.0, 0.0]])
    assert law_distance(np.ones((9, 2), np.uint8), never).kl == math.inf


def test_true_draws_score_what_chance_makes_of_them():
    """2 N KL of N true draws is chi-square with (states - 1) degrees of freedom, for many draws."""
    rng = np.random.default_rng(1)
    law = rng.dirichlet(np.full(64, 5.0)).reshape((2,) * 6)
    count = 20_000
    line = law_references(law, count)["train"]
    degrees = law.size - 1
    assert abs(2 * count * line.kl - degrees) < 4 * math.sqrt(2 * degrees / 5)
    assert 0 < line.kl_deviation < line.kl


def test_independent_values_lose_the_mutual_information():
    line = law_references(LAW, 100)["independent_pixels"]
    product = np.outer(LAW.sum(1), LAW.sum(0))
    assert math.isclose(line.kl, float(np.sum(product * np.log(product / LAW))))
    assert math.isclose(line.kl, between(product, LAW, 1).kl)
    assert math.isclose(line.variance, 1)
