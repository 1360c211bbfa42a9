"""What the config file beside it imports."""

STEPS = 4
