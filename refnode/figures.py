"""Pictures of a Neural ODE and of its gradient's errors: data from figure_data.py in, a matplotlib Figure out.

theta(t), the vector field over t, z(t), a(t), H(t), and the error of every method against the tolerance. Nothing here
computes; nothing here needs a display. matplotlib is imported at the first picture: `pip install 'refnode[figures]'`.
"""

import os
import secrets
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from refnode.arrays import Array
from refnode.errors import BackendUnavailable
from refnode.figure_data import MethodErrors, Paths, Snapshots, ThetaCurves
from refnode.json_file import writable
from refnode.oracle.budget import KINDS, Budget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart: blue, vermilion, green, purple, orange, sky, black
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "0.6"
STYLE: Any = {
    "font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 10, "axes.titlesize": 10,
    "axes.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "lines.linewidth": 1.2, "lines.solid_capstyle": "butt", "legend.frameon": False, "legend.fontsize": 8,
    "figure.dpi": 150, "savefig.dpi": 150, "svg.hashsalt": "refnode", "pdf.fonttype": 42,
}  # fmt: skip
MOST_PANELS, MOST_SAMPLES = 6, 50
PANEL = 2.3  # inches
LABELS = {"truncation": "truncation", "roundoff": "round-off", "inconsistency": "adjoint inconsistency"}

Options = ParamSpec("Options")
Result = TypeVar("Result")
First = TypeVar("First")


