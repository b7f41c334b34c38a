"""A problem comes back from its file bit for bit, in any language; whatever else a file holds is refused by place."""

import copy
import json
import math
import os
import re
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from hypothesis.extra import numpy as hnp

import refnode as rn
from refnode import depth_document, json_file, loss_document, part_document, problem_document, problem_file
from refnode.layers import ACTIVATIONS
from tests.any_problem import problems
from tests.hostile_files import HOSTILE, TEXTS
from tests.hostile_zoo_files import HOSTILE_ZOO, zoo_problem

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = {path.name: json.loads(path.read_text()) for path in (ROOT / "refnode").glob("*.schema.json")}


def fits(document, name="problem.schema.json"):
    """Validate against the whole schema, every number included."""
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)


def saved(problem, folder, name="p.json"):
    """The path of a problem just saved."""
    problem.save(folder / name)
    return folder / name


def assert_same(got, want):
    """Same structure, same bits in every leaf and in the data of every term."""
    assert list(got.leaves()) == list(want.leaves())
    for name, leaf in want.leaves().items():
        assert (got.leaves()[name].shape, got.leaves()[name].tobytes()) == (leaf.shape, leaf.tobytes()), name
    ours, theirs = got.model, want.model
    assert (ours.field, ours.depth, ours.h_x, ours.h_y) == (theirs.field, theirs.depth, theirs.h_x, theirs.h_y)
    assert (ours.order, ours.initial, ours.control) == (theirs.order, theirs.initial, theirs.control)
    assert ours.adaptive == theirs.adaptive
    assert problem_document.document(got) == problem_document.document(want)


# ---------------------------------------------------------------- round trips

@given(problems())
def test_every_problem_comes_back_bit_for_bit(tmp_path_factory, problem):
    """Leaves, losses and structure are the same, the file fits the schema, and the gradient has the same bits."""
    path = saved(problem, tmp_path_factory.mktemp("p"))
    fits(json.loads(path.read_text()))
    again = rn.load_problem(path)
    assert_same(again, problem)
    solver = rn.Solver("rk4", n_steps=2)
    want, got = rn.gradient(problem, "discrete", solver), rn.gradient(again, "discrete", solver)
    assert got.loss.hex() == want.loss.hex()
    assert {k: g.tobytes() for k, g in got.grads.items()} == {k: g.tobytes() for k, g in want.grads.items()}


@pytest.mark.parametrize("entry", rn.catalogue(), ids=lambda entry: entry.name)
def test_every_problem_of_the_catalogue_comes_back(tmp_path, entry):
    """Any program that reads files can be graded on the whole catalogue."""
    path = saved(entry.problem, tmp_path)
    fits(json.loads(path.read_text()))
    assert_same(rn.load_problem(path), entry.problem)


EXTREME = [-0.0, 5e-324, -2.2250738585072009e-308, 2.2250738585072014e-308, 1e308, -1.7976931348623157e308, math.pi]


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=st.floats(allow_nan=False, allow_infinity=False)))
@example(np.array(EXTREME))
def test_every_float_comes_back_bit_for_bit(a):
    """encode and decode are inverse on all of float64, -0.0 and subnormals included."""
    b = json_file.decode(json.loads(json.dumps(json_file.encode(a))), ())
    assert (b.shape, b.tobytes()) == (a.shape, a.tobytes())


def test_an_observation_at_the_end_comes_back(tmp_path):
    """A time may be the very T: it stays a time, and does not become the terminal loss."""
    seen = rn.Observations([0.5, 1.0], [rn.StandardNormal(), rn.StandardNormal()])
    model = rn.NeuralODE(rn.CosineField(1))
    problem = rn.Problem(model, {"theta.k": [1.0]}, np.ones((1, 1)), rn.Loss(observations=seen))
    again = rn.load_problem(saved(problem, tmp_path))
    assert_same(again, problem)
    assert again["t_obs"][-1] == again["T"]
    assert again.loss.terminal is None


