"""Ways to spoil good files with depth variance, an adaptive end, columns and flows, as in `hostile_files`."""

# ruff: noqa: E501

import numpy as np

import refnode as rn
from refnode import json_file
from tests.hostile_files import COUNT, REAL, drop, put, vector


def zoo_problem():
    """Two samples; W0 and b1 stacked with learned edges on an interval, T computed from x, the second column of x as control."""
    rng = np.random.default_rng(6)
    theta = rn.Stacked([0.25, 0.5], interval=(-1.0, 2.0), layers=("W0", "b1"))
    span = (0.25, rn.AdaptiveDepth(rn.MLP(2, 3, 1)))
    field, h_x = rn.MLP(4, 4, 3, time="first"), rn.PartialInput(rn.Linear(2, 1))
    model = rn.NeuralODE(field, theta=theta, span=span, h_x=h_x, control=rn.Columns(1, 2))
    return rn.Problem(model, model.init(rng), rng.standard_normal((2, 2)), rn.Loss(rn.SquaredError(np.zeros(3))))


def flow_problem(trace="hutchinson"):
    """Two samples of a flow under a condition of width 1, their noise drawn twice."""
    rng = np.random.default_rng(8)
    field = rn.MLP(3, 4, 2, act="softplus", time="first")
    flow = rn.CNF(field, trace=trace, theta=rn.Galerkin(rn.Legendre(2)), condition=1)
    noise = flow.draw_noise(rng, 2, 2) if trace == "hutchinson" else None
    return flow.problem(flow.init(rng), rng.standard_normal((2, 2)), noise, rng.standard_normal((2, 1)))


def both(*changes):
    """One change after another."""

    def change(document):
        for each in changes:
            each(document)

    return change


DEPTH, BASIS = ("model", "depth"), ("model", "depth", "basis")
INTERVAL, LAYERS, EDGES = (*DEPTH, "interval"), (*DEPTH, "layers"), (*BASIS, "edges")
CONTROL, NETWORK = ("model", "control"), ("span", "T", "network")
HALF, ONE, TWO, LARGE = (number.hex() for number in (0.5, 1.0, 2.0, 1.7e308))
INDEX = COUNT.replace("from 1", "from 0")


def basis(**node):
    """A change: another basis, whose edges are no leaf."""
    return both(put(*BASIS, value=node), put(*DEPTH, "learns_edges", value=False), drop("params", "edges"))


