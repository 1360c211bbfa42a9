"""What is set before JAX starts."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("flags", ["", "--xla_cpu_enable_fast_math=false", "--xla_cpu_experimental_ynn_fusion_type=X"])
def test_flags_of_the_users_stay_and_jax_takes_what_is_added(flags):
    code = (
        "import os\n"
        "from ddpm_jax.commands import starting\nstarting.start_jax()\nprint(os.environ.get('XLA_FLAGS', ''))\n"
        "import jax\nif 'fusion_type=X' not in os.environ.get('XLA_FLAGS', ''): jax.numpy.ones(2) + 1"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    assert words[: len(flags.split())] == flags.split()
    assert len([word for word in words if "ynn_fusion_type" in word]) <= 1
