"""Every kind of depth, basis, end and control comes back from its file, and means what docs/problem_file.md says."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.polynomial import chebyshev, legendre

import refnode as rn
from refnode import depth_document, json_file, part_document
from refnode.depth import coordinate
from refnode.segments import segments
from tests.hostile_zoo_files import zoo_problem
from tests.test_problem_file import assert_same, fits, saved

BASES = {
    "legendre": rn.Legendre(4), "chebyshev": rn.Chebyshev(4), "monomial": rn.Monomial(3), "fourier": rn.Fourier(2),
    "gaussian_rbf": rn.GaussianRBF(3), "hat": rn.Hat([0.25, 0.7]),
    "piecewise_constant": rn.PiecewiseConstant([0.3, 0.4]),
    "torchdyn_fourier": rn.TorchdynFourier(3), "torchdyn_polynomial": rn.TorchdynPolynomial(3),
    "torchdyn_chebychev": rn.TorchdynChebychev(3), "torchdyn_gaussian_rbf": rn.TorchdynGaussianRBF(3),
    "torchdyn_vanilla_rbf": rn.TorchdynVanillaRBF(3), "torchdyn_multiquad_rbf": rn.TorchdynMultiquadRBF(3),
}  # fmt: skip
ALONE = [  # bases of few functions, where formulas have cases
    rn.Legendre(1), rn.Legendre(2), rn.Chebyshev(1), rn.GaussianRBF(1), rn.GaussianRBF(2, 0.3), rn.GaussianRBF(1, 5e-1),
    rn.Hat([]), rn.PiecewiseConstant([]), rn.TorchdynFourier(1), rn.TorchdynPolynomial(1),
]  # fmt: skip
SPANS = {"span": (0.25, 1.5), "backwards": (1.5, 0.25), "interval": (0.25, 1.5), "interval backwards": (1.5, 0.25)}


def problem_of(theta, span=(0.25, 1.5), **how):
    """A problem with this depth; its coefficients are random."""
    rng = np.random.default_rng(7)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"), theta=theta, span=span, **how)
    params = {
        name: leaf if name == "edges" else rng.uniform(-1, 1, leaf.shape) for name, leaf in model.init(rng).items()
    }
    return rn.Problem(model, params, rng.standard_normal((2, 2)), rn.Loss(rn.StandardNormal()))


def test_every_basis_has_a_problem_here():
    """The list above is that of the code."""
    assert {kind: type(basis) for kind, basis in BASES.items()} == depth_document.BASES


@pytest.mark.parametrize("layers", [None, ("W1",)], ids=["all layers", "W1"])
@pytest.mark.parametrize("interval", ["span", (-0.5, 2.0)], ids=["span", "interval"])
@pytest.mark.parametrize("basis", [*BASES.values(), *ALONE], ids=str)
def test_every_basis_comes_back(tmp_path, basis, interval, layers):
    """Basis, interval, layers and learned edges are the same behind the file, which fits the schema."""
    for learns_edges in {False, isinstance(basis, rn.PiecewiseConstant)}:
        problem = problem_of(rn.Galerkin(basis, interval, layers, learns_edges))
        path = saved(problem, tmp_path)
        fits(json.loads(path.read_text()))
        again = rn.load_problem(path)
        assert_same(again, problem)
        assert again.model.depth == rn.Galerkin(basis, interval, layers, learns_edges)


@pytest.mark.parametrize("control", ["none", "x", rn.Columns(0, 1), rn.Columns(1, 2), rn.Columns(0, 2)], ids=str)
def test_every_control_comes_back(tmp_path, control):
    """Words and columns are the same behind the file."""
    width = {"none": 0, "x": 2}[control] if isinstance(control, str) else control.stop - control.start
    model = rn.NeuralODE(rn.MLP(2 + width, 2), control=control)
    problem = rn.Problem(model, model.init(np.random.default_rng(0)), np.ones((1, 2)), rn.Loss(rn.StandardNormal()))
    assert rn.load_problem(saved(problem, tmp_path)).model.control == control


def test_an_adaptive_end_comes_back_as_its_network(tmp_path):
    """The file holds the network and not the T that it computes; T is computed again, bit for bit."""
    problem = zoo_problem()
    path = saved(problem, tmp_path)
    file = json.loads(path.read_text())
    assert file["span"]["T"]["kind"] == "adaptive"
    assert "shape" not in json.dumps(file["span"])
    again = rn.load_problem(path)
    assert again.span[1].tobytes() == problem.span[1].tobytes()
    assert "T" not in again.leaves()


def test_learned_edges_are_those_of_the_leaf(tmp_path):
    """Edges that have moved away from the basis's own come back as they are, and so do the basis's own."""
    theta = rn.Stacked([0.25, 0.5])
    problem = problem_of(theta).with_leaves({"edges": [0.3, 0.9]})
    again = rn.load_problem(saved(problem, tmp_path))
    assert again["edges"].tolist() == [0.3, 0.9]
    assert again.model.depth.basis.edges == (0.25, 0.5)


# ---------------------------------------------------------------- read without refnode

def psi_without_refnode(basis, u, edges):
    """psi (m,) at u by the formulas of the docs."""
    kind, m = basis["kind"], basis.get("m")
    number = [float.fromhex(text) for text in basis.get("nodes", basis.get("edges", []))]
    if kind == "legendre":
        return [math.sqrt(2 * j + 1) * legendre.legval(2 * u - 1, np.eye(m)[j]) for j in range(m)]
    if kind == "chebyshev":
        return [chebyshev.chebval(2 * u - 1, np.eye(m)[j]) for j in range(m)]
    if kind == "monomial":
        return [u**j for j in range(m)]
    if kind == "fourier":
        turns = [2 * math.pi * k * u for k in range(1, basis["n"] + 1)]
        return [1, *(math.sqrt(2) * math.cos(v) for v in turns), *(math.sqrt(2) * math.sin(v) for v in turns)]
    if kind == "gaussian_rbf":
        width = (1 / (m - 1) if m > 1 else 1) if basis["width"] is None else float.fromhex(basis["width"])
        return [math.exp(-((u - (j / (m - 1) if m > 1 else 0.5)) ** 2) / (2 * width**2)) for j in range(m)]
    if kind == "hat":
        return [np.interp(u, [0, *number, 1], row) for row in np.eye(len(number) + 2)]
    if kind == "piecewise_constant":
        cell = sum(u > s for s in (number if edges is None else edges))
        return [float(j == cell) for j in range(len(number) + 1)]
    return psi_of_torchdyn(kind, basis["deg"], u)


def psi_of_torchdyn(kind, deg, u):
    """The same for torchdyn's."""
    n = [deg * k / (deg - 1) for k in range(deg)] if deg > 1 else [0]
    return {
        "torchdyn_fourier": lambda: [*(math.cos(v * u) for v in n), *(math.sin(v * u) for v in n)],
        "torchdyn_polynomial": lambda: [u**v for v in n],
        "torchdyn_chebychev": lambda: [chebyshev.chebval(u, np.eye(deg)[k]) for k in range(deg)],
        "torchdyn_gaussian_rbf": lambda: [math.exp(-((v * u / 2) ** 2)) for v in n],
        "torchdyn_vanilla_rbf": lambda: [v * abs(u) / 2 for v in n],
        "torchdyn_multiquad_rbf": lambda: [1 + math.sqrt(1 + (v * u / 2) ** 2) for v in n],
    }[kind]()