def test_extreme_leaves_come_back(tmp_path):
    """-0.0, subnormals and 1e308 in parameters, inputs and targets survive the file."""
    row = np.array(EXTREME)
    model = rn.NeuralODE(rn.CosineField(7), span=(0.0, 5e-324))
    problem = rn.Problem(model, {"theta.k": row}, row[None, ::-1], rn.Loss(rn.SquaredError(row)))
    assert_same(rn.load_problem(saved(problem, tmp_path)), problem)


# ---------------------------------------------------------------- other languages

def example_problem():
    """Two samples, everything in the file that a file can have beside an MLP field."""
    rng = np.random.default_rng(5)
    model = rn.NeuralODE(rn.MLP(2, 4, 2, time="first"), span=(0.25, 1.5), h_y=rn.Linear(2, 3))
    seen = rn.Observations([0.5, 0.75], [rn.LinearFunctional(rng.standard_normal(3)), rn.CrossEntropy([2, 0])])
    running = [0.1 * rn.Kinetic(), rn.Tracking(rn.Harmonic(*rng.standard_normal((3, 2))))]
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((2, 3))), seen, running, scale=0.5)
    return rn.Problem(model, model.init(rng), rng.standard_normal((2, 2)), loss)


def field_at_start(problem):
    """f(t0, x) as refnode has it."""
    v = problem.values
    return problem.model.field.forward(v.t0, v.x, v.alpha, None)


def read_without_refnode(path):
    """f(t0, z(t0)) from the file with a JSON parser, float.fromhex and math.tanh: no NumPy, no refnode."""
    file = json.loads(path.read_text())

    def rows(node):
        numbers, width = [float.fromhex(text) for text in node["data"]], node["shape"][-1]
        return [numbers[i : i + width] for i in range(0, len(numbers), width)]

    leaf, t0, answer = file["params"], float.fromhex(file["span"]["t0"]), []
    for z in rows(file["x"]):
        h = [*z, t0]
        for k in range(len(file["model"]["field"]["widths"]) - 1):
            W, (b,) = rows(leaf[f"theta.W{k}"]), rows(leaf[f"theta.b{k}"])
            u = [sum(h[i] * W[i][j] for i in range(len(W))) + b[j] for j in range(len(b))]
            h = [math.tanh(v) for v in u]
        answer.append(u)
    return answer


def test_a_reader_without_refnode_computes_the_field(tmp_path):
    """Fifteen lines of plain Python recompute f(t0, x): at most 4 products a sum, so 1e-14 is far above rounding."""
    problem = example_problem()
    f = read_without_refnode(saved(problem, tmp_path))
    np.testing.assert_allclose(f, field_at_start(problem), rtol=0, atol=1e-14)


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    """The Python block of docs/problem_file.md computes the same, in at most 15 lines of code."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "problem_file.md").read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 15
    assert "refnode" not in code
    problem = example_problem()
    saved(problem, tmp_path, "problem.json")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    np.testing.assert_allclose(names["f"], field_at_start(problem), rtol=0, atol=1e-14)


def test_the_docs_name_every_key_and_kind():
    """Every key and every word of the schema stands in docs/problem_file.md in backquotes or as JSON."""
    text = (ROOT / "docs" / "problem_file.md").read_text("utf-8")
    words = set(re.findall(r'[`"](\w+)[`"]', text))
    defs = SCHEMAS["problem.schema.json"]["$defs"]
    keys = {key for d in [SCHEMAS["problem.schema.json"], *defs.values()] for key in d.get("properties", {})}
    modules = (part_document, depth_document, loss_document)
    tables = (table for m in modules for name, table in vars(m).items() if name.isupper() and isinstance(table, dict))
    kinds = {kind for table in tables for kind in table}
    assert (keys | kinds | set(ACTIVATIONS)) - words == set()


@pytest.mark.parametrize("text", ["0x1p-1074", "0x0.0000000000001p-1022", "-0x1.8p1", "0x1.8p+1", "0x0p+0", "0x1.0p0"])
def test_hexadecimal_floats_of_other_languages_are_read(text):
    """What C, Go and Java write for the same numbers is read too."""
    assert json_file.real(text, ()) == float.fromhex(text)


# ---------------------------------------------------------------- the schema

@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schema_is_a_schema(name):
    """The schemas themselves are valid, and state the pattern of reals that the reader uses."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$defs"]["real"]["pattern"] == f"^{json_file.REAL.pattern}$"


