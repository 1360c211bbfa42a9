"""What is set before JAX starts."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_a_command_of_its_own_begins_again_with_huge_pages_once(tmp_path):
    script = tmp_path / "show.py"
    script.write_text(
        "import os\nfrom ddpm_jax import commands\n"
        "def main(words):\n    print(words, os.environ.get('GLIBC_TUNABLES'))\n"
        "print('start')\ncommands.run(main)\n"
    )

    def said(**more):
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | more
        done = subprocess.run(
            [sys.executable, "-u", str(script), "a b"], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    assert said() == ["start", "start", "['a b'] glibc.malloc.hugetlb=1"]
    assert said(GLIBC_TUNABLES="") == ["start", "['a b'] "]


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