def theta_without_refnode(file, t, t0, T):
    """The field's leaves at t, flat in the order of the docs."""
    leaves = {name: json_file.decode(node, ()) for name, node in file["params"].items()}
    depth = file["model"]["depth"]
    lo, hi = t0, T
    if depth["interval"] != "span":
        lo, hi = (float.fromhex(depth["interval"][end]) for end in ("lo", "hi"))
    psi = psi_without_refnode(depth["basis"], (t - lo) / (hi - lo), leaves.get("edges"))
    flat = []
    for name in ("W0", "b0", "W1", "b1"):
        alpha = leaves.get(f"alpha.{name}")
        theta = leaves[f"theta.{name}"] if alpha is None else sum(p * a for p, a in zip(psi, alpha, strict=True))
        flat.append(theta.ravel())
    return np.concatenate(flat)


def theta_at(problem, i, t):
    """theta(t) as refnode has it on the i-th segment."""
    v, depth = problem.resolved, problem.model.depth
    return depth.forward(
        coordinate(depth, t, v.t0, v.T), problem.layout.cells[i], v.alpha, problem.model.field.shapes
    )


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("basis", [*BASES.values(), *ALONE], ids=str)
def test_a_reader_without_refnode_computes_theta(tmp_path, basis, span):
    """theta(t) by the formulas of the docs, on every segment: up to 6 functions of slope < 50 and size < 4, where u has
    an error of 2^-52 and alpha is below 1: 6 (50 + 4) 2^-52 < 1e-13."""
    interval = (-0.5, 2.0) if span.startswith("interval") else "span"
    layers = ("W0", "b1") if interval == "span" else None
    problem = problem_of(rn.Galerkin(basis, interval, layers), SPANS[span])
    file = json.loads(saved(problem, tmp_path).read_text())
    t0, T = (float.fromhex(file["span"][end]) for end in ("t0", "T"))
    for i, segment in enumerate(segments(problem, problem.resolved)):
        for fraction in (0.1, 0.9):
            t = segment.start + fraction * (segment.end - segment.start)
            want = theta_without_refnode(file, float(t), t0, T)
            np.testing.assert_allclose(theta_at(problem, i, t), want, rtol=0, atol=1e-13)


