"""Depths, their bases and adaptive ends as plain data, and back (docs/problem_file.md)."""

from typing import Any

from refnode.adaptive import AdaptiveDepth
from refnode.bases import Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial, PiecewiseConstant
from refnode.depth import Constant, Galerkin
from refnode.json_file import Place, encode, real, within
from refnode.part_document import kind_of, of_mlp, to_mlp
from refnode.torchdyn_bases import (
    OfDegree,
    TorchdynChebychev,
    TorchdynFourier,
    TorchdynGaussianRBF,
    TorchdynMultiquadRBF,
    TorchdynPolynomial,
    TorchdynVanillaRBF,
)

DEPTHS: dict[str, type] = {"constant": Constant, "galerkin": Galerkin}
BASES: dict[str, type] = {
    "legendre": Legendre, "chebyshev": Chebyshev, "monomial": Monomial, "fourier": Fourier,
    "gaussian_rbf": GaussianRBF, "hat": Hat, "piecewise_constant": PiecewiseConstant,
    "torchdyn_fourier": TorchdynFourier, "torchdyn_polynomial": TorchdynPolynomial,
    "torchdyn_chebychev": TorchdynChebychev, "torchdyn_gaussian_rbf": TorchdynGaussianRBF,
    "torchdyn_vanilla_rbf": TorchdynVanillaRBF, "torchdyn_multiquad_rbf": TorchdynMultiquadRBF,
}  # fmt: skip
ENDS: dict[str, type] = {"adaptive": AdaptiveDepth}


def of_depth(depth: Any) -> dict[str, Any]:
    """A depth."""
    kind = kind_of("theta", depth, DEPTHS)
    if kind == "constant":
        return {"kind": kind}
    return {
        "kind": kind,
        "basis": _of_basis(depth.basis),
        "interval": _of_interval(depth.interval),
        "layers": None if depth.layers is None else list(depth.layers),
        "learns_edges": bool(depth.learns_edges),
    }


def to_depth(node: dict[str, Any], place: Place) -> Any:
    """The inverse of `of_depth`."""
    if node["kind"] == "constant":
        return Constant()
    basis = _to_basis(node["basis"], (*place, "basis"))
    interval = _to_interval(node["interval"], (*place, "interval"))
    layers = None if node["layers"] is None else tuple(node["layers"])
    with within(place):
        return Galerkin(basis, interval, layers, node["learns_edges"])


def _of_interval(interval: Any) -> Any:
    return interval if interval == "span" else {"lo": encode(interval[0]), "hi": encode(interval[1])}


def _to_interval(node: Any, place: Place) -> Any:
    if isinstance(node, str):
        return node
    return real(node["lo"], (*place, "lo")), real(node["hi"], (*place, "hi"))


def _of_basis(basis: Any) -> dict[str, Any]:
    node: dict[str, Any] = {"kind": kind_of("theta.basis", basis, BASES)}
    match basis:
        case OfDegree():
            return node | {"deg": int(basis.deg)}
        case Fourier():
            return node | {"n": int(basis.n)}
        case GaussianRBF():
            return node | {"m": int(basis.m), "width": None if basis.width is None else encode(basis.width)}
        case Hat():
            return node | {"nodes": [encode(u) for u in basis.nodes]}
        case PiecewiseConstant():
            return node | {"edges": [encode(u) for u in basis.edges]}
    return node | {"m": int(basis.m)}


def _to_basis(node: dict[str, Any], place: Place) -> Any:
    with within(place):
        match node["kind"]:
            case "fourier":
                return Fourier(node["n"])
            case "gaussian_rbf":
                width = node["width"]
                return GaussianRBF(node["m"], None if width is None else real(width, (*place, "width")))
            case "hat":
                return Hat(_reals(node["nodes"], (*place, "nodes")))
            case "piecewise_constant":
                return PiecewiseConstant(_reals(node["edges"], (*place, "edges")))
        return BASES[node["kind"]](node["deg"] if "deg" in node else node["m"])


def _reals(node: list[Any], place: Place) -> list[float]:
    return [real(text, (*place, k)) for k, text in enumerate(node)]


def of_adaptive(depth: Any) -> dict[str, Any]:
    """The T of an adaptive depth: the network that computes it."""
    return {"kind": kind_of("span[1]", depth, ENDS), "network": of_mlp("span[1].network", depth.network)}


def to_adaptive(node: dict[str, Any], place: Place) -> AdaptiveDepth:
    """The inverse of `of_adaptive`."""
    with within(place):
        return AdaptiveDepth(to_mlp(node["network"]))
