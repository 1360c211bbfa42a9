"""FSDP in groups: what is on one device, and the groups that leave the least there."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from ddpm_jax.devices.groups import bytes_on_one, divided
from ddpm_jax.devices.plan import Plan, make_plan
from ddpm_jax.errors import UserError


def shapes(*sizes):
    return [jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes]


def pretended(count, slices=1, **options):
    """A plan of devices that are not there: their places are enough to choose groups."""
    devices = tuple(SimpleNamespace(process_index=i // 8, id=i, slice_index=i * slices // count) for i in range(count))
    plan = Plan(shard="fsdp", devices=devices, **options)
    vars(plan)["mesh"] = SimpleNamespace(size=count, devices=SimpleNamespace(flat=devices))  # JAX's takes real ones
    return plan


def test_the_longest_axis_that_a_group_divides():
    assert divided((3, 3, 64, 128), 8, 0) == 3
    assert divided((3, 3, 64, 100), 8, 0) == 2
    assert divided((3, 3, 5, 7), 8, 0) is None
    assert divided((64, 64), 1, 0) is None  # alone there is nothing to divide
    assert divided((64, 64), 8, 5000) is None  # small


def test_bytes_on_one_device_are_those_of_its_shards():
    state = shapes((3, 3, 64, 128), (128,), (5000, 7))
    total, whole = bytes_on_one(state, 8)
    assert whole == 4 * 128 and total == whole + 4 * (3 * 3 * 64 * 128 + 5000 * 7) // 8
    assert bytes_on_one(state, 1) == (4 * (3 * 3 * 64 * 128 + 128 + 35000),) * 2


def test_where_all_devices_divide_nothing_smaller_groups_do():
    """Of PixelCNN++'s widths, 160 and 320, no axis is a multiple of 256; 32 devices divide them."""
    state = shapes(*[(2, 3, 320, 160)] * 10, (160,))
    assert bytes_on_one(state, 256)[1] == bytes_on_one(state, 256)[0]  # all of it whole
    plan = pretended(256).fitted(state)
    total, whole = bytes_on_one(state, plan.group)
    assert plan.group == 64 and whole == 4 * 160  # 320 = 5 x 64
    assert total < math.prod((2, 3, 320, 160)) * 10 * 4 / 60


def test_a_group_lies_within_a_slice():
    state = shapes((1024, 1024))
    assert pretended(32, slices=1).fitted(state).group == 32
    assert pretended(32, slices=4).fitted(state).group == 8


def test_a_group_that_is_asked_for_is_taken():
    assert pretended(32, group=4).fitted(shapes((1024, 1024))).group == 4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"shard": "fsdp", "group": 3}, "config.parallel.group: groups of 3 do not divide 1 devices"),
        ({"group": 1}, "config.parallel.group: replicated has no groups"),
    ],
)
def test_groups_that_cannot_be(options, line):
    with pytest.raises(UserError, match=line):
        make_plan(**options, devices=tuple(jax.devices()[:1]))