def test_a_reader_without_refnode_computes_an_adaptive_end(tmp_path):
    """T = t0 + softplus(network(x)): sums of at most 4 numbers of size 3, so 1e-14 is above their rounding."""
    problem = zoo_problem()
    file = json.loads(saved(problem, tmp_path).read_text())
    leaf = {name: json_file.decode(node, ()) for name, node in file["params"].items()}
    h = np.tanh(json_file.decode(file["x"], ()) @ leaf["T.W0"] + leaf["T.b0"])
    v = (h @ leaf["T.W1"] + leaf["T.b1"])[:, 0]
    T = float.fromhex(file["span"]["t0"]) + np.log(1 + np.exp(v))
    np.testing.assert_allclose(problem.span[1], T, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- what a file cannot hold

@dataclass(frozen=True)
class OddBasis(rn.Legendre):
    """A basis that may compute anything."""


@dataclass(frozen=True)
class OddDepth(rn.Galerkin):
    """A depth that may compute anything."""


@dataclass(frozen=True)
class OddColumns(rn.Columns):
    """Columns that may be any."""


@dataclass(frozen=True)
class OddEnd(rn.AdaptiveDepth):
    """An end that may lie anywhere."""


@dataclass(frozen=True, init=False)
class OddNetwork(rn.MLP):
    """An MLP that may compute anything."""


CODE = {  # argument: model
    "theta.basis": rn.NeuralODE(rn.MLP(2, 2), theta=rn.Galerkin(OddBasis(2))),
    "theta": rn.NeuralODE(rn.MLP(2, 2), theta=OddDepth(rn.Legendre(2))),
    "control": rn.NeuralODE(rn.MLP(3, 2), control=OddColumns(0, 1)),
    "span[1]": rn.NeuralODE(rn.MLP(2, 2), span=(0.0, OddEnd(rn.MLP(2, 1)))),
    "span[1].network": rn.NeuralODE(rn.MLP(2, 2), span=(0.0, rn.AdaptiveDepth(OddNetwork(2, 1)))),
    "h_x": rn.NeuralODE(rn.MLP(3, 3), h_x=rn.PartialInput(OddNetwork(2, 1))),
}


@pytest.mark.parametrize("argument", CODE)
def test_code_is_not_written(tmp_path, rng, argument):
    """Bases, depths, columns and networks of one's own raise InvalidArgument and leave no file behind."""
    model = CODE[argument]
    problem = rn.Problem(model, model.init(rng), np.ones((2, 2)), rn.Loss(rn.StandardNormal()))
    with pytest.raises(rn.InvalidArgument, match="which cannot be written to a file: ") as caught:
        problem.save(tmp_path / "p.json")
    assert caught.value.argument == argument
    assert list(tmp_path.iterdir()) == []


def test_layers_are_named_once():
    """A name given twice is refused before it reaches a file."""
    with pytest.raises(rn.InvalidArgument, match=r"^layers: .*distinct"):
        rn.Galerkin(rn.Legendre(2), layers=("W0", "W0"))


def test_maps_have_one_word_each():
    """No two kinds share a class, or what is written could come back as another thing."""
    for table in (part_document.MAPS, part_document.FIELDS, depth_document.BASES, depth_document.DEPTHS):
        assert len(set(table.values())) == len(table)
