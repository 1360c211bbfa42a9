"""What is minimised, and where in time training looks.

`losses.py` has the one loss and its objectives, `times.py` the distributions of training times. Imports `processes`,
`denoisers` and `schedules`; `generative` and `experiment` import it.

>>> from ddpm_jax.objectives import losses, times
>>> losses.MinSNR(min_snr=5.0)
MinSNR(min_snr=5.0)
"""

from ddpm_jax.objectives import losses, times

__all__ = ["losses", "times"]