def test_the_schema_knows_the_kinds_of_the_code():
    """Kinds and activations are the same in schema and code."""
    d = SCHEMAS["problem.schema.json"]["$defs"]
    kinds = {
        "field": d["model"]["properties"]["field"], "depth": d["model"]["properties"]["depth"], "basis": d["basis"],
        "map": d["map"], "point": d["point_loss"], "running": d["running_loss"],
        "beta": d["tracking"]["properties"]["beta"],
    }
    tables = {
        "field": part_document.FIELDS, "depth": depth_document.DEPTHS, "basis": depth_document.BASES,
        "map": part_document.MAPS, "point": loss_document.POINT_LOSSES, "running": loss_document.RUNNING_LOSSES,
        "beta": loss_document.PATHS,
    }  # fmt: skip
    for name, node in kinds.items():
        assert node["properties"]["kind"]["enum"] == list(tables[name])
        assert [case["if"]["properties"]["kind"]["const"] for case in node["allOf"]] == list(tables[name])
    assert [d[kind]["properties"]["kind"]["const"] for kind in ("columns", "adaptive")] == [
        *part_document.CONTROLS, *depth_document.ENDS,
    ]  # fmt: skip
    assert d["activation"]["enum"] == list(ACTIVATIONS)


def test_answers_are_allowed(tmp_path):
    """A file may carry answers; the problem is the same."""
    problem = example_problem()
    path = tmp_path / "golden.json"
    answers = {"loss": "0x1p+0", "from": ["anyone", 1]}
    json_file.write_json(problem_document.document(problem) | {"answers": answers}, path)
    fits(json.loads(path.read_text()))
    assert_same(rn.load_problem(path), problem)


# ---------------------------------------------------------------- what a file cannot hold

@dataclass(frozen=True, init=False)
class OddNetwork(rn.MLP):
    """An MLP that may compute anything."""


class OddPath(rn.Harmonic):
    """A path that may lead anywhere."""


MINE = rn.UserLoss(lambda t, y: (y**2).sum(axis=1), lambda t, y: (np.zeros(len(y)), 2 * y))
MY_RUNNING = rn.UserRunning(
    lambda at: at.z.sum(axis=1),
    lambda at, d: d.z.sum(axis=1),
    lambda at, g: rn.no_cotangent(at)._replace(z=g[:, None] * np.ones(at.z.shape)),
)
CODE = {  # argument: (model, loss)
    "field": (rn.NeuralODE(OddNetwork(2, 2)), rn.Loss(rn.SquaredError(np.zeros(2)))),
    "h_y": (rn.NeuralODE(rn.MLP(2, 2), h_y=OddNetwork(2, 2)), rn.Loss(rn.SquaredError(np.zeros(2)))),
    "terminal": (rn.NeuralODE(rn.MLP(2, 2)), rn.Loss(MINE)),
    "observations.terms[0]": (rn.NeuralODE(rn.MLP(2, 2)), rn.Loss(observations=rn.Observations([0.5], [MINE]))),
    "running[0]": (rn.NeuralODE(rn.MLP(2, 2)), rn.Loss(running=MY_RUNNING)),
    "running[0].beta": (rn.NeuralODE(rn.MLP(2, 2)), rn.Loss(running=rn.Tracking(OddPath(*np.ones((3, 2)))))),
}


