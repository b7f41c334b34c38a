"""Run every reproducer beside this file and write what it printed into README.md.

python -m validation.peers.findings       (in the environment that validation/peers/install.sh makes)
"""

import ast
import subprocess
import sys
from pathlib import Path

from validation.peers.installed import versions

HERE = Path(__file__).parent
HEAD = """\
# Findings

Where a library returns another number than the gradient it promises: one reproducer each, 20 to 40 lines that need
nothing of refnode. It solves a problem that has a closed form, and prints what it got and what it should have got. The
comment at its head says what is wrong in the library, and how one knows who is right. Backsolves that explode are the
known price of a method, not a slip; the finding is that nothing is raised.

"""


def output(path):
    """What the reproducer prints, its warnings left out."""
    done = subprocess.run([sys.executable, "-W", "ignore", path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def page(paths):
    """The README: a table of claims, then claim, comment and output of each."""
    claims = {path: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in paths}
    lines = [HEAD + versions() + ". Regenerate: `python -m validation.peers.findings`.", ""]
    lines += ["| reproducer | what it shows |", "|---|---|"]
    lines += [f"| [{path.name}]({path.name}) | {claim} |" for path, claim in claims.items()]
    for path in paths:
        lines += ["", f"## {path.stem}", "", *comment(path), "", "```text", output(path), "```"]
    return "\n".join(lines) + "\n"


def comment(path):
    """The comment at the head of a reproducer."""
    return [line[2:] for line in path.read_text("utf-8").splitlines() if line.startswith("# ")]


def main():
    """Write README.md and print it."""
    text = page(sorted(path for path in HERE.glob("*.py") if not path.name.startswith("_")))
    (HERE / "README.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
