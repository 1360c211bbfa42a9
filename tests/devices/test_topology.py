"""Names of hardware: what they mean, whoever named it, and what is no name."""

import pytest

from ddpm_jax.devices import topology
from ddpm_jax.devices.topology import parse
from ddpm_jax.errors import UserError


@pytest.mark.parametrize(
    ("name", "other", "chips", "devices"),
    [
        ("v5e:4x4", "v5litepod-16", 16, 16),
        ("v5e:2x4", "tpu-v5litepod-8", 8, 8),
        ("v6e:16x16", "v6e-256", 256, 256),
        ("v4:2x2x1", "v4-8", 4, 4),  # clouds count two cores a chip, JAX sees one device
        ("v5p:4x4x4", "v5p-128", 64, 64),
        ("v3:4x4", "v3-32", 16, 32),
        ("tpu7x:2x2x2", "tpu7x-16", 8, 16),
        ("h100:8", "H100:8", 8, 8),
        ("l4:1", "L4", 1, 1),
    ],
)
def test_a_clouds_name_is_the_same_hardware(name, other, chips, devices):
    assert parse(name) == parse(other)
    assert (parse(name).name, parse(name).chips, parse(name).count) == (name, chips, devices)


def test_slices_are_told_apart():
    two = parse("v5e:4x4*2")
    assert (two.slices, two.chips, two.shape) == (2, 32, (4, 4))


@pytest.mark.parametrize("generation", topology.TPUS)
def test_every_size_of_a_cloud_has_as_many_chips(generation):
    tpu = topology.TPUS[generation]
    for shape in tpu.slices:
        one = parse(f"{generation}:{shape}")
        assert parse(f"{tpu.clouds[0]}-{one.chips * tpu.counted}") == one
        assert one.accelerator.memory > 1e9 and one.accelerator.bandwidth > one.accelerator.link > 1e11


@pytest.mark.parametrize("gpu", topology.GPUS)
def test_every_gpu_has_a_row(gpu):
    assert parse(f"{gpu}:8").accelerator.float32 > 1e12


@pytest.mark.parametrize(
    "name",
    ["", "v5e", "v5e:4", "v5e:0x4", "v5e:4x4*0", "v5e:4x4*x", "v5litepod-12", "h100:0", "h100:x", "h100:8*2", "b9"],
)
def test_what_is_no_hardware_is_one_line(name):
    with pytest.raises(UserError) as caught:
        parse(name)
    assert "\n" not in str(caught.value) and "v5e:4x4" in str(caught.value)
