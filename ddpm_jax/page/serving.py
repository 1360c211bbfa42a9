"""Serving the page: on this machine alone unless told otherwise, without analytics, share links or a network."""

import atexit
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ddpm_jax.commands import TRACEBACKS
from ddpm_jax.errors import UserError

HOST, PORT = "127.0.0.1", 7860
"""This machine alone; and the first port that is tried."""

PORTS = 100
"""How many are tried, where none is given."""

UPLOAD = "50mb"
"""The largest file."""

OFFLINE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SERVER_NAME": HOST,
}
"""What keeps Gradio and what it imports from asking others."""


def prepare() -> Any:
    """Import Gradio, with everything off that talks to others.

    Raises:
        UserError: it is not installed.
    """
    os.environ.update(OFFLINE)
    try:
        import gradio
    except ImportError as error:
        raise UserError(f"the page needs packages of an extra ({error}): pip install 'ddpm-jax[demo]'") from error
    return gradio


def free_port(host: str, wanted: int | None) -> int:
    """The port that is wanted, or the first free one.

    Raises:
        UserError: it is taken, or cannot be had; or the host is none of this machine.
    """
    reason = ""
    for port in [wanted] if wanted is not None else range(PORT, PORT + PORTS):
        try:
            with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((host, port))
                return one.getsockname()[1]
        except OSError as error:
            reason = error.strerror or str(error)
    where = "--host" if wanted is None else "--port"
    raise UserError(f"{where}: {host}:{wanted or PORT} cannot be had ({reason}); give another")


def launch(studios: Sequence[Any], host: str = HOST, port: int | None = None) -> tuple[Any, str]:
    """Show the page until it is closed: what was launched, and its address.

    Raises:
        UserError: as `prepare` and `free_port`.
    """
    gradio = prepare()
    chosen = free_port(host, port)
    folder = tempfile.mkdtemp(prefix="ddpm_jax_page_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = folder
    from ddpm_jax.page.layout import page

    made = page(studios).queue(api_open=False, default_concurrency_limit=4)
    made.launch(
        server_name=host,
        server_port=chosen,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        max_file_size=UPLOAD,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )
    if TRACEBACKS not in os.environ:  # what is no request gets an error; nobody else needs to read of it
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    return made, f"http://{f'[{host}]' if ':' in host else host}:{chosen}/"


def serve(studios: Sequence[Any], host: str = HOST, port: int | None = None) -> None:
    """Show the page until Ctrl-C; raises as `launch`."""
    made, address = launch(studios, host, port)
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    try:
        while True:
            time.sleep(3600)
    finally:
        made.close(verbose=False)
