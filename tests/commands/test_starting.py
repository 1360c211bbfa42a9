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


COMMAND = """
import os
from ddpm_jax import commands
def main(arguments):
    import jax
    print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
commands.run(main)
"""


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "3"),  # none of XLA's alarms
        ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0"),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, "1"),  # JAX's own
    ],
)
def test_xlas_alarms_are_off_unless_the_user_has_said_something_of_it(variables, level):
    """By the time that JAX, which has a level of its own, is imported."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS")
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{level}\n"
