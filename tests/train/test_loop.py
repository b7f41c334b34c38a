"""fit does what a loop written out does, the same every time, and stops when it must."""

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest

import refnode as rn
from refnode.arrays import flatten, unflatten
from refnode.train.checkpoint import load_checkpoint
from tests.train.problems import HANDED, SOLVER, problem, rings, same, sample, train


def exponential():
    """A one-parameter field whose loss has its minimum where z(1) = x exp(k) = 2 x: k = log 2."""
    shapes = {"k": (1,)}
    field = rn.UserField(
        lambda t, z, theta, x: theta[..., :1] * z,
        lambda t, z, theta, x, dt, dz, dtheta, dx: dtheta[..., :1] * z + theta[..., :1] * dz,
        lambda t, z, theta, x, g: (np.zeros(len(z)), theta[..., :1] * g, np.array([(g * z).sum()]), None),
        shapes,
        1,
    )
    x = np.array([[1.0], [-1.0], [1.5], [-0.5]])
    return rn.Problem(rn.NeuralODE(field), {"theta.k": np.zeros(1)}, x, rn.Loss(rn.SquaredError(2 * x)))


# ---------------------------------------------------------------- steps

@pytest.mark.parametrize("method", ["discrete", "backsolve"])
def test_fit_is_the_loop_written_out(method):
    """Five steps of SGD with momentum, by hand, give the same bits: data from [seed, k], whole problems built anew."""
    p, solver = problem(), rn.Solver("dopri5", tol=1e-6)
    run = rn.fit(p, sample, method, solver, rn.SGD(0.05, 0.9), steps=5, rng=np.random.default_rng(3))
    params, v = dict(p.params), {name: np.zeros(leaf.shape) for name, leaf in p.params.items()}
    for k in range(5):
        x, loss = rings(np.random.default_rng([run.seed, k]))
        g = rn.gradient(rn.Problem(p.model, params, x, loss), method, solver)
        assert run.history["loss"][k] == g.loss
        assert (run.history["nfe"][k], run.history["nfe_backward"][k]) == (g.stats.nfe, g.stats.nfe_backward)
        v = {name: 0.9 * v[name] + g.grads[name] for name in v}
        params = {name: params[name] - 0.05 * v[name] for name in v}
    assert all(np.array_equal(params[name], run.params[name]) for name in params)


def test_a_seed_is_a_run():
    """The same seed, the same bits; another seed, another run."""
    assert same(train(), train())
    assert not same(train(), train(seed=2))


def test_the_minimum_of_a_field_of_your_own_is_found():
    """z' = k z from x to 2 x: k = log 2, by every kind of optimiser; ten steps of order 5 err by less than 1e-8."""
    p, solver = exponential(), rn.Solver("dopri5", n_steps=10)
    for optimiser, steps, off in ((rn.SGD(0.05), 60, 1e-8), (rn.Adam(0.05), 250, 1e-4), (rn.LBFGS(), 30, 1e-8)):
        run = rn.fit(p, None, "discrete", solver, optimiser, steps=steps, rng=np.random.default_rng(0))
        assert abs(run.params["theta.k"][0] - np.log(2)) < off


def test_frozen_leaves_stay():
    """A frozen readout keeps its bits, and everything else moves."""
    run, before = train(frozen=("h_y.W0", "h_y.b0")), problem().params
    moved = {name for name in before if not np.array_equal(run.params[name], before[name])}
    assert moved == set(before) - {"h_y.W0", "h_y.b0"}


def test_riesz_steps_do_not_depend_on_the_mesh():
    """A constant theta on 3 and on 9 hats is the same function, and its steps along G^-1 dloss/dalpha stay nearly so,
    while plain steps on the finer mesh are smaller in proportion to its weights."""
    moves = {}
    for riesz in (False, True):
        for nodes in (3, 9):
            words = {"theta": rn.FunctionSpace(nodes)}
            before = problem(**words).params["alpha.b1"]
            run = train(1, optimiser=rn.SGD(0.1), words=words, riesz=riesz, sample=None)
            moves[riesz, nodes] = np.abs(run.params["alpha.b1"] - before).max()
    assert 0.8 < moves[True, 3] / moves[True, 9] < 1.25
    assert moves[False, 3] / moves[False, 9] > 2


