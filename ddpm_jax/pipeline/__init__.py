"""From an experiment and data to a finished run: the compiled step with its data, and what a person sees meanwhile.

`train.py` trains and measures, `job.py` puts the parts together, `screen.py` shows progress. The commands import it;
it imports JAX late, for `--help` is to be quick.
"""
