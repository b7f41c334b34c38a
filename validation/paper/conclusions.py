"""The page that answers the slides' question. Every number in it comes from the runs, and so does every verdict."""

from typing import Any

from validation.paper.objectives import OBJECTIVES
from validation.paper.study import LEVEL, MEASURES, SECONDS, effect, found, shown
from validation.paper.summary import cell

TASKS = ("tracking", "annuli", "reflection")
PAIRS = {
    "end": ("integral", "terminal"), "seen": ("integral", "8 seen"),
    "mixed": ("mixed 1", "terminal"), "kinetic": ("kinetic 0.1", "terminal"),
}  # fmt: skip
WORDS = {"less": "smaller", "more": "larger", "no difference shown": "not shown to differ"}


def verdict(one: dict[str, Any]) -> str:
    """less, more, or no difference shown."""
    return ("less" if one["mean"] < 1 else "more") if shown(one) else "no difference shown"


def factor(one: dict[str, Any]) -> str:
    """A comparison as a factor with its interval."""
    return f"x {one['mean']:.3g} [{one['low']:.3g}, {one['high']:.3g}]"


def row(data: dict[str, Any], task: str, a: str, b: str, measure: str) -> str:
    """One comparison: both geometric means, the factor between them, effect size, corrected p and verdict."""
    one = found(data, task, a, b, measure)
    means = " | ".join(f"{value:.3g}" for value in (one["of_a"], one["of_b"]))
    return f"| {task} | {means} | {factor(one)} | {effect(one)} | {one['p_holm']:.2g} | {verdict(one)} |"


def table(data: dict[str, Any], a: str, b: str, measures: tuple[str, ...], tasks: tuple[str, ...] = TASKS) -> str:
    """A row a task, for each measure."""
    lines = []
    for measure in measures:
        head = f"| {MEASURES[measure]} | {a} | {b} | factor | d | p | verdict |"
        lines += ["", head, "|---" * 7 + "|"]
        lines += [row(data, task, a, b, measure) for task in tasks]
    return "\n".join(lines[1:])


def said(data: dict[str, Any], task: str, a: str, b: str, measure: str) -> str:
    """A comparison in words."""
    one = found(data, task, a, b, measure)
    return f"{task} {WORDS[verdict(one)]} ({factor(one)})"


def all_said(data: dict[str, Any], b: str, measure: str, tasks: tuple[str, ...] = TASKS) -> str:
    """The integral loss against b on several tasks."""
    return "; ".join(said(data, task, "integral", b, measure) for task in tasks)


def grouped(data: dict[str, Any], a: str, b: str, measure: str, tasks: tuple[str, ...] = TASKS) -> str:
    """The tasks by verdict: smaller on .., larger on .., not shown to differ on .."""
    verdicts = {task: WORDS[verdict(found(data, task, a, b, measure))] for task in tasks}
    groups = {word: [task for task, said in verdicts.items() if said == word] for word in WORDS.values()}
    return "; ".join(f"{word} on {listed(of)}" for word, of in groups.items() if of)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def least_p(data: dict[str, Any]) -> float:
    """The least p that so many seeds can give after the correction for so many comparisons."""
    return float(len(data["compared"]) * 2.0 ** (1 - data["seeds"]))


def short(data: dict[str, Any]) -> str:
    """The answer as a list: a measure and what becomes of it."""
    tracked, line = ("tracking",), ("annuli", "reflection")

    def of(pair: str, measure: str, tasks: tuple[str, ...] = TASKS) -> str:
        return grouped(data, *PAIRS[pair], measure, tasks)

    return f"""**For a target that is a path**, the integral loss alone:

- error along the path: against the terminal loss {of("end", "path", tracked)}; against 8 observations
  {of("seen", "path", tracked)};
- error behind T: against the terminal loss {of("end", "beyond", tracked)}; against 8 observations
  {of("seen", "beyond", tracked)};
- error at T: against the terminal loss {of("end", "at_T", tracked)}.

**For a target at the end alone**, the integral loss alone against the terminal loss:

- error at T: {of("end", "at_T", line)};
- error half-way, for those who stop there: {of("end", "half", line)}.

**Everywhere**:

- evaluations a step of training: against the terminal loss {of("end", "training_nfe")};
  against 8 observations {of("seen", "training_nfe")};
- beside the terminal loss with weight 1, against the terminal loss alone: error at T {of("mixed", "at_T")};
  along the path {of("mixed", "path")};
- kinetic regularisation with weight 0.1: evaluations {of("kinetic", "nfe")};
  error at T {of("kinetic", "at_T")}."""


def headline(data: dict[str, Any]) -> str:
    """The answer in a paragraph: on which tasks the integral loss alone is shown to differ from the terminal loss."""

    def on(measure: str, word: str) -> list[str]:
        return [task for task in TASKS if verdict(found(data, task, *PAIRS["end"], measure)) == word]

    def words(measure: str, word: str) -> str:
        return listed(on(measure, word)) or "no task"

    wins = set(on("path", "less")) == set(TASKS) and not on("at_T", "less")
    so = "It is better where the way matters, and not where only the end does." if wins else ""
    return f"""Against the terminal loss, the integral loss alone has a smaller error

- **along the path** on {words("path", "less")},
- **half-way** on {words("half", "less")},
- **at the end** on {words("at_T", "less")}, and a larger one there on {words("at_T", "more")};

a step of training takes more evaluations on {words("training_nfe", "more")}. {so}"""


