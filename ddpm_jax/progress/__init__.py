"""How far something is: a line that is drawn again and again on a terminal, and plain lines at intervals elsewhere.

It says where the work is, how fast it goes and how long it still takes. While JAX traces and compiles it says that
instead, with the seconds, which speed and time left leave out. `pace.py` has the sums, `bars.py` what is drawn. Any
folder may import this one.
"""

from ddpm_jax.progress.bars import Bar, bar, watch
from ddpm_jax.progress.pace import duration

__all__ = ["Bar", "bar", "duration", "watch"]