@pytest.mark.parametrize("argument", CODE)
def test_code_is_not_written(tmp_path, rng, argument):
    """Fields, maps, losses and targets of one's own raise InvalidArgument and leave no file behind."""
    model, loss = CODE[argument]
    problem = rn.Problem(model, model.init(rng), np.ones((2, 2)), loss)
    with pytest.raises(rn.InvalidArgument, match=f"^{re.escape(argument)}: .*which cannot be written to a file: "):
        problem.save(tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- atomic writes

def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """If the system fails before the rename, the old file is whole and no draft is left."""
    path = saved(example_problem(), tmp_path)
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        example_problem().save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_replaces_the_old_one_and_links_stay(tmp_path):
    """Saving over a link writes the file that it leads to; permissions are those of any new file."""
    path, link = saved(example_problem(), tmp_path), tmp_path / "link.json"
    link.symlink_to(path)
    path.write_text("old")
    example_problem().save(link)
    (tmp_path / "plain").touch()
    assert link.is_symlink()
    assert rn.load_problem(path).batch == 2
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_no_folder_no_file(tmp_path):
    """A path in no folder, or to a folder, is an InvalidArgument."""
    with pytest.raises(rn.InvalidArgument, match="in a folder that exists"):
        example_problem().save(tmp_path / "none" / "p.json")
    with pytest.raises(rn.InvalidArgument, match="a regular file, or a new one"):
        example_problem().save(tmp_path)


# ---------------------------------------------------------------- hostile files

def refused(path, text):
    """The message with which a file of this text (or these bytes) is refused, behind the file's name."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(rn.ProblemFileError) as caught:
        rn.load_problem(path)
    assert isinstance(caught.value.__cause__, rn.InvalidArgument)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < len(str(path)) + 1000
    return message.removeprefix(f"{path}: ")


@pytest.fixture(scope="module")
def good():
    """A good document, to be spoilt."""
    return problem_document.document(example_problem())


@pytest.fixture(scope="module")
def good_zoo():
    """A good document with everything that the first has not."""
    return problem_document.document(zoo_problem())


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_document_is_refused_by_place(tmp_path, good, what):
    """ProblemFileError names the file, the place as a JSON pointer, what stands there and what is allowed."""
    change, message = HOSTILE[what]
    document = copy.deepcopy(good)
    change(document)
    assert re.match(message, refused(tmp_path / "p.json", json.dumps(document)))


@pytest.mark.parametrize("what", HOSTILE_ZOO)
def test_a_hostile_depth_span_or_control_is_refused_by_place(tmp_path, good_zoo, what):
    """The same for bases, intervals, layers, edges, adaptive ends, columns and partial input."""
    change, message = HOSTILE_ZOO[what]
    document = copy.deepcopy(good_zoo)
    change(document)
    assert re.match(message, refused(tmp_path / "p.json", json.dumps(document)))


@pytest.mark.parametrize("what", TEXTS)
def test_a_hostile_text_is_refused(tmp_path, good, what):
    """Whatever is no JSON document of ours is refused with line and column, byte or place."""
    change, message = TEXTS[what]
    assert re.match(message, refused(tmp_path / "p.json", change(json.dumps(good))))


@pytest.mark.parametrize("depth", range(50, 1000, 50))
def test_deep_answers_are_read_or_refused(tmp_path, good, depth):
    """Answers may nest as deep as they like: a Problem or a ProblemFileError, and never a RecursionError."""
    (tmp_path / "p.json").write_text(json.dumps(good)[:-1] + ', "answers": {"a": ' + "[" * depth + "]" * depth + "}}")
    read_or_refused(tmp_path / "p.json")


def read_or_refused(path):
    """Read a file; nothing but a ProblemFileError that names it may come out: the rest of its message, or None."""
    try:
        rn.load_problem(path)
    except rn.ProblemFileError as error:
        if not str(error).startswith(f"{path}: "):
            raise
        return str(error).removeprefix(f"{path}: ")
    return None


def test_a_path_that_is_no_file_is_refused(tmp_path):
    """A missing path, a folder, a pipe and a path with a null byte raise at once; a pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for path, message in {
        tmp_path / "none.json": "the file: got No such file or directory; must be a regular file that exists",
        tmp_path: "the file: got a folder or a special file; must be a regular file",
        tmp_path / "pipe": "the file: got a folder or a special file; must be a regular file",
        "null\0byte": "the file: got .*null",
    }.items():
        with pytest.raises(rn.ProblemFileError, match=message):
            rn.load_problem(path)


def test_a_file_above_the_limit_is_not_read(tmp_path):
    """A sparse file of 300 MiB is refused by its size; the limit is an argument."""
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(rn.ProblemFileError, match="the file: got 314572800 bytes; must be of at most 268435456"):
        rn.load_problem(tmp_path / "large.json")
    path = saved(example_problem(), tmp_path)
    with pytest.raises(rn.ProblemFileError, match="of at most 100 bytes"):
        rn.load_problem(path, max_bytes=100)
    with pytest.raises(rn.InvalidArgument, match="max_bytes"):
        rn.load_problem(path, max_bytes=0)


HUGE = ["m huge", "n huge", "m rbf huge", "network huge", "columns huge"]


@pytest.mark.parametrize("what", ["huge widths", "huge order", "huge shape", *HUGE])
def test_nothing_is_allocated_for_what_a_file_claims(tmp_path, good, good_zoo, what):
    """Refusing a small file that speaks of 1e9 units, blocks, rows or basis functions takes less than 1 MB."""
    change, document = (HOSTILE_ZOO[what][0], copy.deepcopy(good_zoo)) if what in HUGE else (
        HOSTILE[what][0], copy.deepcopy(good))  # fmt: skip
    change(document)
    refused(tmp_path / "p.json", json.dumps(document))  # jsonschema and its caches are loaded now
    tracemalloc.start()
    refused(tmp_path / "p.json", json.dumps(document))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_a_small_file_cannot_ask_for_a_huge_evaluation(tmp_path):
    """3000 samples beside 3000 hidden units fit a small file, but not one evaluation in 4 x 2 MB."""
    model = rn.NeuralODE(rn.MLP(1, 3000, 1, bias=False), span=(0.0, 1.0))
    problem = rn.Problem(model, {"theta.W0": np.ones((1, 3000)), "theta.W1": np.ones((3000, 1))}, np.ones((3000, 1)),
                         rn.Loss(rn.SquaredError(np.zeros(1))))  # fmt: skip
    path = saved(problem, tmp_path)
    assert rn.load_problem(path).batch == 3000
    with pytest.raises(rn.ProblemFileError, match="/x: got 3000 samples beside layers of 6002 units; must be at most"):
        rn.load_problem(path, max_bytes=2_000_000)


@pytest.mark.parametrize("own", [True, False], ids=["own spans", "one span"])
def test_a_small_file_cannot_ask_for_a_huge_theta(tmp_path, own):
    """500 samples with spans of their own have a theta(t) each, of 4000 numbers: 16 MB, not 4 x 2.1 MB."""
    theta = rn.Galerkin(rn.Legendre(1))
    model = rn.NeuralODE(rn.MLP(2, 1000, 2, bias=False), theta=theta)
    params = {"alpha.W0": np.ones((1, 2, 1000)), "alpha.W1": np.ones((1, 1000, 2))}
    span = (0.0, np.ones(500)) if own else None
    problem = rn.Problem(model, params, np.ones((500, 2)), rn.Loss(rn.SquaredError(np.zeros(2))), span)
    path = saved(problem, tmp_path)
    assert rn.load_problem(path).batch == 500
    if own:
        with pytest.raises(rn.ProblemFileError, match="/x: got 500 samples beside layers of 6006 units; must be at"):
            rn.load_problem(path, max_bytes=2_100_000)
    else:
        assert rn.load_problem(path, max_bytes=2_100_000).batch == 500


@given(st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, good, good_zoo, data):
    """Whatever byte of a file is changed, or cut: a Problem or a ProblemFileError."""
    raw = bytearray(json.dumps(data.draw(st.sampled_from([good, good_zoo]))).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] = data.draw(st.integers(0, 255))
    else:
        del raw[at : at + data.draw(st.integers(1, 50))]
    path = tmp_path_factory.mktemp("damaged") / "p.json"
    path.write_bytes(raw)
    read_or_refused(path)


WORDS = ["", "x", "mlp", "span", "fourier", "columns", "0x1p+0", "-0x1.8p+1000", "0x1p-1074"]
ODDITIES = st.sampled_from([None, True, 0, -1, 3, 2**31 - 1, 10**14, *WORDS])
PARTS = st.recursive(
    ODDITIES, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part), max_leaves=4
)


