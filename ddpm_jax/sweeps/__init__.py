"""Many runs of one config file: what `sweep()` yields as members, their checks and plan, their processes, searches.

For the commands `sweep` and `report`, the launchers and the experiments. Imports no JAX: whoever looks after a sweep
lives for days.
"""
