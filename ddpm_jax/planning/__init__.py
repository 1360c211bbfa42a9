"""What a run would take on hardware that one does not have: `python -m ddpm_jax.plan`.

`paper.py` has data sets by their facts alone, `memory.py` the bytes of a state on a device, without compiling;
`compiling.py` compiles for a topology, `hlo.py` reads the program, `estimate.py` makes times of it, `report.py` words.
Only the command and launchers import it; it imports `pipeline` and whatever stands below.
"""