def require_matplotlib() -> Any:
    """The module matplotlib; BackendUnavailable where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        message = "pictures need matplotlib, which is not installed: pip install 'refnode[figures]'"
        raise BackendUnavailable(message) from error
    return matplotlib


def in_style(draw: Callable[Concatenate[First, Options], Result]) -> Callable[Concatenate[First, Options], Result]:
    """A function that draws in the house style; BackendUnavailable where there is no matplotlib."""

    @wraps(draw)
    def drawn(data: First, /, *args: Options.args, **words: Options.kwargs) -> Result:
        with require_matplotlib().rc_context(STYLE):
            return draw(data, *args, **words)

    return drawn


def panels_of(
    count: int, width: float = PANEL, height: float = 0.8 * PANEL, columns: int = 0, **words: Any
) -> tuple["Figure", list[Any]]:
    """A figure with that many panels, three in a row at most, or so many; four are two by two."""
    from matplotlib.figure import Figure

    columns = columns or (2 if count == 4 else min(count, 3))
    rows = -(-count // columns)
    figure = Figure(figsize=(columns * width + 0.3, rows * height + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **words).ravel()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, list(axes[:count])


# ---------------------------------------------------------------- theta(t)

@in_style
def draw_theta(curves: ThetaCurves) -> "Figure":
    """theta(t), a panel for each leaf and a curve for each of its entries; edges dotted, nodes as dots."""
    figure, panels = panels_of(len(curves.leaves), sharex=True)
    label = "$t$" if curves.axis == "t" else "$(t - t_0)\\,/\\,(T - t_0)$"
    for ax, (name, values) in zip(panels, curves.leaves.items(), strict=True):
        entries = values.reshape(len(values), -1)
        for entry, style in zip(entries.T, _styles(entries.shape[1]), strict=True):
            ax.plot(curves.at, entry, **style)
        _mark(ax, curves.edges)
        for t in curves.nodes:
            k = int(np.nanargmin(np.abs(curves.at - t)))
            ax.plot(np.full(entries.shape[1], t), entries[k], ".", color="black", markersize=3)
        ax.set_title(_leaf(name))
        _bottom(ax, label)
    return figure


def _styles(count: int) -> list[dict[str, Any]]:
    """Line styles that tell up to 14 curves apart, by colour and dash; more of them are one pale bundle."""
    if count > 2 * len(COLOURS):
        return [{"color": COLOURS[0], "alpha": 0.4, "linewidth": 0.7}] * count
    return [{"color": COLOURS[j % len(COLOURS)], "linestyle": "-" if j < len(COLOURS) else "--"} for j in range(count)]


def _leaf(name: str) -> str:
    """W0 as $W_0(t)$."""
    letters = name.rstrip("0123456789")
    return f"${letters}_{{{name[len(letters):]}}}(t)$" if len(letters) == 1 else name


# ---------------------------------------------------------------- z(t), a(t), H(t)

@in_style
def draw_states(paths: Paths) -> "Figure":
    """z(t), a panel for each component and a colour for each sample; dots where it is observed, crosses what was."""
    figure, panels = _components(paths, "z", paths.z)
    for j, ax in enumerate(panels):
        for b, colour in _samples(paths):
            ax.plot(paths.t_obs, paths.z_obs[:, b, j], "o", color=colour, markersize=3.5, zorder=3)
            if len(paths.targets):
                ax.plot(paths.t_obs, paths.targets[:, b, j], "x", color=colour, markersize=4.5, zorder=3)
    if len(paths.targets):
        for mark, label in (("o", "state at an observation"), ("x", "what was observed")):
            panels[0].plot([], [], mark, color=GREY, markersize=4, label=label)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


@in_style
def draw_costate(paths: Paths) -> "Figure":
    """a(t) = dloss/dz(t), a panel for each component and a colour for each sample; it jumps at observations."""
    return _components(paths, "a", paths.adj)[0]


@in_style
def draw_hamiltonian(paths: Paths) -> "Figure":
    """H(t) = a . f + l, a colour for each sample: flat where nothing names t; it jumps at observations and edges."""
    figure, (ax,) = panels_of(1, 1.5 * PANEL, PANEL)
    for b, colour in _samples(paths):
        ax.plot(paths.t[:, b], paths.H[:, b], color=colour)
    _mark(ax, paths.edges)
    _mark(ax, paths.t_obs, "--")
    ax.set_title("$H(t)$")
    _room(ax, paths.H)
    _bottom(ax, "$t$")
    return figure


def _components(paths: Paths, symbol: str, values: Array) -> tuple["Figure", list[Any]]:
    """Values (K, b, d) against t, a panel for each of the first six components."""
    shown = min(len(paths.names), MOST_PANELS)
    figure, panels = panels_of(shown, sharex=True)
    for j, ax in enumerate(panels):
        for b, colour in _samples(paths):
            ax.plot(paths.t[:, b], values[:, b, j], color=colour)
        _mark(ax, paths.edges)
        _mark(ax, paths.t_obs, "--")
        ax.set_title(f"${symbol}_{{{paths.names[j]}}}(t)$")
        _bottom(ax, "$t$")
    if shown < len(paths.names):
        figure.supxlabel(f"the first {shown} of {len(paths.names)} components", fontsize=8, color=GREY)
    return figure, panels


def _samples(paths: Paths) -> list[tuple[int, str]]:
    """(sample, its colour) for the first fifty."""
    return [(b, COLOURS[b % len(COLOURS)]) for b in range(min(paths.t.shape[1], MOST_SAMPLES))]


def _mark(ax: Any, times: Array, style: str = ":") -> None:
    """Thin vertical lines: dotted for edges, dashed for observations."""
    for t in times:
        ax.axvline(t, color=GREY, linestyle=style, linewidth=0.6, zorder=0)


def _room(ax: Any, values: Array) -> None:
    """Limits that do not blow round-off up: at least 1e-3 of the largest value."""
    low, high = np.nanmin(values), np.nanmax(values)
    half = max((high - low) / 2 * 1.08, 1e-3 * max(abs(low), abs(high)), 1e-300)
    ax.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)


def _bottom(ax: Any, label: str) -> None:
    """The label of the horizontal axis, in panels that have no other below."""
    if ax.get_subplotspec().is_last_row() or not ax.get_shared_x_axes().get_siblings(ax)[1:]:
        ax.set_xlabel(label)


# ---------------------------------------------------------------- the field

@in_style
def draw_field(shots: Snapshots) -> "Figure":
    """z' over the plane at several t, arrows of one scale; the samples' whole ways, a dot where they are at that t."""
    figure, panels = panels_of(len(shots.t), 1.1 * PANEL, PANEL, sharex=True, sharey=True)
    spacing = float(np.diff(np.unique(shots.grid[:, 0]))[0])
    usual = float(np.quantile(np.hypot(*np.moveaxis(shots.rate, -1, 0)), 0.9)) or 1.0
    arrows = {"scale": usual / spacing, "scale_units": "xy", "angles": "xy", "pivot": "mid", "width": 0.004}
    for ax, t, rate, states in zip(panels, shots.t, shots.rate, shots.states, strict=True):
        ax.quiver(*shots.grid.T, *rate.T, color=GREY, **arrows)
        for b, state in enumerate(states[:MOST_SAMPLES]):
            colour = COLOURS[(b if shots.sample is None else shots.sample) % len(COLOURS)]
            ax.plot(*shots.path[:, b].T, color=colour, linewidth=0.9)
            ax.plot(*state, "o", color=colour, markersize=4)
        ax.set_box_aspect(1)
        ax.set_title(f"$t = {t:.3g}$" + ("" if shots.sample is None else f", sample {shots.sample + 1}"))
        _bottom(ax, f"$z_{{{shots.names[0]}}}$")
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(f"$z_{{{shots.names[1]}}}$")
    low, high = shots.grid.min(axis=0) - spacing / 2, shots.grid.max(axis=0) + spacing / 2
    panels[0].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return figure


# ---------------------------------------------------------------- digits

@in_style
def draw_errors(found: MethodErrors) -> "Figure":
    """The worst leaf's error of every method against the tolerance; the claim, 100 tol; what the truth is known to.

    Methods that differentiate the same computed solution lie on one another: their marks grow smaller, one by one.
    """
    figure, (ax,) = panels_of(1, 2.3 * PANEL, 1.5 * PANEL)
    styles = _styles(len(found.errors))
    for n, ((name, errors), style) in enumerate(zip(found.errors.items(), styles, strict=True)):
        finite = np.isfinite(errors)
        label = name if finite.all() else f"{name} (refuses{' some' if finite.any() else ''})"
        size = max(8.0 - 0.7 * n, 2.0)
        ax.plot(found.tols, errors, marker="osD^v<>PX"[n % 9], markersize=size, fillstyle="none", label=label, **style)
    ax.plot(found.tols, 100 * found.tols, color="black", linestyle=":", label="claim: 100 tol")
    ax.axhspan(0, found.radius, color="0.9", zorder=0, label="radius of the truth")
    ax.set(xscale="log", yscale="log", xlabel="tolerance", ylabel="relative error of the worst leaf")
    ax.set_xticks(found.tols)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def draw_budget(budget: Budget) -> "Figure":
    """Truncation, round-off and adjoint inconsistency against the number of steps, with the measured orders."""
    figure, (ax,) = panels_of(1, 2.3 * PANEL, 1.5 * PANEL)
    steps = np.array([row.steps for row in budget.rows])
    for n, (kind, style) in enumerate(zip(KINDS, _styles(len(KINDS)), strict=True)):
        errors = np.array([getattr(row, kind) for row in budget.rows])
        order = budget.slope(kind)
        label = f"{LABELS[kind]}{'' if order is None else f', order {order:.2f}'}"
        ax.plot(steps, np.where(errors > 0, errors, np.nan), marker="osD"[n], fillstyle="none", label=label, **style)
    ax.axhspan(0, budget.floor, color="0.9", zorder=0, label="radius of the truth")
    ax.set(xscale="log", yscale="log", xlabel=f"steps of {budget.tableau}", ylabel="relative error of the worst leaf")
    ax.set_xticks(steps, [str(n) for n in steps])
    ax.minorticks_off()
    ax.set_ylim(bottom=min(e for row in budget.rows for kind in KINDS if (e := getattr(row, kind)) > 0) / 30)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


# ---------------------------------------------------------------- files

DATELESS: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@in_style
def save_figure(figure: "Figure", path: str | Path, form: str = "png") -> Path:
    """Write a picture so that the file is either the old one or the whole new one; equal pictures are equal bytes."""
    target = writable(path)
    draft = target.with_name(f".refnode-{secrets.token_hex(8)}.tmp")
    try:
        with open(draft, "xb") as file:
            figure.savefig(file, format=form, metadata=DATELESS[form])
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target
