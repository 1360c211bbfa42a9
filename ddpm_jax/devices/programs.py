"""JAX's compiled programs are kept as all else in the cache is: with a checksum, looked at before they run.

JAX keeps them by itself, but where it compresses with zstd (Python 3.14, or `zstandard` installed) it adds no checksum,
and four of five flipped bits went into machine code unseen. A damaged or half-written program it never replaces, and it
warns of each that it cannot read or write.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ddpm_jax import cache

Function = TypeVar("Function", bound=Callable)


def without_flag() -> None:
    """Leave JAX_ENABLE_X64 out of account in this process: types are the config's."""
    import jax

    jax.config.update("jax_enable_x64", False)


def in_32_bits(function: Function) -> Function:
    """The function with JAX's types of 32 bits, whatever JAX_ENABLE_X64 says: what it gives does not depend on it."""

    @functools.wraps(function)
    def same(*arguments: Any, **options: Any) -> Any:
        import jax

        with jax.enable_x64(False):
            return function(*arguments, **options)

    return same  # type: ignore[return-value]


def keep(host: str) -> None:
    """Have JAX keep its compiled programs in `$JAX_COMPILATION_CACHE_DIR`, else in the cache, if there is one.

    Left to JAX are a folder that is no local one, and one with a largest size. Call it before JAX compiles anything.

    Args:
        host: names the kind of processor: compiled code for one may not run on another.
    """
    import jax

    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(chosen) if chosen else cache.cache_folder()
    if folder is None or "://" in (chosen or "") or getattr(jax.config, "jax_compilation_cache_max_size", -1) != -1:
        return
    if not chosen:
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled" / host))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    try:  # JAX offers no public way; without this one it keeps them as it does
        from jax._src import compilation_cache
        from jax._src.compilation_cache_interface import CacheInterface

        assert callable(compilation_cache.get_file_cache)
    except (ImportError, AttributeError, AssertionError):
        return

    class Programs(CacheInterface):
        """The programs by JAX's key, which depends on the code, the options, the versions and the devices."""

        def __init__(self, path: str):
            self._path = Path(path)

        def get(self, key: str) -> bytes | None:
            return cache.load(f"compiled/{host}", [key], folder)

        def put(self, key: str, value: bytes) -> None:
            cache.save(f"compiled/{host}", [key], value, folder)

    def programs(path: str) -> tuple[Any, str]:
        return Programs(path), path

    compilation_cache.get_file_cache = programs
    # XLA's own cache of tuned kernels, which has no checksum, saves nothing where whole programs are kept.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
