"""refnode train: the paper's experiments."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from refnode import report
from refnode.errors import InvalidArgument
from refnode.experiments import EXPERIMENTS, Experiment
from refnode.gradients import METHODS
from refnode.json_file import write_json
from refnode.model_file import export_weights
from refnode.train.loop import Run


@click.command("train")
@click.argument("experiment", required=False, type=click.Choice(list(EXPERIMENTS)))
@click.option("--list", "listed", is_flag=True, help="List experiments and their models, and train nothing.")
@click.option("--model", metavar="NAME", help="One of its models (see --list).  [default: its first]")
@click.option("--method", type=click.Choice(list(METHODS)), default="discrete", show_default=True,
              help="The gradient method.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="Steps in all.  [default: the experiment's]")
@click.option("--backend", type=click.Choice(["auto", "numpy", "cpu"]), default="auto", show_default=True)
@click.option("--hand-on", is_flag=True, help="Hand accepted steps on from batch to batch: fewer evaluations.")
@click.option("--out", metavar="DIR",
              help="Folder for checkpoint.json, model.json, weights.npz and result.json; made if new.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out, bit for bit.")
def train(experiment: str | None, listed: bool, out: str | None, resume: bool, **words: Any) -> None:
    """Train a model of one of the paper's EXPERIMENTs: a bar on stderr, what it reaches on stdout.

    Ctrl-C keeps where it stands in --out; --resume goes on from there. Exit status 130 after Ctrl-C, 2 for a training
    that diverges or a question that makes no sense.
    """
    if listed:
        _print_list()
        return
    if experiment is None:
        raise InvalidArgument("EXPERIMENT", "nothing", f"one of {', '.join(EXPERIMENTS)}, or --list instead")
    chosen = EXPERIMENTS[experiment]
    name = words.pop("model") or next(iter(chosen.kinds))
    try:
        run = chosen.train(name, out=out, resume=resume, **words)
    except KeyboardInterrupt:
        click.echo(f"refnode: stopped{f'; --resume goes on from {out}' if out else ''}", err=True)
        sys.exit(130)
    _finish(chosen, name, run, words, out)


def _finish(chosen: Experiment, name: str, run: Run, words: dict[str, Any], out: str | None) -> None:
    """Print what the run reached, and keep it."""
    reached = chosen.measured(name, run.params)
    facts = {"experiment": chosen.name, "model": name, "method": words["method"], "seed": str(words["seed"])}
    means = {"steps": str(len(run.history["loss"])), "ms a step": f"{1e3 * run.history['seconds'].mean():.1f}"}
    numbers = {word: f"{value:.6g}" for word, value in reached.items()}
    Console(highlight=False).print(report.facts_table(facts | means | numbers))
    if out is not None:
        run.save(Path(out) / "model.json")
        export_weights(run.params, Path(out) / "weights.npz")
        write_json({**facts, "reached": {word: float(value).hex() for word, value in reached.items()}},
                   Path(out) / "result.json")  # fmt: skip


def _print_list() -> None:
    console = Console(highlight=False)
    for experiment in EXPERIMENTS.values():
        console.print(Text(f"{experiment.name}: {experiment.about}", "bold"), soft_wrap=True)
        console.print(Text(f"  {experiment.steps} steps of {experiment.batch}; {experiment.source}"), soft_wrap=True)
        if experiment.deviation:
            console.print(Text(f"  but: {experiment.deviation}"), soft_wrap=True)
        for name, kind in experiment.kinds.items():
            size = sum(leaf.size for leaf_name, leaf in kind.model.init(_rng()).items() if leaf_name not in kind.frozen)
            console.print(Text(f"  --model {name:20} {size:6} parameters{'' if kind.can else '; cannot, by theory'}"))


def _rng() -> Any:
    import numpy as np

    return np.random.default_rng(0)
