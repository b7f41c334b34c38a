"""Checkpoints: a training between two steps, written whole or not at all, and read back bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument, ProblemFileError
from refnode.json_file import MAX_BYTES, decode, encode, read_json, write_json
from refnode.schema import check_schema
from refnode.solver import Proposal, check_proposal
from refnode.train.optimisers import Slots

FORMAT, VERSION = "refnode.checkpoint", 1
COLUMNS = ("loss", "nfe", "nfe_backward", "seconds")
DEFAULTS = {"hand_on": "False"}  # of settings that older files lack


@dataclass(frozen=True, eq=False)
class State:
    """Where a training stands.

    step       how many steps were done
    params     every leaf by its full name
    slots      what the optimiser remembers
    done       whether the optimiser found nothing more to gain
    proposal   the solver's steps that are handed on, or None (see `rn.hand_on`)
    """

    step: int
    params: dict[str, Array]
    slots: Slots
    done: bool = False
    proposal: Proposal | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training between two steps.

    settings   what makes the run what it is, in words; a resumed run must have the same
    seed       from which every step draws its own random numbers
    state      State
    history    loss, nfe, nfe_backward and seconds of every step so far, (step,) each
    """

    settings: dict[str, str]
    seed: int
    state: State
    history: dict[str, Array]

    @property
    def params(self) -> dict[str, Array]:
        """Every leaf by its full name."""
        return self.state.params

    def save(self, path: str | Path) -> None:
        """Write the file so that it is either the old one or the whole new one, whenever the process dies."""
        state = self.state
        node = {
            "format": FORMAT,
            "version": VERSION,
            "settings": self.settings,
            "seed": str(self.seed),
            "step": state.step,
            "done": state.done,
            "params": _encoded(state.params),
            "slots": _encoded(state.slots),
            "history": {name: encode(self.history[name][: state.step]) for name in COLUMNS},
        }
        if state.proposal is not None:
            node["proposal"] = [encode(np.array(fractions)) for fractions in state.proposal]
        write_json(node, path)


def load_checkpoint(path: str | Path, max_bytes: int = MAX_BYTES) -> Checkpoint:
    """The training that a file holds, trusting nothing in it; ProblemFileError for whatever is wrong."""
    try:
        node = read_json(path, max_bytes)
        check_schema(node, "checkpoint.schema.json")
        found = [decode(s, ("proposal", i)) for i, s in enumerate(node.get("proposal", []))]
        proposal = tuple(tuple(fractions.tolist()) for fractions in found) or None
        if proposal is not None:
            check_proposal(proposal, "/proposal")
        state = State(node["step"], _decoded(node, "params"), _decoded(node, "slots"), node["done"], proposal)
        history = _decoded(node, "history")
        if any(column.shape != (state.step,) for column in history.values()):
            raise InvalidArgument("/history", "another number of steps", f"{state.step} numbers in every column")
        return Checkpoint(node["settings"], int(node["seed"]), state, history)
    except InvalidArgument as error:
        raise ProblemFileError(f"{path}: {str(error)[:800]}") from error


def check_settings(found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise InvalidArgument for the first setting that differs: another run cannot be resumed."""
    for name, word in wanted.items():
        was = found.get(name, DEFAULTS.get(name))
        if was != word:
            raise InvalidArgument(name, word, f"{was}, as in the run that is resumed")


def _encoded(leaves: Mapping[str, Array]) -> dict[str, Any]:
    return {name: encode(np.atleast_1d(leaf)) for name, leaf in leaves.items()}


def _decoded(node: dict[str, Any], key: str) -> dict[str, Array]:
    return {name: decode(leaf, (key, name)) for name, leaf in node[key].items()}
