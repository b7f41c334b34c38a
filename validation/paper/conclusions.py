"""The page that answers the slides' question. Every number in it comes from the runs, and so does every verdict."""

from typing import Any

from validation.paper.objectives import OBJECTIVES
from validation.paper.study import LEVEL, found, shown
from validation.paper.summary import cell

TASKS = ("tracking", "annuli", "reflection")
END = {"tracking": "tracking", "annuli": "the annuli", "reflection": "the reflection"}


def factor(one: dict[str, Any]) -> str:
    """A comparison as a factor with its interval, effect and corrected p."""
    return f"x {one['mean']:.3g} [{one['low']:.3g}, {one['high']:.3g}], d = {one['d']:.1f}, p = {one['p_holm']:.2g}"


def verdict(one: dict[str, Any]) -> str:
    """less, more, or no difference shown."""
    return ("less" if one["mean"] < 1 else "more") if shown(one) else "no difference shown"


def line(data: dict[str, Any], task: str, a: str, b: str, measure: str) -> str:
    """A row of one comparison."""
    one = found(data, task, a, b, measure)
    return f"| {END[task]} | {verdict(one)} | {factor(one)} |"


def table(data: dict[str, Any], a: str, b: str, measure: str, tasks: tuple[str, ...] = TASKS) -> str:
    """A row a task."""
    head = ["| task | verdict | factor |", "|---|---|---|"]
    return "\n".join([*head, *(line(data, task, a, b, measure) for task in tasks)])


def answer(data: dict[str, Any]) -> str:
    """The short answer, as the comparisons have it."""
    path = verdict(found(data, "tracking", "integral", "terminal", "path"))
    few = verdict(found(data, "tracking", "integral", "8 seen", "path"))
    ends = [verdict(found(data, task, "integral", "terminal", "at_T")) for task in ("annuli", "reflection")]
    halves = [verdict(found(data, task, "integral", "terminal", "half")) for task in ("annuli", "reflection")]
    parts = [
        f"Against the terminal loss, where the target is a path: error along it, {path}.",
        f"Against 8 observations of that path: {few}.",
        f"Where only the end counts: error at T on the annuli, {ends[0]}, on the reflection, {ends[1]};",
        f"error half-way, {halves[0]} and {halves[1]}.",
    ]
    return "\n".join(parts)


def weights(data: dict[str, Any]) -> str:
    """A row a task: errors at T and along the path for every weight beside the terminal loss."""
    mixed = [o for o in OBJECTIVES if o.startswith("mixed")]
    head = f"| task | {' | '.join(f'at T, w = {o.split()[1]}' for o in mixed)} | "
    head += f"{' | '.join(f'path, w = {o.split()[1]}' for o in mixed)} |"
    lines = [head, "|---" * (1 + 2 * len(mixed)) + "|"]
    for task in TASKS:
        cells = [f"{data['means'][task][o][m][0]:.3g}" for m in ("at_T", "path") for o in mixed]
        lines.append(f"| {END[task]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def observed(data: dict[str, Any]) -> str:
    """Errors along the tracked path by the number of observations."""
    rows = (
        {"terminal": "0, the end alone"}
        | {f"{k} seen": str(k) for k in (2, 4, 8, 16)}
        | {"integral": "all, the integral"}
    )
    means = data["means"]["tracking"]
    lines = ["| observations | error along the path | error behind T |", "|---|---|---|"]
    lines += [f"| {word} | {cell(*means[o]['path'])} | {cell(*means[o]['beyond'])} |" for o, word in rows.items()]
    return "\n".join(lines)


def conclusions(data: dict[str, Any]) -> str:
    """One page."""
    ti, to, kinetic = ("integral", "terminal"), ("integral", "8 seen"), ("kinetic 0.1", "terminal")
    half = data["means"]["annuli"]
    return f"""# In practice, is the integral loss really better?

{answer(data)}

The slides ask it of loss = L(z(T)) + int l dt. Three tasks, {len(OBJECTIVES)} objectives, {data["seeds"]} seeds;
data and first parameters are the same for all objectives. {len(data["compared"])} comparisons were fixed before
the runs: factors between geometric means, paired by seed, with 95 % intervals and the effect size d of their
logarithms. "Less" and "more" are said only where Wilcoxon's p is below {LEVEL} after Holm's correction for all of
them. Errors are mean squared errors on data of their own.

**Error along the path**, integral against terminal loss:

{table(data, *ti, "path")}

**A few observations** of the tracked path:

{observed(data)}

**Error at T**, integral against terminal loss. It is not asked for the end alone, and pays for that:

{table(data, *ti, "at_T")}

**Extrapolation** to five periods, error behind T, integral against terminal loss and against 8 observations. All have
the basis of the right period; what another one does is in [tracking](results/tracking.md):

{table(data, *ti, "beyond", ("tracking",))}
{line(data, "tracking", *to, "beyond")}

**Early exit**, error at T/2, integral against terminal loss. Half the depth classifies
{cell(*half["integral"]["half accuracy"])} of the points of the annuli, against
{cell(*half["terminal"]["half accuracy"])}; the whole depth {cell(*half["integral"]["accuracy"])} against
{cell(*half["terminal"]["accuracy"])}:

{table(data, *ti, "half")}

**Cost**: forward evaluations, and then seconds a step, integral against terminal loss:

{table(data, *ti, "nfe")}
{chr(10).join(line(data, task, *ti, "seconds").replace("| ", "| seconds, ", 1) for task in TASKS)}

**Its weight** w beside the terminal loss (means):

{weights(data)}

**Kinetic regularisation**, L + 0.1 int |f|^2 against L: forward evaluations, and then the error at T:

{table(data, *kinetic, "nfe")}
{chr(10).join(line(data, task, *kinetic, "at_T").replace("| ", "| error at T, ", 1) for task in TASKS)}

**What this does not show**: other tasks, wide networks, images, other optimisers, longer training. All objectives stop
after the same number of steps, and a small error depends on when one stops.

Every mean, and every comparison: [study](results/study.md). Regenerate: `python -m validation.paper study`.
"""
