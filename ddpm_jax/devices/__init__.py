"""The devices: how arrays are spread over them, what they can do at most, what a program asks of them.

`plan.py` has the plan over devices, `groups.py` what a group of them divides, `agreement.py` what processes agree on,
`peaks.py` the peak FLOP/s, `flops.py` those of a traced function, `programs.py` compiled programs that are kept,
`traced.py` functions that are traced once, `profiling.py` and `xplane.py` where a step's time goes. Imports the ground
and `models.shares` only; `training` and whatever stands above it import this.
"""
