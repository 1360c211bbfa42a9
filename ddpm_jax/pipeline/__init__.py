"""From a config and data to a finished run, and back from its folder.

`train.py` trains and measures, `job.py` puts the compiled step and its data together, `screen.py` is what a person sees
meanwhile, `restored.py` reads a run back with its weights, `extension.py` makes one longer, `beginning.py` begins one
with the weights of another, `editing.py` changes pictures, `edits.py` does what the command `edit` asks of it, and
`brought.py` reads pictures that a person brings. The commands, sweeps and the page import it. `train.py` imports JAX
late, so that `--help` is quick.
"""
