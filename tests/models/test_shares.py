"""Which shares a network gathers itself: those of its own loop, and not of another that is called the same."""

import jax.numpy as jnp

from ddpm_jax.models import shares
from ddpm_jax.models.shares import Share, any_share, gathered, is_share


def test_only_blocks_of_the_networks_own_loop_stay_shares(monkeypatch):
    monkeypatch.setattr(Share, "whole", lambda self: "whole")
    part = Share(jnp.zeros(2), 0, "fsdp")
    params = {
        "network": {
            "block_0": {"kernel": part},
            "block_11": part,
            "first": {"kernel": part},
            "conditioning": {"text": {"block_0": {"kernel": part}}},
        },
        "schedule": {"block_0": part},
    }
    found = gathered(params, ("network/block",))
    assert is_share(found["network"]["block_0"]["kernel"]) and is_share(found["network"]["block_11"])
    assert found["network"]["first"]["kernel"] == "whole"
    assert found["network"]["conditioning"]["text"]["block_0"]["kernel"] == "whole"
    assert found["schedule"]["block_0"] == "whole"
    assert any_share(found) and not any_share(gathered(params))
    assert shares.turn_of((), ("network/block",)) is None
