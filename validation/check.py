"""What continuous integration asks of other libraries: documented adapters pass, and two libraries score as expected.

    python -m validation.check            (in the environment that validation/peers/install.sh makes)
    python -m validation.check --state    writes anew what is expected: look at the difference before you keep it

The adapters that README.md and docs/grading.md show are written into a file and graded by `refnode grade`, as a reader
would. Then the scoreboard's quick mode runs two libraries, every configuration of theirs, and compares verdicts and
digits with board/expected.json. Exit status 1 if anything is not as it should be.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from validation import scoreboard

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/grading.md")
GRADE = "from refnode.cli import main; main()"
LIBRARIES = ("torchdiffeq", "diffrax")
EXPECTED = ROOT / "validation" / "board" / "expected.json"


def adapters():
    """(page, code) of every Python block that defines `gradient(problem, tol)`."""
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        yield from ((page, block) for block in blocks if "def gradient(problem, tol)" in block)


def grade(code):
    """Exit status and report of `refnode grade adapter:gradient --problems mild` beside a file adapter.py."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapter.py").write_text(code, "utf-8")
        command = [sys.executable, "-W", "ignore", "-c", GRADE, "grade", "adapter:gradient", "--problems", "mild"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main():
    """Adapters first, then the libraries."""
    graded = [(page, *grade(code)) for page, code in adapters()]
    for page, status, report in graded:
        print(f"{page}: exit status {status}\n{report}", flush=True)
    if not graded or any(status for _, status, _ in graded):
        return 1
    peers = [word for library in LIBRARIES for word in ("--peers", library)]
    last = ["--state" if "--state" in sys.argv else "--expect", str(EXPECTED)]
    scoreboard.main(["--quick", *peers, *last])
    return 0


if __name__ == "__main__":
    sys.exit(main())
