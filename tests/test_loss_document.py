"""The losses of flows come back from their file, and what does not fit the model's field is refused by place."""

import copy
import json
import re
import tracemalloc

import numpy as np
import pytest

import refnode as rn
from refnode import problem_document
from tests.hostile_zoo_files import HOSTILE_FLOW, flow_problem
from tests.test_problem_file import assert_same, fits, refused, saved


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_a_flow_comes_back(tmp_path, trace):
    """Trace, noise and weight are the same behind the file; field and control are the model's own again."""
    problem = flow_problem(trace)
    path = saved(problem, tmp_path)
    fits(json.loads(path.read_text()))
    again = rn.load_problem(path)
    assert_same(again, problem)
    (term,) = again.loss.running
    assert (term.field, term.control, term.trace, term.weight) == (again.model.field, rn.Columns(2, 3), trace, -1.0)
    solver = rn.Solver("rk4", n_steps=2)
    assert rn.gradient(again, "discrete", solver).loss.hex() == rn.gradient(problem, "discrete", solver).loss.hex()


@pytest.mark.parametrize("what", HOSTILE_FLOW)
def test_a_hostile_divergence_is_refused_by_place(tmp_path, what):
    """ProblemFileError names the place as a JSON pointer, what stands there and what is allowed."""
    change, message = HOSTILE_FLOW[what]
    document = problem_document.document(flow_problem())
    change(document)
    assert re.match(message, refused(tmp_path / "p.json", json.dumps(document)))


def test_a_small_file_cannot_ask_for_a_huge_trace(tmp_path):
    """The exact trace of 500 dimensions takes 500 tangents of 500 numbers a sample: with 40 samples 80 MB, refused for
    a file of 2 MB before any of it is allocated."""
    field = rn.MLP(500, 1, 500, bias=False, act="softplus")
    model = rn.NeuralODE(field, span=(0.0, 1.0))
    params = {"theta.W0": np.ones((500, 1)), "theta.W1": np.ones((1, 500))}
    plain = rn.Problem(model, params, np.ones((40, 500)), rn.Loss(running=rn.SquaredNorm()))
    document = problem_document.document(plain)
    assert rn.load_problem(saved(plain, tmp_path), max_bytes=2_000_000).batch == 40
    term = {"kind": "divergence", "trace": "exact", "noise": None, "weight": "0x1p+0", "reduction": "sum"}
    hostile = copy.deepcopy(document) | {"loss": document["loss"] | {"running": [term]}}
    (tmp_path / "p.json").write_text(json.dumps(hostile))
    tracemalloc.start()
    with pytest.raises(rn.ProblemFileError, match=r"/x: got 40 samples beside layers of .* units; must be at most"):
        rn.load_problem(tmp_path / "p.json", max_bytes=2_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