def test_every_model_trains():
    """30 steps of Adam lower the loss of every kind of model on one batch."""
    kinds = {
        "plain": {},
        "galerkin": {"theta": rn.Galerkin(rn.Fourier(1))},
        "stacked, edges learned": {"theta": rn.Stacked(2)},
        "adaptive": {"span": (0.0, rn.AdaptiveDepth(rn.MLP(2, 3, 1)))},
    }
    for words in kinds.values():
        run = train(30, sample=None, words=words, optimiser=rn.Adam(0.02))
        assert run.history["loss"][-1] < 0.9 * run.history["loss"][0]


def test_steps_handed_on_are_the_loop_written_out():
    """Each step's solver is what the one before hands on: the same bits by hand, with fewer evaluations."""
    run, plain = train(15, **HANDED), train(15, **HANDED | {"hand_on": False})
    params, solver = dict(problem().params), HANDED["solver"]
    slots = rn.Adam(1e-2).start(sum(leaf.size for leaf in params.values()))
    shapes = {name: leaf.shape for name, leaf in params.items()}
    for k in range(15):
        x, loss = rings(np.random.default_rng([run.seed, k]))
        g = rn.gradient(rn.Problem(problem().model, params, x, loss), "discrete", solver)
        solver = rn.hand_on(g)
        assert (run.history["loss"][k], run.history["nfe"][k]) == (g.loss, g.stats.nfe)
        w, slots = rn.Adam(1e-2).step(k, flatten(params, shapes), flatten(g.grads, shapes), slots)
        params = unflatten(w, shapes)
    assert all(np.array_equal(params[name], run.params[name]) for name in params)
    assert run.history["nfe"].sum() < plain.history["nfe"].sum()
    np.testing.assert_allclose(run.history["loss"], plain.history["loss"], rtol=1e-3)


def test_steps_handed_on_where_break_points_come_and_go(monkeypatch):
    """Edges at fixed depths that an adaptive depth T(x) passes or not: a proposal for other segments is left aside."""
    seen = []

    def counted(problem, **words):
        seen.append((len(problem.layout.cells), words["solver"].proposal))
        return rn.gradient(problem, **words)

    monkeypatch.setattr("refnode.train.loop.gradient", counted)
    theta = rn.Galerkin(rn.PiecewiseConstant(24), interval=(0.0, 3.0))
    train(12, words={"theta": theta, "span": (0.0, rn.AdaptiveDepth(rn.MLP(2, 3, 1)))}, **HANDED)
    counts = [count for count, _ in seen]
    changed = [count != before for before, count in pairwise(counts)]
    assert 0 < sum(changed) < len(changed)
    assert [proposal is None for _, proposal in seen] == [True, *changed]


# ---------------------------------------------------------------- resumption

@pytest.mark.parametrize("words", [{}, HANDED], ids=["plain", "handed on"])
@pytest.mark.parametrize("optimiser", [rn.SGD(1e-2, 0.9), rn.AdamW(rn.Cosine(1e-2, 12))])
def test_an_interrupted_run_goes_on_bit_for_bit(optimiser, words, tmp_path):
    """Ctrl-C while step 7 draws its data leaves a checkpoint at step 7, though they are due every 5 steps only."""
    whole = train(optimiser=optimiser, **words)

    def interrupted(rng, k):
        if k == 7 and not (tmp_path / "go on").exists():
            raise KeyboardInterrupt
        return sample(rng, k)

    with pytest.raises(KeyboardInterrupt):
        train(optimiser=optimiser, sample=interrupted, out=tmp_path, every=5, **words)
    assert load_checkpoint(tmp_path / "checkpoint.json").state.step == 7
    (tmp_path / "go on").touch()
    words = words | {"resume": True, "seed": 9}
    assert same(train(optimiser=optimiser, sample=interrupted, out=tmp_path, every=5, **words), whole)