HOSTILE_ZOO = {  # what: (change of the document of zoo_problem, the message behind the file's name)
    "unknown depth": (put(*DEPTH, "kind", value="neural"), r"/model/depth/kind: got \"neural\"; must be one of 'constant', 'galerkin'"),
    "depth of no kind": (put(*DEPTH, value={}), r"/model/depth: got no key 'kind'"),
    "constant with layers": (put(*DEPTH, "kind", value="constant"), r"/model/depth/basis: got an unknown key; must be among kind$"),
    "constant of a varying model": (put(*DEPTH, value={"kind": "constant"}), r"/params: got unknown leaves \['alpha.W0', 'alpha.b1', 'edges'\]; must be the leaves"),
    "no layers": (drop(*LAYERS), r"/model/depth: got no key 'layers'; must be an object with the keys kind, basis, interval, layers, learns_edges"),
    "unknown key of the depth": (put(*DEPTH, "degree", value=3), r"/model/depth/degree: got an unknown key; must be among kind, basis"),
    "unknown basis": (put(*BASIS, "kind", value="wavelet"), r"/model/depth/basis/kind: got \"wavelet\"; must be one of 'legendre', 'chebyshev'"),
    "basis as text": (put(*BASIS, value="fourier"), r"/model/depth/basis: got \"fourier\"; must be a basis, by its kind"),
    "m of fourier": (basis(kind="fourier", m=3), r"/model/depth/basis: got no key 'n'; must be an object with the keys kind, n"),
    "m and n of fourier": (basis(kind="fourier", n=1, m=3), r"/model/depth/basis/m: got an unknown key; must be among kind, n"),
    "no m": (basis(kind="legendre"), r"/model/depth/basis: got no key 'm'"),
    "m zero": (basis(kind="legendre", m=0), rf"/model/depth/basis/m: got 0; must be {COUNT}"),
    "m huge": (basis(kind="legendre", m=2**31 - 1), r"/params/alpha.W0: got shape \(3, 5, 4\); must be of shape \(2147483647, 5, 4\)"),
    "m beyond int32": (basis(kind="monomial", m=2**31), rf"/model/depth/basis/m: got 2147483648; must be {COUNT}"),
    "m of other leaves": (basis(kind="chebyshev", m=4), r"/params/alpha.W0: got shape \(3, 5, 4\); must be of shape \(4, 5, 4\)"),
    "n huge": (basis(kind="fourier", n=2**31 - 1), r"/params/alpha.W0: got shape \(3, 5, 4\); must be of shape \(4294967295, 5, 4\)"),
    "width zero": (basis(kind="gaussian_rbf", m=3, width="0x0.0p+0"), r"/model/depth/basis/width: got 0.0; must be a finite number > 0"),
    "width as number": (basis(kind="gaussian_rbf", m=3, width=1), rf"/model/depth/basis/width: got 1; must be {REAL}"),
    "width not exact": (basis(kind="gaussian_rbf", m=3, width="0x1p-99999"), r"/model/depth/basis/width: got '0x1p-99999'; must be exactly a float64"),
    "m rbf huge": (basis(kind="gaussian_rbf", m=10**9, width=None), r"/params/alpha.W0: got shape \(3, 5, 4\); must be of shape \(1000000000, 5, 4\)"),
    "edges out of order": (put(*EDGES, value=[HALF, "0x1p-2"]), r"/model/depth/basis/edges: got \[0.5, 0.25\]; must be ascending numbers strictly between 0 and 1"),
    "edges twice": (put(*EDGES, value=[HALF, HALF]), r"/model/depth/basis/edges: got \[0.5, 0.5\]; must be ascending"),
    "edge at the end": (put(*EDGES, value=[HALF, ONE]), r"/model/depth/basis/edges: got \[0.5, 1.0\]; must be ascending numbers strictly between 0 and 1"),
    "edge as number": (put(*EDGES, 0, value=0), rf"/model/depth/basis/edges/0: got 0; must be {REAL}"),
    "edge not exact": (put(*EDGES, 1, value="0x1p99999"), r"/model/depth/basis/edges/1: got '0x1p99999'; must be below 2\^1024"),
    "edges as array": (put(*EDGES, value=vector(0.25, 0.5)), r"/model/depth/basis/edges: got an object; must be a list of reals, strictly between 0 and 1 and ascending"),
    "edges as count": (put(*EDGES, value=3), r"/model/depth/basis/edges: got 3; must be a list of reals"),
    "one edge too few": (put(*EDGES, value=[HALF]), r"/params/alpha.W0: got shape \(3, 5, 4\); must be of shape \(2, 5, 4\)"),
    "nodes out of order": (basis(kind="hat", nodes=[HALF, "0x1p-2"]), r"/model/depth/basis/nodes: got \[0.5, 0.25\]; must be ascending"),
    "nodes of a stacked depth": (put(*BASIS, value={"kind": "piecewise_constant", "nodes": []}), r"/model/depth/basis: got no key 'edges'"),
    "learned edges out of order": (put("params", "edges", value=vector(0.5, 0.25)), r"/params/edges: got \[0.5, 0.25\]; must be ascending numbers strictly between 0 and 1"),
    "learned edges too many": (put("params", "edges", value=vector(0.1, 0.2, 0.3)), r"/params/edges: got shape \(3,\); must be of shape \(2,\)"),
    "no leaf edges": (drop("params", "edges"), r"/params: got no leaves \['edges'\]; must be the leaves"),
    "leaf edges that is not learned": (put(*DEPTH, "learns_edges", value=False), r"/params: got unknown leaves \['edges'\]; must be the leaves"),
    "learned edges of a smooth basis": (put(*BASIS, value={"kind": "legendre", "m": 3}), r"/model/depth/learns_edges: got True with Legendre\(m=3\); must be False"),
    "learns_edges as number": (put(*DEPTH, "learns_edges", value=1), r"/model/depth/learns_edges: got 1; must be true or false"),
    "interval backwards": (put(*INTERVAL, value={"lo": TWO, "hi": ONE}), r"/model/depth/interval: got \(2.0, 1.0\); must be 'span' or a pair \(lo, hi\) with lo < hi"),
    "interval of length zero": (put(*INTERVAL, value={"lo": ONE, "hi": ONE}), r"/model/depth/interval: got \(1.0, 1.0\); must be 'span' or a pair"),
    "interval without hi": (put(*INTERVAL, value={"lo": ONE}), r"/model/depth/interval: got no key 'hi'; must be an object with the keys lo, hi"),
    "interval as list": (put(*INTERVAL, value=[ONE, TWO]), r"/model/depth/interval: got a list of 2; must be 'span' or an object \{lo, hi\} of two reals"),
    "interval by another name": (put(*INTERVAL, value="unit"), r"/model/depth/interval: got \"unit\"; must be 'span'"),
    "interval with numbers": (put(*INTERVAL, "lo", value=0), rf"/model/depth/interval/lo: got 0; must be {REAL}"),
    "lo not exact": (put(*INTERVAL, "lo", value="-0x1p99999"), r"/model/depth/interval/lo: got '-0x1p99999'; must be below"),
    "unknown layers": (put(*LAYERS, value=["W0", "W7"]), r"/model/depth/layers: got unknown leaves \['W7'\]; must be among the field's, \['W0', 'b0', 'W1', 'b1'\]"),
    "layers by their full name": (put(*LAYERS, value=["alpha.W0"]), r"/model/depth/layers: got unknown leaves \['alpha.W0'\]; must be among the field's"),
    "layers twice": (put(*LAYERS, value=["W0", "W0"]), r"/model/depth/layers: got a list of 2; must be null, or a list of 1 to 3000 distinct names"),
    "no layer": (put(*LAYERS, value=[]), r"/model/depth/layers: got a list of 0; must be null, or a list of 1 to 3000 distinct names"),
    "layers as text": (put(*LAYERS, value="W0"), r"/model/depth/layers: got \"W0\"; must be null, or a list"),
    "layer as number": (put(*LAYERS, 0, value=0), r"/model/depth/layers/0: got 0; must be the name of a leaf of the field"),
    "layers that leave others": (put(*LAYERS, value=None), r"/params: got unknown leaves \['theta.W1', 'theta.b0'\]; must be the leaves"),
    "T a number beside a network's leaves": (put("span", "T", value=ONE), r"/params: got unknown leaves \['T.W0', 'T.W1', 'T.b0', 'T.b1'\]; must be the leaves"),
    "T a network without leaves": (drop("params", "T.W0"), r"/params: got no leaves \['T.W0'\]; must be the leaves"),
    "T a network and numbers": (put("span", "T", "shape", value=[2]), r"/span/T/shape: got an unknown key; must be among kind, network"),
    "T of no kind": (drop("span", "T", "kind"), r"/span/T: got no key 'shape'; must be an object with the keys shape, data"),
    "T of unknown kind": (put("span", "T", "kind", value="learned"), r"/span/T/kind: got \"learned\"; must be 'adaptive'"),
    "t0 adaptive": (put("span", "t0", value={"kind": "adaptive", "network": {}}), r"/span/t0: got no key 'shape'"),
    "network of other input": (put(*NETWORK, "widths", value=[5, 3, 1]), r"/span/T/network/widths/0: got 5; must be 2, the width of the map's input"),
    "network of two outputs": (put(*NETWORK, "widths", value=[2, 3, 2]), r"/span/T/network: got of output width 2; must be of output width 1"),
    "network with time": (put(*NETWORK, "time", value="first"), r"/span/T/network/time: got \"first\"; must be 'none'"),
    "network with a kind": (put(*NETWORK, "kind", value="mlp"), r"/span/T/network/kind: got an unknown key; must be among widths, act, bias, time, skip"),
    "network huge": (put(*NETWORK, "widths", 1, value=10**9), r"/params/T.W0: got shape \(2, 3\); must be of shape \(2, 1000000000\)"),
    "depth beyond float64": (both(put("span", "t0", value=LARGE), put("params", "T.b1", value=vector(1.7e308))), r"/span/T: got .*NaN or infinity.*; must be finite"),
    "depth of zero on the span": (both(put(*INTERVAL, value="span"), put("params", "T.b1", value=vector(-1e3))), r"/span/T: got \[0.25, 0.25\]; must be other than t0"),
    "control as list": (put(*CONTROL, value=[1, 2]), r"/model/control: got a list of 2; must be an object of kind 'columns'"),
    "control by another word": (put(*CONTROL, value="z"), r"/model/control: got \"z\"; must be one of 'none', 'x'"),
    "control by another map": (put(*CONTROL, value={"kind": "identity"}), r"/model/control: got no key 'start'"),
    "columns backwards": (put(*CONTROL, "start", value=2), r"/model/control/stop: got 2; must be an integer >= 3"),
    "columns of none": (put(*CONTROL, "stop", value=1), r"/model/control/stop: got 1; must be an integer >= 2"),
    "columns beyond x": (put(*CONTROL, "stop", value=3), r"/model/control/stop: got 3; must be at most 2, the width of the input"),
    "columns huge": (put(*CONTROL, "stop", value=2**31 - 1), r"/model/control/stop: got 2147483647; must be at most 2"),
    "negative column": (put(*CONTROL, "start", value=-1), rf"/model/control/start: got -1; must be {INDEX}"),
    "nested columns": (put(*CONTROL, "start", value={"kind": "columns", "start": 0, "stop": 1}), rf"/model/control/start: got an object; must be {INDEX}"),
    "columns of columns": (put(*CONTROL, "of", value={"kind": "columns", "start": 0, "stop": 1}), r"/model/control/of: got an unknown key; must be among kind, start, stop"),
    "columns beyond x as map": (put("model", "h_x", value={"kind": "columns", "start": 0, "stop": 3}), r"/model/h_x/stop: got 3; must be at most 2"),
    "partial input with time": (put("model", "h_x", "time", value="every"), r"/model/h_x/time: got \"every\"; must be 'none'"),
    "partial input of other width": (put("model", "h_x", "widths", 0, value=5), r"/model/h_x/widths/0: got 5; must be 2, the width of the map's input"),
    "partial input too wide": (put("model", "h_x", "widths", 1, value=2), r"/model/h_x: got of output width 4 for x of width 2; must be of output width 3"),
    "velocity of a first order": (put("model", "initial", value="velocity"), r"/model/initial: got 'velocity' with order 1; must be 'position'"),
    "observations behind a sample's T": (put("loss", "observations", value={"times": vector(9.0), "terms": [{"kind": "linear_functional", "c": vector(1.0, 1.0, 1.0), "weight": ONE, "reduction": "sum"}]}), r"/loss/observations/times: got times \[9.0\] in the span"),
    "observation on an edge": (both(put("span", "T", value=TWO), *(drop("params", f"T.{name}") for name in ("W0", "b0", "W1", "b1")), put("loss", "observations", value={"times": vector(0.5), "terms": [{"kind": "linear_functional", "c": vector(1.0, 1.0, 1.0), "weight": ONE, "reduction": "sum"}]})), r"/loss/observations/times: got an observation at 0.5, where theta\(t\) jumps; must be off the edges"),
    "leaf of five axes": (put("params", "alpha.W0", value=json_file.encode(np.ones((1, 1, 1, 1, 1)))), r"/params/alpha.W0/shape: got a list of 5; must be a list of 1 to 4 integers"),
}  # fmt: skip

