"""Run every reproducer beside this file and write what it printed into README.md.

python -m validation.peers.findings       (in the environment that validation/peers/install.sh makes)
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from validation.board.table import header, row
from validation.peers.installed import versions

HERE = Path(__file__).parent
FOLDER = "validation/peers/findings"
HEAD = """\
# Findings

Where a library returns another number than the gradient it promises: one reproducer each, 20 to 40 lines that need
nothing of refnode. It solves a problem that has a closed form, and prints what it got and what it should have got. The
comment at its head says what is wrong in the library, and how one knows who is right. Backsolves that explode are the
known price of a method, not a slip; the finding is that nothing is raised.

On the catalogue's own problems, which have no closed form, [independent.md](../../results/independent.md) shows who is
right: Taylor series in 40 digits, which share nothing with refnode.

"""


@dataclass(frozen=True)
class Finding:
    """A reproducer: its file, what it claims, what its comment says, what it printed."""

    path: Path
    claim: str
    comment: list
    output: str

    @property
    def library(self):
        """The library and its version."""
        name = self.claim.partition(":")[0]
        return f"{name} {metadata.version(name)}"

    @property
    def proof(self):
        """How one knows who is right."""
        return " ".join(self.comment).partition("Who is right: ")[2]

    def cells(self):
        """Its row of the table; the last line that it prints is the one to quote."""
        link, command = f"[{self.path.stem}]({self.path.name})", f"`python {FOLDER}/{self.path.name}`"
        what = self.claim.partition(": ")[2]
        return [link, self.library, what[0].upper() + what[1:], self.proof, command, self.output.splitlines()[-1]]


def read(path):
    """The finding of a reproducer, run with its warnings left out."""
    text = path.read_text("utf-8")
    done = subprocess.run([sys.executable, "-W", "ignore", path], capture_output=True, text=True, check=True)
    comment = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    return Finding(path, ast.get_docstring(ast.parse(text)), comment, done.stdout.strip())


def page(findings):
    """The README: one row a finding, then comment and output of each."""
    lines = [HEAD + versions() + ". Regenerate: `python -m validation.peers.findings`.", ""]
    titles = ["finding", "library", "what happens", "right value, and how it is known", "command", "seen (last line)"]
    lines += [*header(titles), *(row(finding.cells()) for finding in findings)]
    for finding in findings:
        lines += ["", f"## {finding.path.stem}", "", finding.claim, "", *finding.comment]
        lines += ["", "```text", finding.output, "```"]
    return "\n".join(lines) + "\n"


def main():
    """Write README.md and print it."""
    text = page([read(path) for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_")])
    (HERE / "README.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
