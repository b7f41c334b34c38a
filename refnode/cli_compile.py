"""refnode compile: fill the cache of compiled kernels, as for an image that others start from."""

import time

import click

from refnode.ahead import DTYPES, METHODS, STEPS, compile_ahead, jobs


@click.command("compile")
@click.option("--method", "methods", type=click.Choice(METHODS), multiple=True, help="Only this; may be repeated.")
@click.option("--steps", type=click.Choice(STEPS), multiple=True, help="Shared by samples (default), own, or both.")
@click.option("--dtype", "dtypes", type=click.Choice(DTYPES), multiple=True, help="float64 (default), float32, both.")
def compile_command(methods: tuple[str, ...], steps: tuple[str, ...], dtypes: tuple[str, ...]) -> None:
    """Compile kernels for MLPs ahead of their use: a process that needs them then begins at once."""
    from refnode.kernels.compiled import cache_folder

    begun, work = time.perf_counter(), jobs(methods or METHODS, steps or STEPS[:1], dtypes or DTYPES[:1])
    compile_ahead(work)
    click.echo(f"{len(work)} gradients' kernels are in {cache_folder()}: {time.perf_counter() - begun:.1f} s")
