"""."""

def case(here, slot, rng):
    raise NotImplementedError
