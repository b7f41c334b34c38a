"""The scoreboard as Markdown: who is right at a glance, an overview at one tolerance, then one table a problem."""

import math

from validation.board.known import KNOWN
from validation.board.scores import BLOWN, TIMES, blown, verdict, word, wrong_leaves

OVERVIEW = 1e-7

COUNTED = """\
Each row is a library and a way to get a gradient; each number counts problems. A gradient is held to -log10(tol) - 2
digits in every leaf (parameters, inputs, times) that the library returns, at rtol = atol = tol.

- **right**: so many digits at the tightest tolerance at which it returned ({tightest} unless it raised there).
- **short**: fewer, but at least one digit in every leaf.
- **wrong**: *no exception*, and there a leaf has not a single right digit; or, at any tolerance, a number is more than
  {blown:.0f} times too large.
- **none**: it raised, crashed or took more than {limit:g} CPU seconds ({compiling:g} more where it compiles).
- **n/a**: the library, or its adapter, cannot express the problem; the reasons stand under each problem's table.
"""

HEAD = """\
A number is -log10(max |g - g*| / max |g*|) of the worst leaf among parameters and inputs, against refnode's reference
g*; `>=` where the reference's own radius hides what is beyond. Gradients of times (t0, T, observation times), where the
library has them, stand beside, at the tightest tolerance. Seconds are CPU seconds of one gradient on one thread,
compilation left out, from the loosest tolerance to the tightest.

The problems are those of refnode's catalogue, on which refnode's own methods are in the [certificate](certificate.md)
too, and a few that show what is known of torchdyn (`validation/board/problems.py`). Where theta(t) has breaks, samples
have spans of their own or an observation stands at T, adapters bring each segment to 0 <= s <= 1, so that t0, T, edges
and observation times act through the field. "Its own layers" is torchdyn's NeuralODE of its DepthCat, DataControl,
GalLinear, Augmenter, CNF, `order` and integral_loss, where they can express the problem. On a segment of no length, as
behind an observation at T, the field is zero: there torchode's backpropagation is not a number. torchdyn's flag
seminorm does nothing, so that its adjoint is counted twice.

What is not right may be a defect, or the price of a method on a hard problem: defects, each with a reproducer and a
proof of the right value, are in [findings](../peers/findings/README.md). After a timeout, smaller tolerances are not
run.
"""

COMPILING = 30.0


def page(board):
    """The whole page."""
    problems = list(board.problems)
    lines = ["# Scoreboard: is the gradient right?", "", f"**{headline(board)}**", "", *glance(board), ""]
    lines += [COUNTED.format(tightest=f"{min(board.tolerances):.0e}", **numbers(board))]
    lines += ["![Digits against seconds](scoreboard.png)", "", HEAD]
    lines += [", ".join(f"{name} {value}" for name, value in board.environment.items()) + ".", ""]
    lines += ["Regenerate: `python -m validation.scoreboard`, in the environment of `validation/peers/install.sh`.", ""]
    lines += known(board)
    if OVERVIEW in board.tolerances:
        lines += overview(problems, board.scores)
    for problem in problems:
        about, kind = board.problems[problem].values()
        lines += [f"## {problem}: {about}", "", f"Truth: {kind}.", ""]
        lines += problem_table(board.tolerances, [s for s in board.scores if s.problem == problem])
    return "\n".join(lines).rstrip("\n") + "\n"


def numbers(board):
    """What the explanations count with."""
    return {"blown": BLOWN, "limit": board.limit, "compiling": COMPILING}


# ---------------------------------------------------------------- at a glance


def headline(board):
    """What a reader should take away, counted."""
    others = {cell: word(scores) for cell, scores in board.cells().items() if not cell[1].startswith("refnode ")}
    returned = [found for found in others.values() if found in ("right", "short", "wrong")]
    wrong, libraries = returned.count("wrong"), {name.partition(" ")[0] for _, name in others}
    own = [word(scores) for cell, scores in board.cells().items() if cell[1].startswith("refnode ")]
    by = [name.partition(" ")[0] for (_, name), found in others.items() if found == "wrong"]
    most = max(sorted(set(by)), key=by.count, default="")
    share = f", {by.count(most)} of these by {most}" if by else ""
    return (
        f"{len(libraries)} other libraries returned a gradient in {len(returned)} cases; in {wrong} of them it is "
        f"wrong{share}, and nothing was raised. refnode's own methods: {own.count('wrong')} of {len(own)}."
    )


