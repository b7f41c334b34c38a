"""The numbers of a problem are the same in the record and by name, and directions visit each of them once."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.values import Values, directions, named, unnamed
from tests.help import random_problem

H_X, H_Y = rn.MLP(3, 4, 2), rn.Linear(2, 1)


@st.composite
def problems(draw):
    """A problem with or without maps, observations, control and ends of the span per sample."""
    maps = draw(st.sampled_from([{}, {"h_x": H_X}, {"h_y": H_Y}, {"h_x": H_X, "h_y": H_Y}]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    times = draw(st.sampled_from([(), (0.5,), (0.5, 0.75, 1.0)]))
    return random_problem(rng, times=times, own_ends=draw(st.booleans()), control=draw(st.booleans()), **maps)


@st.composite
def records(draw):
    """A record of consecutive numbers, ends of the span shared or not, one or both; T is (0,) where it is adaptive."""
    b, k = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    shapes = {
        "alpha": (draw(st.integers(1, 3)),),
        "edges": (draw(st.integers(0, 2)),),
        "w_x": (draw(st.integers(0, 2)),),
        "w_y": (draw(st.integers(0, 2)),),
        "w_T": (draw(st.integers(0, 2)),),
        "x": (b, draw(st.integers(1, 3))),
        "t0": draw(st.sampled_from([(), (b,)])),
        "T": draw(st.sampled_from([(), (b,), (0,)])),
        "t_obs": (k,),
    }
    start, arrays = 1, {}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        arrays[name] = np.arange(start, start + count, dtype=float).reshape(shape)
        start += count
    return Values(**arrays)


def assert_equal(one, other):
    """The same names, shapes and numbers in the same order."""
    one, other = dict(one.items()), dict(other.items())
    assert list(one) == list(other)
    for name, a in one.items():
        assert a.shape == other[name].shape
        np.testing.assert_array_equal(a, other[name])


# ---------------------------------------------------------------- names

@given(problems())
def test_names_and_records_are_inverse(problem):
    """unnamed(named(values)) is values and named(unnamed(leaves)) is leaves; the leaves are those of the problem."""
    values, leaves = problem.values, problem.leaves()
    assert_equal(values, unnamed(named(values, problem), problem))
    assert_equal(leaves, named(unnamed(leaves, problem), problem))
    for name, leaf in problem.params.items():
        np.testing.assert_array_equal(leaves[name], leaf)
    np.testing.assert_array_equal(leaves["x"], problem.x)
    np.testing.assert_array_equal(leaves["t0"], problem.span[0])
    np.testing.assert_array_equal(leaves["T"], problem.span[1])


@given(problems())
def test_leaf_names(problem):
    """The parameters in the model's order, then x, t0, T, and t_obs if there are observations."""
    tail = ["x", "t0", "T"] + (["t_obs"] if problem.loss.observations else [])
    assert list(problem.leaves()) == [*problem.model.shapes, *tail]
    for name, shape in problem.model.shapes.items():
        assert problem.leaves()[name].shape == shape


def test_names_of_one_problem(rng):
    """Field, input map and readout have names of their own: theta.W0, h_x.W0, h_y.W0."""
    problem = random_problem(rng, h_x=H_X, h_y=H_Y, times=(0.5,), hidden=3)
    assert list(problem.leaves()) == [
        *("theta.W0", "theta.b0", "theta.W1", "theta.b1", "theta.A"),
        *("h_x.W0", "h_x.b0", "h_x.W1", "h_x.b1"),
        *("h_y.W0", "h_y.b0"),
        *("x", "t0", "T", "t_obs"),
    ]


# ---------------------------------------------------------------- records

@given(records())
def test_fields_in_order(values):
    """items gives every field once, in the order in which the record declares them."""
    assert [name for name, _ in values.items()] == [f.name for f in fields(Values)]


@given(records(), st.sampled_from([f.name for f in fields(Values)]))
def test_dtype(values, name):
    """float64; complex128 as soon as one field is complex."""
    assert values.dtype == np.float64
    arrays = dict(values.items())
    assert Values(**(arrays | {name: arrays[name] + 0j})).dtype == np.complex128


@given(records())
def test_like_and_shifted(values):
    """like fills every shape with one number; shifted adds a multiple of another record, complex too."""
    ones = values.like(1.0)
    for (_, a), (_, one) in zip(values.items(), ones.items(), strict=True):
        np.testing.assert_array_equal(one, np.ones(a.shape))
    assert_equal(values.shifted(2.0, ones), Values(*(np.asarray(a + 2) for _, a in values.items())))
    assert_equal(values.shifted(2j, values), Values(*(np.asarray(a + 2j * a) for _, a in values.items())))
    assert_equal(values.shifted(0.0, ones), values)


# ---------------------------------------------------------------- directions

@given(records())
def test_directions_visit_every_number_once(values):
    """The sum of all directions is one at every number; each is ones at its own place, and zero elsewhere."""
    total = values.like(0.0)
    for direction in directions(values):
        name, index = direction.where
        unit = dict(values.like(0.0).items())
        unit[name][index] = 1.0
        assert_equal(direction.along, Values(**unit))
        total = total.shifted(1.0, direction.along)
    assert_equal(total, values.like(1.0))


@given(records())
def test_samples_share_a_direction_where_each_has_a_number_of_its_own(values):
    """x, and t0 and T if they are per sample, take one direction for each number of one sample; the rest one each."""
    b = len(values.x)
    counts = {name: sum(d.where[0] == name for d in directions(values)) for name, _ in values.items()}
    for name, a in values.items():
        own = name == "x" or (name in ("t0", "T") and a.ndim == 1)
        assert counts[name] == (a.size // b if own else a.size)
        assert {d.own for d in directions(values) if d.where[0] == name} <= {own}
    assert all(d.along.x.sum() in (0, b) for d in directions(values))


@given(records(), st.integers(0, 2**32 - 1))
def test_put_writes_each_derivative_to_its_place(values, seed):
    """For L_s = sum of c_s times all numbers that sample s sees, put collects the gradient: c_s where a number is a
    sample's own, and sum_s c_s where it is shared.
    """
    b, rng = len(values.x), np.random.default_rng(seed)
    c = {name: rng.integers(-9, 10, size=(b, *a.shape)).astype(float) for name, a in values.items()}  # integers: exact
    want, grads = dict(values.like(0.0).items()), values.like(np.nan)
    for direction in directions(values):
        name, index = direction.where
        if direction.own:
            per_sample = np.array([c[name][(s, s, *index[1:])] for s in range(b)])
        else:
            per_sample = np.array([c[name][(s, *index)] for s in range(b)])
        direction.put(grads, per_sample)
    for name, a in values.items():
        for index in np.ndindex(a.shape):
            own = name == "x" or (name in ("t0", "T") and a.ndim == 1)
            want[name][index] = c[name][(index[0], *index)] if own else c[name][(slice(None), *index)].sum()
    assert_equal(grads, Values(**want))


@pytest.mark.parametrize("own_ends", [False, True])
def test_number_of_directions_of_a_problem(own_ends, rng):
    """One for each parameter, input of a sample, end of the span and observation time."""
    problem = random_problem(rng, own_ends=own_ends, times=(0.5, 1.0), h_y=H_Y)
    parameters = sum(leaf.size for leaf in problem.params.values())
    assert len(list(directions(problem.values))) == parameters + 2 + 1 + 1 + 2