@given(st.data())
def test_documents_with_a_strange_part_are_read_or_refused(tmp_path_factory, good, good_zoo, data):
    """Whatever stands in the place of any part of a document: a Problem, or a ProblemFileError that gives a place of
    the document and says in words, not in the schema's keywords, what is allowed there."""
    document = copy.deepcopy(data.draw(st.sampled_from([good, good_zoo])))
    parent, key, node = None, None, document
    while isinstance(node, dict | list) and node and (parent is None or data.draw(st.integers(0, 3))):
        parent, key = node, data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        node = node[key]
    parent[key] = data.draw(PARTS)
    path = tmp_path_factory.mktemp("strange") / "p.json"
    path.write_text(json.dumps(document))
    message = read_or_refused(path)
    if message is not None:
        assert message.startswith("/")
        assert not re.search(r"must be of (type|\w+(Items|imum)) ", message)


# ---------------------------------------------------------------- gradient files

@pytest.mark.parametrize("zoo", [False, True], ids=["plain", "zoo"])
@pytest.mark.parametrize(
    ("method", "solver"),
    [
        ("discrete", rn.Solver("dopri5", tol=1e-6)),
        ("backsolve", rn.Solver("tsit5", rtol=1e-5, atol=1e-7, steps="own")),
        ("quadrature", rn.Solver("dopri5", tol=1e-5)),
        ("complex_step", rn.Solver("rk4", n_steps=3)),
    ],
)
def test_a_gradient_file_holds_the_gradient(tmp_path, method, solver, zoo):
    """Every number of a result stands in its file, bit for bit, and the file fits its schema."""
    problem = zoo_problem() if zoo else example_problem()
    result = rn.gradient(problem, method, solver)
    assert set(result.grads) == set(problem.leaves())
    rn.save_result(result, tmp_path / "g.json")
    file = json_file.read_json(tmp_path / "g.json", 10**7)
    fits(file, "gradient.schema.json")
    assert float.fromhex(file["loss"]) == result.loss
    for part in ("grads", "estimate", "magnitude"):
        leaves = getattr(result, part)
        assert file[part] == {name: json_file.encode(leaf) for name, leaf in leaves.items()}
        assert all(json_file.decode(file[part][name], ()).tobytes() == leaf.tobytes() for name, leaf in leaves.items())
    for part in ("adj_t0", "z_T", "loss_per_sample"):
        array = getattr(result, part)
        assert file[part] == (None if array is None else json_file.encode(array))
    assert file["solver"]["n_steps"] == solver.n_steps
    assert file["stats"]["accepted"] == np.asarray(result.stats.accepted).tolist()
    assert file["versions"] == {"refnode": rn.__version__, "numpy": np.__version__}


def test_only_a_result_is_saved(tmp_path):
    """Anything else is an InvalidArgument."""
    with pytest.raises(rn.InvalidArgument, match="result"):
        rn.save_result({}, tmp_path / "g.json")
    with pytest.raises(rn.InvalidArgument, match="problem"):
        problem_file.save_problem({}, tmp_path / "g.json")