TERM = ("loss", "running", 0)
RELU = r"/model/field: got an MLP with act='relu'; must be of a smooth activation"
HOSTILE_FLOW = {  # what: (change of the document of flow_problem, the message behind the file's name)
    "unknown trace": (put(*TERM, "trace", value="sum"), r"/loss/running/0/trace: got \"sum\"; must be one of 'exact', 'hutchinson'"),
    "no noise": (drop(*TERM, "noise"), r"/loss/running/0: got no key 'noise'"),
    "noise null": (put(*TERM, "noise", value=None), r"/loss/running/0/noise: got None with trace='hutchinson'; must be an array"),
    "noise of an exact trace": (put(*TERM, "trace", value="exact"), r"/loss/running/0/noise: got an array with trace='exact'; must be .*None"),
    "noise of two axes": (put(*TERM, "noise", value=json_file.encode(np.ones((2, 2)))), r"/loss/running/0/noise/shape: got a list of 2; must be an array whose shape is three integers"),
    "noise of no draws": (put(*TERM, "noise", value={"shape": [0, 2, 2], "data": []}), rf"/loss/running/0/noise/shape/0: got 0; must be {COUNT}"),
    "noise of other width": (put(*TERM, "noise", value=json_file.encode(np.ones((1, 2, 3)))), r"/loss/running/0/noise: got shape \(1, 2, 3\); must be of shape \(any, any, 2\)"),
    "noise of another batch": (put(*TERM, "noise", value=json_file.encode(np.ones((1, 3, 2)))), r"/loss/running/0/noise: got shape \(1, 3, 2\); must be of shape \(K, 2, 2\)"),
    "noise of a shape that lies": (put(*TERM, "noise", "shape", value=[10**9, 2, 2]), r"/loss/running/0/noise: got shape \[1000000000, 2, 2\] with 8 numbers"),
    "noise as text": (put(*TERM, "noise", value="normal"), r"/loss/running/0/noise: got \"normal\"; must be an array \{shape, data\}"),
    "of the state": (put(*TERM, "of", value="state"), r"/loss/running/0/of: got an unknown key; must be among kind, trace, noise"),
    "a field of its own": (put(*TERM, "field", value={}), r"/loss/running/0/field: got an unknown key"),
    "a trace that jumps": (put("model", "field", "act", value="relu"), RELU),
    "normal with a mean": (put("loss", "terminal", "mean", value=vector(0.0)), r"/loss/terminal/mean: got an unknown key; must be among kind, weight, reduction"),
}  # fmt: skip
