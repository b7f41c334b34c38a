"""How many digits of torchdiffeq's gradients are right: its adjoint and its backpropagation, on a mild and a
contracting field.

    python -m validation.torchdiffeq_digits          (in the environment that validation/peers/install.sh makes)

Writes validation/results/torchdiffeq_digits.md and prints it.
"""

import platform
import warnings
from pathlib import Path

import numpy as np
import torch
import torchdiffeq

import refnode as rn
from validation.peers import torchdiffeq_adapter

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
SOLVES = {"backprop": torchdiffeq.odeint, "adjoint": torchdiffeq.odeint_adjoint}
OUT = Path(__file__).parent / "results" / "torchdiffeq_digits.md"


def rows(entry, truth, kind):
    """One Markdown row a tolerance: digits of every leaf, largest entry against the true one, evaluations."""
    scale = truth.scales(entry.faint)
    for tol in TOLERANCES:
        try:
            grads, nfe = torchdiffeq_adapter.gradient_and_nfe(entry.problem, tol, SOLVES[kind])
        except AssertionError as error:  # torchdiffeq's step underflow
            yield [kind, f"{tol:.0e}", f"raises: {error}"]
            continue
        digits = {
            leaf: rn.digits_left(float(np.max(np.abs(grads[leaf] - mid))), scale[leaf])
            for leaf, mid in truth.grads.items()
            if leaf in grads
        }
        worst = min(digits, key=lambda leaf: digits[leaf])
        blown = max(np.max(np.abs(grads[leaf])) / scale[leaf] for leaf in digits)
        cells = [f"{digits[leaf]:.1f}" if leaf in digits else "none" for leaf in truth.grads]
        yield [kind, f"{tol:.0e}", f"**{digits[worst]:.1f}** ({worst})", f"{blown:.1e}", str(nfe), *cells]


def report():
    """The whole page as Markdown."""
    lines = [
        "# Digits of torchdiffeq's gradients",
        "",
        "Correct digits per leaf, -log10(max |g - g*| / max |g*|), against refnode's reference. `blown` is the largest",
        "entry of the gradient over the largest true one. No exception was raised unless a row says so.",
        "",
        f"torchdiffeq {torchdiffeq.__version__}, torch {torch.__version__}, refnode {rn.__version__},",
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}.",
        " Solver dopri5, rtol = atol = tol, float64.",
        "Regenerate: `python -m validation.torchdiffeq_digits`.",
    ]
    for entry in rn.catalogue("mild", "contracting"):
        truth = rn.reference(entry.problem)
        known = ", ".join(f"{leaf} {d:.1f}" for leaf, d in truth.digits().items() if leaf not in entry.faint)
        lines += ["", f"## {entry.name}: {entry.about}", ""]
        lines += [f"Reference: {truth.kind}, {truth.how}; its digits: {known}."]
        if entry.faint:
            faint = ", ".join(entry.faint)
            lines.append(f"Leaves {faint} have a true gradient near 0 and are held to the largest leaf's scale.")
        head = ["gradient", "tol", "worst leaf", "blown", "nfe", *truth.grads]
        lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for kind in SOLVES:
            lines += ["| " + " | ".join(row) + " |" for row in rows(entry, truth, kind)]
    return "\n".join(lines) + "\n"


def main():
    """Write the page and print it."""
    warnings.simplefilter("ignore")  # torch warns about its own internals
    page = report()
    OUT.write_text(page, "utf-8")
    print(page)


if __name__ == "__main__":
    main()