def test_lbfgs_goes_on_from_its_last_leg_bit_for_bit(tmp_path):
    """Legs of 4 iterations: 6 iterations and then 6 more are not 12 (a leg was cut), but 8 and then 4 are."""
    words = {"sample": None, "optimiser": rn.LBFGS(restart=4)}
    whole = train(12, **words)
    train(8, **words, out=tmp_path / "a")
    assert same(train(12, **words, out=tmp_path / "a", resume=True), whole)
    assert whole.history["loss"][-1] < 0.5 * whole.history["loss"][0]


def test_a_finished_run_has_nothing_to_resume(tmp_path):
    """Resuming it returns it; asking for more steps goes on."""
    done = train(6, out=tmp_path)
    assert same(train(6, out=tmp_path, resume=True), done)
    assert same(train(12, out=tmp_path, resume=True), train(12))


def test_another_run_is_not_resumed(tmp_path):
    """A setting that differs is named; so is a folder that holds a run already."""
    train(2, out=tmp_path)
    with pytest.raises(rn.InvalidArgument, match="optimiser: got Adam"):
        train(4, out=tmp_path, resume=True, optimiser=rn.Adam(0.5))
    with pytest.raises(rn.InvalidArgument, match=r"problem: got leaves .* must be with those of the run"):
        train(4, out=tmp_path, resume=True, words={"order": 1, "h_x": rn.Linear(2, 2)}, frozen=("h_x.W0", "h_x.b0"))
    with pytest.raises(rn.InvalidArgument, match="resume=True"):
        train(4, out=tmp_path)
    train(2, out=tmp_path / "b", **HANDED)
    with pytest.raises(rn.InvalidArgument, match="hand_on: got False; must be True, as in the run that is resumed"):
        train(4, out=tmp_path / "b", resume=True, **HANDED | {"hand_on": False})


def test_a_checkpoint_that_knows_of_no_steps_handed_on(tmp_path):
    """One written before there was the setting goes on as it was: without."""
    train(6, out=tmp_path)
    node = json.loads((tmp_path / "checkpoint.json").read_text("utf-8"))
    assert node["settings"].pop("hand_on") == "False"
    (tmp_path / "checkpoint.json").write_text(json.dumps(node), "utf-8")
    assert same(train(12, out=tmp_path, resume=True), train(12))


# ---------------------------------------------------------------- divergence

def test_a_run_that_diverges_stops_and_keeps_the_last_good_parameters(tmp_path):
    """Steps of 1e6 make the loss huge; what is kept is the last state whose loss was computed and within the limit."""
    with pytest.raises(rn.TrainingDiverged) as caught:
        train(50, optimiser=rn.SGD(1e6), out=tmp_path, sample=None)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.step >= 1
    assert str(error) == str(caught.value)
    assert str(tmp_path / "checkpoint.json") in str(error)
    kept = load_checkpoint(tmp_path / "checkpoint.json")
    assert kept.state.step == error.step - 1
    here = problem().with_data(kept.params, problem().x, problem().loss)
    assert np.isfinite(rn.solve(here, SOLVER).loss)


def test_a_first_step_that_fails_keeps_nothing(tmp_path):
    """There are no good parameters to keep."""
    p = problem()
    huge = p.with_data({**p.params, "theta.W1": 1e308 * np.ones((4, 2))}, p.x, p.loss)
    with pytest.raises(rn.TrainingDiverged) as caught:
        rn.fit(huge, None, "discrete", SOLVER, steps=2, rng=np.random.default_rng(0), out=tmp_path)
    assert (caught.value.step, caught.value.checkpoint) == (0, None)
    assert not (tmp_path / "checkpoint.json").exists()


def test_a_solver_that_gives_up_is_a_divergence():
    """Too few steps allowed."""
    with pytest.raises(rn.TrainingDiverged, match="steps"):
        rn.fit(problem(), sample, "discrete", rn.Solver(tol=1e-9, max_steps=2), steps=2, rng=np.random.default_rng(0))


def test_edges_that_pass_each_other_are_a_divergence():
    """A wild step swaps the edges of a stacked depth."""
    with pytest.raises(rn.TrainingDiverged, match="edges"):
        train(40, words={"theta": rn.Stacked(3)}, optimiser=rn.Adam(0.3), sample=None)


