"""DDPM's tables against exact arithmetic and published numbers, and tables from files."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from ddpm_jax.schedules import Table, ddpm_cosine, ddpm_linear, ddpm_scaled_linear, ddpm_sigmoid, from_file


def exact_alpha_bars(betas):
    """prod (1 - beta), with 50 digits."""
    with localcontext() as context:
        context.prec = 50
        bars, product = [], Decimal(1)
        for beta in betas:
            product *= 1 - beta
            bars.append(product)
        return bars


def test_ddpm_linear_is_the_published_table():
    table = ddpm_linear(1000)
    with localcontext() as context:
        context.prec = 50
        slope = (Decimal("0.02") - Decimal("0.0001")) / 999
        bars = exact_alpha_bars([Decimal("0.0001") + i * slope for i in range(1000)])
    assert table.steps == 1000
    assert table.alphas[-1] ** 2 == pytest.approx(4.0358e-5, rel=1e-5)  # that of every published DDPM
    np.testing.assert_allclose(table.alphas[1:] ** 2, [float(bar) for bar in bars], rtol=1e-12)
    # 1 - alpha^2 keeps its digits even where it is 1e-4.
    np.testing.assert_allclose(table.sigmas[1:] ** 2, [float(1 - bar) for bar in bars], rtol=1e-12)


@pytest.mark.parametrize("table", [ddpm_linear(1000), ddpm_linear(50), ddpm_cosine(1000), ddpm_cosine(1)])
def test_tables_are_clean_at_zero_preserve_variance_and_lose_signal_steadily(table):
    assert (table.alphas[0], table.sigmas[0]) == (1, 0)
    assert len(table.alphas) == len(table.sigmas) == table.steps + 1
    np.testing.assert_allclose(table.alphas**2 + table.sigmas**2, 1, atol=1e-15)
    assert np.all(np.diff(table.alphas) < 0)


@pytest.mark.parametrize("steps", [25, 100, 250, 4000])
def test_ddpm_linear_keeps_the_total_noise_for_any_number_of_steps(steps):
    table = ddpm_linear(steps)
    betas = 1 - (table.alphas[1:] / table.alphas[:-1]) ** 2
    assert betas.sum() == pytest.approx(1000 * (1e-4 + 0.02) / 2)
    assert (betas[0], betas[-1]) == pytest.approx((0.1 / steps, 20 / steps), rel=1e-6)
    np.testing.assert_allclose(np.diff(betas, 2), 0, atol=1e-9)  # on a straight line


def test_betas_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta"):
        ddpm_linear(20)  # its last beta is 20/20
    with pytest.raises(ValueError, match="beta"):
        Table.from_betas(np.array([0.1, 0.0]))


def test_cosine_follows_its_definition_until_the_cap():
    table = ddpm_cosine(1000)

    def bar(i):
        angles = [(j / 1000 + 0.008) / 1.008 * math.pi / 2 for j in (i, 0)]
        return (math.cos(angles[0]) / math.cos(angles[1])) ** 2

    for i in (1, 2, 10, 500, 900, 990, 998, 999):
        assert table.alphas[i] ** 2 == pytest.approx(bar(i), rel=1e-9)
    assert table.sigmas[1] ** 2 == pytest.approx(4.1284e-5, rel=1e-4)  # the first beta of published cosine models
    assert bar(1000) < 1e-30  # the definition ends at nothing; the cap keeps a thousandth of the entry before
    assert table.alphas[1000] ** 2 == pytest.approx(1e-3 * bar(999), rel=1e-9)


@pytest.mark.parametrize("make", [ddpm_linear, ddpm_cosine, ddpm_scaled_linear, ddpm_sigmoid, from_file])
def test_a_table_needs_a_step(make):
    with pytest.raises(ValueError, match="at least 1 step"):
        make(0)


def test_scaled_linear_has_the_noise_levels_of_stable_diffusion():
    """sigma/alpha from 0.0292 to 14.6146, as samplers of that model are given them; the middle in exact arithmetic."""
    table = ddpm_scaled_linear(1000)
    levels = table.sigmas[1:] / table.alphas[1:]
    np.testing.assert_allclose(levels[[0, -1]], [0.0292, 14.6146], rtol=2e-3)
    assert levels[-1] == pytest.approx(14.6146, abs=1e-4)
    with localcontext() as context:
        context.prec = 50
        low, high = Decimal("0.00085").sqrt(), Decimal("0.012").sqrt()
        bars = exact_alpha_bars([(low + i * (high - low) / 999) ** 2 for i in range(1000)])
    np.testing.assert_allclose(table.alphas[1:] ** 2, [float(bar) for bar in bars], rtol=1e-12)


def test_sigmoid_is_slow_at_both_ends_and_symmetric_about_the_middle():
    table = ddpm_sigmoid(101, beta_min=1.0, beta_max=5.0)
    betas = 101 * (1 - (table.alphas[1:] / table.alphas[:-1]) ** 2)
    np.testing.assert_allclose(betas + betas[::-1], 6, rtol=1e-9)
    assert betas[50] == pytest.approx(3)
    # at u = +-log 3 a sigmoid is 3/4 and 1/4; u goes from -6 to 6 in steps of 0.12
    place = np.interp([2.0, 4.0], betas, np.arange(101))
    np.testing.assert_allclose(place, 50 + np.array([-1, 1]) * math.log(3) / 0.12, atol=0.05)
    assert betas[0] == pytest.approx(1 + 4 / (1 + math.exp(6)))


def test_ends_and_caps_that_cannot_be_are_refused():
    for make in (ddpm_scaled_linear, ddpm_sigmoid):
        for ends in ({"beta_min": 0.0}, {"beta_min": 3.0, "beta_max": 2.0}, {"beta_max": 2000.0}):
            with pytest.raises(ValueError, match="beta"):
                make(1000, **ends)
    for wrong, words in (({"offset": -0.1}, "offset"), ({"cap": 1.0}, "cap"), ({"cap": 0.0}, "cap")):
        with pytest.raises(ValueError, match=words):
            ddpm_cosine(10, **wrong)


@pytest.mark.parametrize("make", [ddpm_linear, ddpm_cosine, ddpm_scaled_linear, ddpm_sigmoid])
def test_each_can_end_in_pure_noise(make):
    table = make(100, zero_terminal=True)
    assert (table.alphas[-1], table.sigmas[-1]) == (0, 1)
    assert table.alphas[1] == make(100).alphas[1]
    assert np.all(np.diff(table.alphas) < 0)


BETAS = np.array([0.1, 0.2, 0.5])
BARS = np.array([0.9, 0.72, 0.36])


def written(folder):
    """Files that hold the same table, and how each is asked for."""
    np.save(folder / "betas.npy", BETAS)
    np.save(folder / "bars.npy", BARS)
    np.savez(folder / "both.npz", betas=BETAS, alphas_cumprod=BARS)
    (folder / "both.csv").write_text("step,alphas_cumprod,betas\n1,0.9,0.1\n2,0.72,0.2\n3,0.36,0.5\n")
    (folder / "plain.csv").write_text("0.1\n0.2\n0.5\n")
    yield from (("betas.npy", "betas"), ("both.npz", "betas"), ("both.csv", "betas"), ("plain.csv", "betas"))
    yield from (("bars.npy", "alphas_cumprod"), ("both.npz", "alphas_cumprod"), ("both.csv", "alphas_cumprod"))


def test_files_of_every_kind_hold_the_same_table(tmp_path):
    for file, values in written(tmp_path):
        table = from_file(3, str(tmp_path / file), values)
        np.testing.assert_allclose(table.alphas**2, [1, *BARS], rtol=1e-12)
        np.testing.assert_allclose(table.sigmas**2, [0, *(1 - BARS)], rtol=1e-12)
        rescaled = from_file(3, str(tmp_path / file), values, zero_terminal=True)
        assert rescaled.alphas[-1] == 0


def test_products_may_end_in_pure_noise(tmp_path):
    np.save(tmp_path / "bars.npy", np.array([0.9, 0.5, 0.0]))
    assert from_file(3, str(tmp_path / "bars.npy"), "alphas_cumprod").alphas[-1] == 0


def test_files_that_hold_no_table_are_refused_in_one_line(tmp_path):
    list(written(tmp_path))
    np.save(tmp_path / "rising.npy", BARS[::-1])
    np.save(tmp_path / "square.npy", np.ones((3, 3)) / 2)
    np.save(tmp_path / "words.npy", np.array(["a", "b", "c"]))
    np.save(tmp_path / "nan.npy", np.array([0.1, np.nan, 0.2]))
    (tmp_path / "short.csv").write_text("a,betas\n1,0.1\n2\n3,0.3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    cases = (
        ("", "betas", "table_file"),
        ("nowhere.npy", "betas", "no file"),
        ("betas.npy", "sigmas", "table_values"),
        ("table.txt", "betas", r"\.npy, \.npz or \.csv"),
        ("plain.csv", "alphas_cumprod", "must fall"),
        ("rising.npy", "alphas_cumprod", "must fall"),
        ("square.npy", "betas", "shape"),
        ("words.npy", "betas", "words.npy"),
        ("nan.npy", "betas", "each beta"),
        ("nan.npy", "alphas_cumprod", "must fall"),
        ("short.csv", "betas", "each beta"),
        ("both.csv", "steps", "table_values"),
        ("empty.csv", "betas", "empty"),
        ("broken.npz", "betas", "broken.npz"),
        ("broken.npy", "betas", "broken.npy"),
    )
    for file, values, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            from_file(3, str(tmp_path / file) if file else "", values)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="steps is 4"):
        from_file(4, str(tmp_path / "betas.npy"))
    np.savez(tmp_path / "other.npz", sigmas=BETAS)
    with pytest.raises(ValueError, match="sigmas"):
        from_file(3, str(tmp_path / "other.npz"))
    (tmp_path / "other.csv").write_text("sigmas\n1\n2\n3\n")
    with pytest.raises(ValueError, match="sigmas"):
        from_file(3, str(tmp_path / "other.csv"))
