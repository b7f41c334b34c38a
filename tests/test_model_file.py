"""A model and its parameters come back from one file bit for bit; weights leave under plain names, without pickle."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from tests.any_problem import problems

FIELD, DEPTH = rn.MLP(2, 3, 2, time="every"), rn.Galerkin(rn.Fourier(2), layers=("W0",))
MODEL = rn.NeuralODE(FIELD, theta=DEPTH, h_y=rn.Linear(2, 1))


def bits(params):
    return {name: (leaf.shape, leaf.tobytes()) for name, leaf in params.items()}


@settings(max_examples=40)
@given(problem=problems(), data=st.data())
def test_any_model_comes_back(tmp_path_factory, problem, data):
    """Structure, span and every bit, of any model that a file can hold."""
    path = tmp_path_factory.mktemp("models") / "m.json"
    rn.save_model(problem.model, problem.params, path)
    model, params = rn.load_model(path)
    assert model == problem.model
    assert bits(params) == bits(problem.params)
    assert list(params) == list(problem.params)


def test_a_loaded_model_solves_as_the_saved_one(tmp_path, rng):
    """The same loss to the last bit."""
    params, x, loss = MODEL.init(rng), rng.standard_normal((3, 2)), rn.Loss(rn.SquaredError(np.zeros(1)))
    rn.save_model(MODEL, params, tmp_path / "m.json")
    ours, theirs = rn.Problem(MODEL, params, x, loss), rn.Problem(*rn.load_model(tmp_path / "m.json"), x, loss)
    assert rn.solve(ours).loss == rn.solve(theirs).loss


def test_weights_are_exported_under_plain_names(tmp_path, rng):
    """np.load without pickle gives every leaf by its name; the archive holds .npy files and nothing else."""
    params = MODEL.init(rng)
    rn.export_weights(params, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as found:
        assert bits(dict(found)) == bits(params)
    assert sorted(zipfile.ZipFile(tmp_path / "w.npz").namelist()) == sorted(f"{name}.npy" for name in params)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_code_is_not_written(tmp_path, rng):
    """A field of your own cannot be saved; its weights can."""

    class Own(rn.MLP):
        pass

    model = rn.NeuralODE(Own(2, 2))
    with pytest.raises(rn.InvalidArgument, match="it is code, not data"):
        rn.save_model(model, model.init(rng), tmp_path / "m.json")
    rn.export_weights(model.init(rng), tmp_path / "w.npz")


def test_parameters_of_another_model_are_refused(tmp_path, rng):
    params = MODEL.init(rng)
    for wrong in ({}, params | {"more": np.zeros(1)}, params | {"theta.b0": np.zeros(4)}, None):
        with pytest.raises(rn.InvalidArgument):
            rn.save_model(MODEL, wrong, tmp_path / "m.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda node: node.update(format="refnode.problem"), "/format"),
        (lambda node: node.update(version=True), "/version"),
        (lambda node: node.pop("span"), "(document)"),
        (lambda node: node["params"].pop("theta.b0"), "/params"),
        (lambda node: node["params"]["theta.b0"].update(shape=[2, 2]), "/params/theta.b0"),
        (lambda node: node["params"]["theta.b0"]["data"].__setitem__(0, 1), "/params/theta.b0/data/0"),
        (lambda node: node["model"]["field"].update(kind="pickle"), "/model/field/kind"),
        (lambda node: node["model"]["field"].update(widths=[2, 10**9, 2]), "/params/alpha.W0"),
        (lambda node: node["span"].update(t0="0x1p0", T=[]), "/span/T"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, rng, change, place):
    rn.save_model(MODEL, MODEL.init(rng), tmp_path / "m.json")
    node = json.loads((tmp_path / "m.json").read_text("utf-8"))
    change(node)
    (tmp_path / "m.json").write_text(json.dumps(node), "utf-8")
    with pytest.raises(rn.ProblemFileError) as caught:
        rn.load_model(tmp_path / "m.json")
    assert f"m.json: {place}: got" in str(caught.value)
