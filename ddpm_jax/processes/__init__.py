"""Processes: what removes information from an image, and the law of putting it back.

`process.py` says what every process answers; `gaussian.py` adds noise; `ordered.py` hides sites, in one of the orders
of `orders.py`; `uniform.py` replaces values by chance. Imports `schedules` and `keys`; denoisers, losses, samplers and
likelihoods import it.

>>> from ddpm_jax import processes
>>> sorted(processes.PROCESSES)
['gaussian', 'ordered', 'uniform']
"""

from ddpm_jax.processes.gaussian import Gaussian
from ddpm_jax.processes.ordered import MASK, Ordered
from ddpm_jax.processes.orders import ORDERS, Order, make_order
from ddpm_jax.processes.process import Process, Refusal, Traits
from ddpm_jax.processes.uniform import Uniform

PROCESSES = {"gaussian": Gaussian, "ordered": Ordered, "uniform": Uniform}

__all__ = [
    "MASK",
    "ORDERS",
    "PROCESSES",
    "Gaussian",
    "Order",
    "Ordered",
    "Process",
    "Refusal",
    "Traits",
    "Uniform",
    "make_order",
]
