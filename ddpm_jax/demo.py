"""A page in the browser on a trained run: draw, edit, and see what a process removes.

    python -m ddpm_jax.demo --workdir=runs/digits_ddpm
    python -m ddpm_jax.demo --workdir=runs/digits_ddpm --beside=runs/digits_masked   # two runs, to compare

It is served to this machine alone (--host says another), and asks nothing of any other. Needs the extra `demo`.
"""

from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.demo", description=__doc__)
    commands.run_options(parser)
    parser.add_argument("--beside", metavar="DIR", help="another run, on the right of the page")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve at (default: this machine alone)")
    parser.add_argument("--port", type=int, help="(default: the first free one from 7860)")
    options = commands.parse(parser, arguments)
    if options.port is not None and not 0 < options.port < 2**16:
        raise UserError(f"--port: {options.port} is not one of 1 ... 65535")
    if options.distributed:
        raise UserError("--distributed: a page is served by one process; leave it out")
    from ddpm_jax.page import serving

    serving.prepare()
    serving.free_port(options.host, options.port)
    config = commands.start_on_run(options)
    from ddpm_jax import runs
    from ddpm_jax.page.studio import Studio

    folders = [Path(options.workdir)]
    configs = [config]
    if options.beside is not None:
        folders.append(Path(options.beside))
        configs.append(runs.read_config(folders[-1]))
    studios = [Studio(config, folder, options.best) for config, folder in zip(configs, folders, strict=True)]
    serving.serve(studios, options.host, options.port)


if __name__ == "__main__":
    commands.run(main)
