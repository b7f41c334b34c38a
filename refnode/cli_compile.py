"""refnode compile: fill the cache of compiled kernels, as for an image that others start from."""

import os
import time

import click

from refnode.ahead import DTYPES, METHODS, SOLVERS, STEPS, compile_ahead, jobs


@click.command("compile")
@click.option("--method", "methods", type=click.Choice(METHODS), multiple=True, help="Only this; may be repeated.")
@click.option("--steps", type=click.Choice(STEPS), multiple=True, help="Shared by samples (default), own, or both.")
@click.option("--dtype", "dtypes", type=click.Choice(DTYPES), multiple=True, help="float64 (default), float32, both.")
def compile_command(methods: tuple[str, ...], steps: tuple[str, ...], dtypes: tuple[str, ...]) -> None:
    """Compile kernels for MLPs ahead of their use: a process on this kind of processor then begins at once."""
    from refnode.kernels.compiled import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written; REFNODE_CACHE_DIR may be another folder")
    work = jobs(methods or METHODS, tuple(SOLVERS), steps or STEPS[:1], dtypes or DTYPES[:1])
    begun = time.perf_counter()
    compile_ahead(work)
    click.echo(f"kernels of {len(work)} gradients are in {folder}: {time.perf_counter() - begun:.1f} s")
