"""Times by the stated model: in closed form on hardware of round numbers."""

import pytest

from ddpm_jax.devices.topology import parse
from ddpm_jax.planning.estimate import estimate, largest_batch, parts_that_fit, seconds
from ddpm_jax.planning.hlo import Program, Sent, Work

V5E, TWO, H100 = parse("v5e:4x4"), parse("v5e:4x4*2"), parse("h100:8")


def test_a_ring():
    """Of n devices each sends and receives (n - 1)/n of the bytes, twice for a reduction, at 200 GB/s a direction."""
    assert seconds(Sent("all-gather", 16, 1, 200e9), V5E) == pytest.approx(15 / 16)
    assert seconds(Sent("all-reduce", 16, 3, 200e9), V5E) == pytest.approx(2 * 15 / 16)
    assert seconds(Sent("all-reduce", 1, 1, 200e9), V5E) == 0


def test_between_slices_the_network_is_the_way():
    for size in (2, 32):
        one, same = (Sent("all-reduce", size, 1, 1e9, crosses) for crosses in (True, False))
        assert seconds(one, TWO) == pytest.approx(64 * seconds(same, TWO))  # 25 Gb/s, and 200 GB/s


def test_cycles_where_the_compiler_has_them():
    found = estimate(Program(work={"products": Work(1, 1.5e6), "elementwise": Work(1, 1.5e6)}), V5E, 1e12, "bfloat16")
    assert found.computing == pytest.approx(2e-3) and found.products == pytest.approx(1e-3)
    assert found.total == found.computing


@pytest.mark.parametrize(
    ("flops", "products", "others", "seconds"),
    [(8 * 989.4e12, 1.0, 0.0, 1.0), (1.0, 3350e9 / 2, 0.0, 0.5), (8 * 989.4e12, 1.0, 3350e9 / 4, 1.25)],
    ids=["the peak", "its bytes", "others after it"],
)
def test_elsewhere_products_then_all_else(flops, products, others, seconds):
    program = Program(work={"products": Work(1, 0.0, products), "copies": Work(1, 0.0, others)})
    found = estimate(program, H100, flops, "bfloat16")
    assert found.computing == pytest.approx(seconds)


def test_float32_products_have_another_peak():
    slow, fast = (estimate(Program(), H100, 1e15, dtype).computing for dtype in ("float32", "bfloat16"))
    assert slow == pytest.approx(2 * fast)


def test_batches_and_parts_that_fit():
    # 100 rows a device of 1 byte each beside 50 fixed ones, of 200 that there are
    assert largest_batch(800, 8, 50.0, 100.0, 200.0) == 1200
    assert largest_batch(800, 8, 250.0, 100.0, 200.0) == 0
    assert parts_that_fit(800, 8, 50.0, 100.0, 200.0) == 1
    assert parts_that_fit(800, 8, 150.0, 100.0, 200.0) == 2
    assert parts_that_fit(800, 8, 199.0, 1e4, 200.0) is None