def glance(board):
    """One row a configuration: on how many problems it is right, and where it is wrong."""
    cells, lines = board.cells(), header(["", "right", "short", "wrong", "none", "n/a", "where it is wrong"])
    for name in dict.fromkeys(s.configuration for s in board.scores):
        mine = {problem: scores for (problem, configuration), scores in cells.items() if configuration == name}
        words = [word(scores) for scores in mine.values()]
        counts = [str(words.count(w)) if words.count(w) else "" for w in ("right", "short", "wrong", "none", "n/a")]
        counts[2] = f"**{counts[2]}**" if counts[2] else ""
        lines.append(row([name, *counts, faults(mine)]))
    return lines


def faults(mine):
    """The problems on which it is wrong: those where only gradients of times are, and those that blow up, apart."""
    returned = {problem: [s for s in scores if s.outcome == "returned"] for problem, scores in mine.items()}
    wrong = [problem for problem, scores in mine.items() if word(scores) == "wrong"]
    blew = {problem: times for problem in wrong if (times := blown(returned[problem])) > BLOWN}
    rest = [problem for problem in wrong if problem not in blew]
    only = [problem for problem in rest if set(wrong_leaves(returned[problem][-1])) <= set(TIMES)]
    said = [f"{', '.join(blew)}: {largest(blew.values())}"] if blew else []
    others = [problem for problem in rest if problem not in only]
    said += [named(others)] if others else []
    if only:
        leaves = dict.fromkeys(leaf for problem in only for leaf in wrong_leaves(returned[problem][-1]))
        said.append(f"{', '.join(leaves)} on {named(only, 3)}")
    return "; ".join(said)


def named(problems, few=6):
    """The problems by name, or how many there are."""
    return ", ".join(problems) if len(problems) <= few else f"{len(problems)} problems"


def largest(times):
    """A factor in words."""
    return f"up to {max(times):.0e} times the truth" if max(times) < math.inf else "NaN or infinity"


def known(board):
    """What is known to be wrong in torchdyn: one row a defect, with the cells that show it as the board has them."""
    cells, lines = board.cells(), []
    for defect in KNOWN:
        mine = [(name, cells.get((defect.problem, name))) for name in defect.configurations]
        if all(scores for _, scores in mine):
            shown = [f"{name}: {' '.join(map(cell, scores))}; {verdict(scores)}" for name, scores in mine]
            link = f"[{defect.finding}](../peers/findings/{defect.finding}.py)"
            lines.append(row([defect.claim, defect.problem, ". ".join(shown), link]))
    titles = header(["defect", "problem", "there: digits from the loosest tolerance to the tightest", "reproducer"])
    return ["## What is known of torchdyn, and where it shows", "", *titles, *lines, ""] if lines else []


# ---------------------------------------------------------------- problem by problem


def overview(problems, scores):
    """Digits at one tolerance: configurations down, problems across."""
    at = {(s.configuration, s.problem): s for s in scores if s.tol == OVERVIEW}
    names = list(dict.fromkeys(s.configuration for s in scores))
    lines = [f"## All problems at tol {OVERVIEW:.0e}: parameters and inputs", "", *header(["", *problems])]
    for name in names:
        lines.append(row([name, *(loud(at.get((name, problem))) for problem in problems)]))
    return [*lines, "", "Bold: returned without an exception, and not one digit is right.", ""]


def loud(score):
    """The cell, in bold type where a returned gradient has not one right digit."""
    text = cell(score)
    returned = score is not None and score.outcome == "returned"
    wrong = returned and score.worst() not in score.bounded and score.digits[score.worst()] < 1
    return f"**{text}**" if wrong else text


def problem_table(tolerances, scores):
    """One row a configuration; those to which the problem does not apply are listed below."""
    lines = header(["", *(f"{tol:.0e}" for tol in tolerances), "worst leaf", "times", "seconds", "outcome"])
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
