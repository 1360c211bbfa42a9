"""What is minimised, and where in time training looks.

`losses.py` has the one loss and its objectives, `times.py` the distributions of training times. Imports `processes`,
`denoisers` and `schedules`; `training` and `experiment` import it.
"""
