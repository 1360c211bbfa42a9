"""The process that checks members."""

import subprocess
from types import SimpleNamespace

import pytest

from ddpm_jax.sweeps import checks


@pytest.mark.parametrize("code", [130, -2])
def test_a_check_that_was_stopped_is_no_failure(monkeypatch, tiny_config, code):
    """Ctrl-C reaches the process that checks: the search whose check that was is stopped, and no trial has failed."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code, stdout=""))
    with pytest.raises(KeyboardInterrupt):
        checks.check([tiny_config])