def percent(mean: float, low: float, high: float) -> str:
    """mean [low, high] in per cent."""
    return f"{100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def answer(data: dict[str, Any]) -> str:
    """The same in factors: the integral loss's measures over those of another objective."""
    kinetic = [said(data, task, "kinetic 0.1", "terminal", "nfe") for task in TASKS]
    parts = {
        "Error along the path, against the terminal loss": all_said(data, "terminal", "path"),
        "Error along the path, against 8 observations": all_said(data, "8 seen", "path"),
        "Error at T, against the terminal loss": all_said(data, "terminal", "at_T"),
        "Error at T/2, against the terminal loss: early exit": all_said(data, "terminal", "half"),
        "Error behind T, against the terminal loss": all_said(data, "terminal", "beyond", ("tracking",)),
        "Error behind T, against 8 observations": all_said(data, "8 seen", "beyond", ("tracking",)),
        "Evaluations a step of training, against the terminal loss": all_said(data, "terminal", "training_nfe"),
        "Evaluations a step of training, against 8 observations": all_said(data, "8 seen", "training_nfe"),
        "Evaluations of the trained model, kinetic 0.1 against none": "; ".join(kinetic),
    }
    return "\n".join(f"- {what}: {words}." for what, words in parts.items())


def by_weight(data: dict[str, Any], kind: str, measures: tuple[str, ...]) -> str:
    """A row a task and measure, a column a weight beside the terminal loss; 0 is the terminal loss alone."""
    weighted = {"0": "terminal"} | {o.split()[1]: o for o in OBJECTIVES if o.startswith(kind)}
    lines = ["| task | " + " | ".join(f"w = {w}" for w in weighted) + " |", "|---" * (1 + len(weighted)) + "|"]
    for task in TASKS:
        for m in measures:
            cells = [cell(*data["means"][task][o][m], digits=3) for o in weighted.values()]
            lines.append(f"| {task}, {MEASURES[m]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def observed(data: dict[str, Any]) -> str:
    """Errors along the tracked path by the number of observations."""
    rows = (
        {"terminal": "1, the end alone"}
        | {f"{k} seen": str(k) for k in (2, 4, 8, 16)}
        | {"integral": "all, the integral"}
    )
    means = data["means"]["tracking"]
    lines = ["| observations | error along the path | error behind T |", "|---|---|---|"]
    for o, word in rows.items():
        lines.append(f"| {word} | {' | '.join(cell(*means[o][m], digits=3) for m in ('path', 'beyond'))} |")
    return "\n".join(lines)


def conclusions(data: dict[str, Any]) -> str:
    """One page."""
    annuli = data["means"]["annuli"]
    right = {
        (o, m): percent(*annuli[o][m]) for o in ("integral", "terminal") for m in ("half accuracy", "accuracy")
    }
    return f"""# In practice, is the integral loss really better?

The slides ask it of loss = L(z(T)) + int l dt. Three tasks, {len(OBJECTIVES)} objectives, {data["seeds"]} seeds;
data and first parameters are the same for all objectives.

{headline(data)}

## In words

{short(data)}

## In factors

The integral loss alone:

{answer(data)}

How it was found: {len(data["compared"])} comparisons, fixed before the runs. Each is a factor between geometric
means, paired by seed, with its 95 % interval, and the effect size d of its logarithm (Cohen's, paired) with that of the
noncentral t. "Smaller" and "larger", "less" and "more" are said only where Wilcoxon's p is below {LEVEL} after Holm's
correction for all of them; {least_p(data):.2g} is the least p that {data["seeds"]} seeds can give after it, so read the
factors and not the p. Intervals are of one factor each and not corrected. Errors are mean squared errors on data of
their own; of accuracies the interval is Clopper and Pearson's with Korn and Graubard's effective number of points;
objectives and settings are in objectives.py.

## The path

{table(data, "integral", "terminal", ("path",))}

A few observations of the tracked path instead (means with 95 % intervals):

{observed(data)}

## The end, half-way, and behind it

{table(data, "integral", "terminal", ("at_T", "half"))}

Early exit from the annuli: half the depth classifies {right["integral", "half accuracy"]} of the points rightly,
against {right["terminal", "half accuracy"]} with the terminal loss; the whole depth {right["integral", "accuracy"]},
against {right["terminal", "accuracy"]}.

Extrapolation to five periods. All have the basis of the right period; what another one does is in
[tracking](results/tracking.md).

{table(data, "integral", "terminal", ("beyond",), ("tracking",))}
{row(data, "tracking", "integral", "8 seen", "beyond").replace("tracking", "tracking, against 8 seen", 1)}

## What it costs

Evaluations of the trained model, of a step of training, and CPU seconds of a gradient by NumPy. {SECONDS}

{table(data, "integral", "terminal", ("nfe", "training_nfe", "seconds"))}

## Its weight w beside the terminal loss

{by_weight(data, "mixed", ("at_T", "path"))}

## Kinetic regularisation: w int |f|^2 beside the terminal loss

{table(data, "kinetic 0.1", "terminal", ("nfe", "at_T"))}

{by_weight(data, "kinetic", ("nfe", "at_T"))}

## What this does not show

- Other tasks, wide networks, images, other optimisers, longer training. Readouts are not trained: with a trained one a
  path loss asks the readout, too, to fit every depth.
- All objectives stop after the same number of steps, at a rate that was tuned for none of them; evaluations a step
  differ, so that equal steps are not equal work. A small error depends on when one stops: a factor between two small
  errors is one between small errors.
- An objective that asks for nothing half-way is not at fault for what it has there: errors at T / 2 and along the path
  say what a loss on the end alone leaves open, on lines and rings where nobody asked for a path.
- Behind T only a basis with the signal's period goes on; no objective brings that
  ([tracking](results/tracking.md), basis of period 1.4).
- Spread is that of first parameters and of batches. Points to measure on are the same for all seeds.

Every mean, and every comparison: [study](results/study.md), ![how the objectives compare](results/study.png)

Regenerate: `python -m validation.paper study`.
"""
