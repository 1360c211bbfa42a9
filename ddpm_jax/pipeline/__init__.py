"""From a config and data to a finished run, and back from its folder.

`train.py` trains and measures, `job.py` puts the compiled step and its data together, `screen.py` is what a person sees
meanwhile, `restored.py` reads a run back with its weights, `extension.py` makes one longer, `beginning.py` begins one
with the weights of another, `editing.py` changes pictures and `brought.py` reads those that a person brings. The
commands and sweeps import it. `train.py` imports JAX late, so that `--help` is quick.
"""
