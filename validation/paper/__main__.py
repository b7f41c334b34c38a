"""python -m validation.paper [NAME ..] [--seeds 10] [--workers 2] [--backend auto]

Runs what is missing of the paper's small experiments, every run kept in validation/paper/runs, and writes
validation/paper/results: NAME.json, NAME.md and the pictures; for the study also CONCLUSIONS.md.
"""

import argparse
import json
import os
import sys

from validation.paper.runs import RESULTS, THREADS, results, spawned

NAMES = ("reflection", "tracking", "depth", "engines", "study", "annuli", "ring")
HEAD = """# {name}

Regenerate: `python -m validation.paper {name} --seeds {seeds}`. Means over the seeds with 95 % intervals: of errors
geometric means and Student's interval of the logarithms, of accuracies Clopper and Pearson's interval with the
effective number of points that the spread between seeds leaves (Korn and Graubard 1998), of others Student's.

"""


def main() -> int:
    """Run, collect, write, draw."""
    parser = argparse.ArgumentParser(prog="python -m validation.paper")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--backend", default="auto", choices=["auto", "numpy", "cpu"])
    parser.add_argument("--only-runs", action="store_true", help="compute what is missing, collect nothing")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    for name in arguments.names or NAMES:
        one(name, arguments)
    return 0


def one(name: str, arguments: argparse.Namespace) -> None:
    """One experiment."""
    from importlib import import_module

    module = import_module(f"validation.paper.{name}")
    jobs = module.jobs(arguments.seeds, backend=arguments.backend)
    runs = results(jobs, lambda: spawned(arguments.workers))
    if arguments.only_runs:
        return
    found = {"seeds": arguments.seeds} | module.collect(runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, allow_nan=False) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(HEAD.format(name=name, seeds=found["seeds"]) + module.page(found), "utf-8")
    if name == "study":
        from validation.paper.conclusions import conclusions

        (RESULTS.parent / "CONCLUSIONS.md").write_text(conclusions(found), "utf-8")
    draw(name)


def draw(name: str) -> None:
    """The pictures of an experiment."""
    from refnode.figures import save_figure
    from refnode.gallery import GALLERY

    for picture, (source, function) in GALLERY.items():
        if source == name:
            data = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
            save_figure(function(data), RESULTS / f"{picture}.png")
            print(f"wrote {picture}.png", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
