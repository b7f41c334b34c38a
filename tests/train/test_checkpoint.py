"""Checkpoints keep every bit, and a file that is wrong is refused with the place."""

import json

import numpy as np
import pytest

import refnode as rn
from refnode.train.checkpoint import Checkpoint, State, load_checkpoint

HARD = np.array([0.0, -0.0, 5e-324, 1 / 3, -1.7976931348623157e308])


def bits(leaves):
    return {name: (leaf.shape, leaf.tobytes()) for name, leaf in leaves.items()}


def checkpoint():
    params = {"theta.W0": HARD.reshape(5, 1), "h_y.b0": np.array([np.pi])}
    history = {name: np.arange(4.0) / 3 for name in ("loss", "nfe", "nfe_backward", "seconds")}
    state = State(3, params, {"m": HARD, "v": np.zeros(0)}, proposal=((0.0, 1 / 3, 1.0), (0.0, 1.0)))
    return Checkpoint({"method": "discrete"}, 2**63 - 1, state, history)


def test_every_bit_comes_back(tmp_path):
    """Signed zeros, subnormals, the largest float64, a 63-bit seed, empty slots; the history up to the step."""
    checkpoint().save(tmp_path / "c.json")
    found, wanted = load_checkpoint(tmp_path / "c.json"), checkpoint()
    assert (found.settings, found.seed, found.state.step) == (wanted.settings, wanted.seed, 3)
    assert not found.state.done
    assert found.state.proposal == wanted.state.proposal
    for mine, true in ((found.params, wanted.params), (found.state.slots, wanted.state.slots)):
        assert bits(mine) == bits(true)
    assert all(np.array_equal(found.history[name], wanted.history[name][:3]) for name in wanted.history)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda node: node.pop("seed"), "(document)"),
        (lambda node: node.update(format="refnode.problem"), "/format"),
        (lambda node: node.update(version=2), "/version"),
        (lambda node: node.update(step=4), "/history"),
        (lambda node: node.update(step=-1), "/step"),
        (lambda node: node.update(seed="-1"), "/seed"),
        (lambda node: node.update(extra=1), "/extra"),
        (lambda node: node["history"].pop("loss"), "/history"),
        (lambda node: node["params"]["theta.W0"]["data"].pop(), "/params/theta.W0"),
        (lambda node: node["slots"]["m"]["data"].__setitem__(0, "0x1.8p99999"), "/slots/m/data/0"),
        (lambda node: node["slots"]["m"].update(shape=[10**9]), "/slots/m"),
        (lambda node: node["settings"].update(method={}), "/settings/method"),
        (lambda node: node.update(proposal=[]), "/proposal"),
        (lambda node: node["proposal"][0]["data"].reverse(), "/proposal"),
        (lambda node: node["proposal"][1].update(shape=[2, 1]), "/proposal"),
        (lambda node: node["proposal"][1]["data"].pop(), "/proposal/1"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, change, place):
    checkpoint().save(tmp_path / "c.json")
    node = json.loads((tmp_path / "c.json").read_text("utf-8"))
    change(node)
    (tmp_path / "c.json").write_text(json.dumps(node), "utf-8")
    with pytest.raises(rn.ProblemFileError) as caught:
        load_checkpoint(tmp_path / "c.json")
    assert f"c.json: {place}: got" in str(caught.value)


def test_a_half_written_file_is_refused(tmp_path):
    """Cut anywhere, it is no checkpoint."""
    checkpoint().save(tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text("utf-8")
    for n in range(0, len(text) - 2, 97):
        (tmp_path / "c.json").write_text(text[:n], "utf-8")
        with pytest.raises(rn.ProblemFileError):
            load_checkpoint(tmp_path / "c.json")