# ---------------------------------------------------------------- arguments

@pytest.mark.parametrize(
    ("words", "argument"),
    [
        ({"steps": 0}, "steps"),
        ({"every": 0}, "every"),
        ({"frozen": ("nothing",)}, "frozen"),
        ({"frozen": "h_y.W0"}, "frozen"),
        ({"frozen": tuple(problem().params)}, "frozen"),
        ({"riesz": True}, "riesz"),
        ({"resume": True}, "resume"),
        ({"limit": -1.0}, "limit"),
        ({"optimiser": rn.LBFGS()}, "sample"),
        ({"method": "magic"}, "method"),
        ({"dtype": "float16"}, "dtype"),
        ({"hand_on": 1}, "hand_on"),
        ({"hand_on": True}, "hand_on"),                 # fixed steps
    ],
)
def test_bad_arguments_are_named(words, argument):
    given = {"method": "discrete", "steps": 2, "rng": np.random.default_rng(0)} | words
    with pytest.raises(rn.InvalidArgument) as caught:
        rn.fit(problem(), sample, solver=SOLVER, **given)
    assert caught.value.argument == argument


@pytest.mark.parametrize("words", [
    {"optimiser": rn.LBFGS(), "sample": None}, {"solver": rn.Solver(tol=1e-5, steps="own")}, {"backend": "cuda"},
], ids=["L-BFGS", "own steps", "a card"])  # fmt: skip
def test_where_nothing_is_handed_on(words):
    """A line search needs one loss, and only shared steps on a CPU can be handed on."""
    with pytest.raises(rn.InvalidArgument, match=r"^hand_on: got True; must be False"):
        train(2, **HANDED | words)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(rn.InvalidArgument, match=r"out: .*a folder, not a file"):
        train(out=tmp_path / "file")


def test_the_bar_says_loss_evaluations_and_time(capsys):
    """On stderr, if it is asked for; nothing on stdout."""
    run = train(3, show=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert f"nfe {int(run.history['nfe'][-1])} + {int(run.history['nfe_backward'][-1])}" in said.err
    assert f"loss {run.history['loss'][-1]:.4g}" in said.err
    assert " ms" in said.err
    train(3)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- the next batch

def test_with_data_is_the_problem_built_anew():
    """The same gradient, bit for bit, adaptive depth included; wrong shapes and NaN are refused as ever."""
    p = problem(span=(0.0, rn.AdaptiveDepth(rn.MLP(2, 3, 1))))
    x, loss = rings(np.random.default_rng(5), b=3)
    mine, other = p.with_data(p.params, x, loss), rn.Problem(p.model, p.params, x, loss)
    a, b = (rn.gradient(one, "discrete", SOLVER).grads for one in (mine, other))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    for bad, argument in (((p.params, x[:2], loss), "terminal.target"), ((p.params, np.nan * x, loss), "x")):
        with pytest.raises(rn.InvalidArgument) as caught:
            p.with_data(*bad)
        assert caught.value.argument == argument


def test_with_data_asks_functions_of_a_new_kind():
    """A user's loss that was not there when the problem was made is evaluated once."""
    p, wrong = problem(), rn.UserLoss(lambda t, y: y, lambda t, y: (np.zeros(len(y)), y))
    with pytest.raises(rn.InvalidArgument, match=r"terminal\.value"):
        p.with_data(p.params, p.x, rn.Loss(wrong))


def test_batches_are_epochs():
    """Every epoch sees every row once, in an order of its own, the same whichever step is asked for first."""
    x = np.arange(12.0)[:, None]
    batches = rn.Batches(x, x, lambda y: rn.Loss(rn.SquaredError(y)), size=4, seed=3)
    rng = np.random.default_rng(0)
    epochs = [np.concatenate([batches(rng, 3 * e + k)[0].ravel() for k in range(3)]) for e in range(2)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert not np.array_equal(*epochs)
    rows, loss = batches(rng, 4)
    assert np.array_equal(rows.ravel(), epochs[1][4:8])
    assert np.array_equal(loss.terminal.target, rows)
