"""The scoreboard as Markdown: an overview at one tolerance, then one table a problem."""

from validation.board.scores import verdict

OVERVIEW = 1e-7

HEAD = """\
# Scoreboard

How many digits of each library's gradient are right, on each problem of refnode's catalogue, at rtol = atol = tol.
A number is -log10(max |g - g*| / max |g*|) of the worst leaf among parameters and inputs, against refnode's reference
g*; `>=` where the reference's own radius hides what is beyond. Gradients of times (t0, T, observation times), where the
library has them, stand beside, at the tightest tolerance. Every number came back without an exception: a 0.0 is a wrong
gradient that nothing gave away. Seconds are CPU seconds of one gradient on one thread, compilation left out, from the
loosest tolerance to the tightest.

**ok** means -log10(tol) - 2 digits or more at every tolerance, in every leaf returned. What is not ok may be a defect,
or the price of a method on a hard problem: the known defects are in [findings](../peers/findings/README.md).
"""


def page(environment, tolerances, scores, entries):
    """The whole page. entries: name -> (what the problem is, kind of truth)."""
    problems = list(dict.fromkeys(s.problem for s in scores))
    lines = [HEAD, "![Digits against seconds](scoreboard.png)", ""]
    lines += [", ".join(f"{name} {value}" for name, value in environment.items()) + ".", ""]
    lines += ["Regenerate: `python -m validation.scoreboard`, in the environment of `validation/peers/install.sh`.", ""]
    if OVERVIEW in tolerances:
        lines += overview(problems, scores)
    for problem in problems:
        about, kind = entries[problem]
        lines += [f"## {problem}: {about}", "", f"Truth: {kind}.", ""]
        lines += problem_table(tolerances, [s for s in scores if s.problem == problem])
    return "\n".join(lines) + "\n"


def overview(problems, scores):
    """Digits at one tolerance: configurations down, problems across."""
    at = {(s.configuration, s.problem): s for s in scores if s.tol == OVERVIEW}
    names = list(dict.fromkeys(s.configuration for s in scores))
    lines = [f"## All problems at tol {OVERVIEW:.0e}: parameters and inputs", "", *header(["configuration", *problems])]
    for name in names:
        lines.append(row([name, *(cell(at.get((name, problem))) for problem in problems)]))
    return [*lines, ""]


def problem_table(tolerances, scores):
    """One row a configuration; those to which the problem does not apply are listed below."""
    lines = header(
        ["configuration", *(f"{tol:.0e}" for tol in tolerances), "worst leaf", "times", "seconds", "outcome"]
    )
    reasons = {}
    for name in dict.fromkeys(s.configuration for s in scores):
        mine = [s for s in scores if s.configuration == name]
        if mine[0].outcome == "n/a":
            reasons.setdefault(mine[0].message, []).append(name)
            continue
        returned = [s for s in mine if s.outcome == "returned"]
        at = {s.tol: s for s in mine}
        worst, times = (returned[-1].worst(), times_cell(returned[-1])) if returned else ("", "")
        seconds = f"{returned[0].seconds:.2g} .. {returned[-1].seconds:.2g}" if returned else ""
        lines.append(row([name, *(cell(at.get(tol)) for tol in tolerances), worst, times, seconds, verdict(mine)]))
    lines += [""] + [f"n/a, {reason}: {', '.join(names)}." for reason, names in reasons.items()]
    return [*lines, ""] if reasons else lines


def cell(score):
    """Digits of the worst leaf among parameters and inputs, or one word."""
    if score is None or score.outcome == "not run":
        return "-"
    return score.outcome if score.outcome != "returned" else digits_cell(score, score.worst())


def times_cell(score):
    """Digits of the worst gradient of a time."""
    leaf = score.worst(times=True)
    return "none" if leaf is None else f"{digits_cell(score, leaf)} {leaf}"


def digits_cell(score, leaf):
    """Digits of a leaf, with the sign that says that there may be more."""
    return f"{'>=' if leaf in score.bounded else ''}{score.digits[leaf]:.1f}"


def header(titles):
    """The two lines that head a Markdown table."""
    return [row(titles), "|" + "---|" * len(titles)]


def row(cells):
    """One line of a Markdown table."""
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
