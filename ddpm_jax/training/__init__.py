"""Training: state, the pure step, budget and optimizer, the loop, checkpoints, logging.

Nothing here knows a family of models: the loss comes in as a function. Imports `parallel`, `keys` and `errors`; the
commands import it.
"""
