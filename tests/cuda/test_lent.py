"""Arrays on a card, lent by other libraries: read where they lie, never written, refused where they do not fit."""

import ctypes
import gc
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode import cuda
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.card_array import CardArray, lent
from refnode.kernels.cuda.dlpack import take
from tests.cuda.cases import RK4, problem
from tests.cuda.launch import OnCpu, card
from tests.cuda.test_tiles import wide

pytestmark = pytest.mark.slow
OWN = rn.Solver("dopri5", tol=1e-4, steps="own")
CAPSULES = ctypes.pythonapi.PyCapsule_New
CAPSULES.restype, CAPSULES.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Lent:
    """What another library's array says of itself."""

    def __init__(self, array, **words):
        self.array, self.__cuda_array_interface__ = array, array.__cuda_array_interface__ | words


class ByDlpack:
    """An array that speaks DLPack alone: its structure is packed by hand, 64 bytes as dlpack.h has them."""

    def __init__(self, array, *, strides=None, device=(2, 0), kind=(2, None), offset=0, lanes=1):
        self.array, self.device, self.returned, self.streams = array, device, 0, []
        self.deleter = DELETER(self.give_back)
        shape = (ctypes.c_int64 * len(array.shape))(*array.shape)
        steps = None if strides is None else (ctypes.c_int64 * len(strides))(*strides)
        places = ctypes.addressof(shape), 0 if steps is None else ctypes.addressof(steps)
        code, bits = kind[0], kind[1] or 8 * array.dtype.itemsize
        self.bytes = ctypes.create_string_buffer(struct.pack(
            "<QiiixxxxQQQQQ".replace("ixxxx", "iBBH"), array.pointer - offset, *device, len(array.shape), code, bits,
            lanes, *places, offset, 0, ctypes.cast(self.deleter, ctypes.c_void_p).value,
        ))  # fmt: skip
        self.kept = shape, steps

    def give_back(self, managed):
        assert managed == ctypes.addressof(self.bytes)
        self.returned += 1

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return CAPSULES(ctypes.addressof(self.bytes), b"dltensor", None)


def upstream(p, g):
    """A problem whose loss is sum g . z(T) and nothing else."""
    return replace(p, loss=rn.Loss(rn.LinearFunctional(g, reduction="sum")))


def still(p):
    """A problem without observations, which bound segments."""
    return replace(p, loss=replace(p.loss, observations=None))


CASES = {
    "threads": (lambda: problem(70, 8), RK4, np.float64),
    "float32, theta(t)": (lambda: problem(5, 8, rn.Galerkin(rn.Fourier(1))), RK4, np.float32),
    "own steps": (lambda: replace(problem(5, 8), loss=rn.Loss(rn.StandardNormal())), OWN, np.float64),
    "order 2": (lambda: problem(5, 5, inputs=4, order=2, init="position"), RK4, np.float64),
    "control": (lambda: problem(5, 5, inputs=4, control="x"), RK4, np.float64),
    "tiles": (lambda: wide(5, 2, 24, 16, 2), RK4, np.float64),
}


@pytest.mark.parametrize("name", CASES)
def test_a_vjp_is_the_gradient_of_its_linear_functional(runner, name):
    """From z0 and g on the card: z(T), dL/dz(t0) and all leaves, as the story has them from x and L = g . z(T)."""
    make, solver, dtype = CASES[name]
    p = still(make())
    d, rng = p.model.state_width, np.random.default_rng(5)
    z0 = p.model.initial_state(p.values.w_x, p.x).astype(dtype)
    g = rng.standard_normal((p.batch, d)).astype(dtype)
    solution = cuda.solve(p, solver, Lent(runner.array(z0)))
    back = solution.vjp(ByDlpack(runner.array(g)))
    want = rn.gradient(upstream(p, g.astype(float)), "discrete", solver, backend="numpy")
    room = 1e-12 if dtype is np.float64 else 1e-12 * 2.0**29     # roundings of the precision, as for the twins
    np.testing.assert_allclose(runner.host(solution.z_T), want.z_T, rtol=room, atol=room)
    assert (solution.z_T.dtype, back.adj_t0.dtype, back.loss_per_sample) == (dtype, dtype, None)
    largest = 1 + np.abs(want.adj_t0).max()
    np.testing.assert_allclose(runner.host(back.adj_t0), want.adj_t0, rtol=0, atol=room * largest)
    assert set(back.grads) == set(want.grads)
    for leaf in set(want.grads) - {"x"}:
        largest = float(np.max(want.magnitude[leaf], initial=0.0)) + 1
        np.testing.assert_allclose(back.grads[leaf], want.grads[leaf], rtol=0, atol=room * largest, err_msg=leaf)
    if name == "control":                           # all of x's gradient but that by z(t0) = x
        np.testing.assert_allclose(back.grads["x"] + want.adj_t0, want.grads["x"], atol=1e-11)
    np.testing.assert_array_equal(runner.host(solution.vjp(ByDlpack(runner.array(g))).adj_t0), runner.host(back.adj_t0))


@pytest.mark.parametrize("solver", [RK4, OWN, rn.Solver("dopri5", tol=1e-5)], ids=["fixed", "own", "shared"])
def test_the_problems_own_loss(runner, solver):
    """gradient() is rn.gradient's, bit for bit, but for the way from x to z(t0)."""
    p = problem(5, 8)
    got = cuda.solve(p, solver, Lent(runner.array(p.x)), store="states").gradient()
    want = discrete_adjoint(p, solver, OnCpu(), np.float64, store="states")
    np.testing.assert_array_equal(got.loss_per_sample, want.loss_per_sample)
    np.testing.assert_array_equal(runner.host(got.adj_t0), want.adj_t0)
    for leaf, g in want.grads.items():
        np.testing.assert_array_equal(got.grads[leaf], 0.0 if leaf == "x" else g, err_msg=leaf)


def test_arrays_are_read_where_they_lie(runner):
    """Any strides, by either protocol, read-only ones too: the same bits; nothing is written and all is given back."""
    p, memory = problem(5, 8), runner.driver._library
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((5, 6))
    mine, turned = runner.array(whole), runner.array(np.ascontiguousarray(whole.T))
    halves = Lent(mine, shape=(5, 2), strides=(48, 16))
    other = replace(p, x=whole[:, :4:2])
    forms = {
        "read-only": Lent(runner.array(other.x), data=(runner.array(other.x).pointer, True)),
        "every other column": halves,
        "transposed": Lent(turned, shape=(5, 2), strides=(8, 80)),
        "DLPack with strides": ByDlpack(mine.rows(slice(0, 5)), strides=(6, 2)),
        "DLPack with an offset": ByDlpack(runner.array(other.x), offset=8),
    }
    forms["read-only"] = Lent(kept := runner.array(other.x), data=(kept.pointer, True))
    forms["DLPack with strides"].kept[0][1] = 2     # two of the six columns
    before = {k: data.copy() for k, (data, _) in memory.arrays.items()}
    want = runner.host(cuda.solve(other, RK4, runner.array(other.x)).z_T)
    for name, form in forms.items():
        np.testing.assert_array_equal(runner.host(cuda.solve(other, RK4, form).z_T), want, err_msg=name)
    for k, data in before.items():
        np.testing.assert_array_equal(memory.arrays[k][0], data)
    borrowed = forms["DLPack with strides"]
    gc.collect()
    assert (borrowed.returned, borrowed.streams) == (1, [1])         # given back once; our stream is the default one
    del forms, form, halves, mine, turned, kept, borrowed
    gc.collect()
    assert memory.used == 0


def test_a_capsule_of_numpys():
    """The structure is read as NumPy writes it, strides and all; memory of a computer is none of a card."""
    for a in (np.arange(12.0).reshape(3, 4), np.zeros((4, 3), np.float32).T, np.arange(6, dtype=np.int16)[::2]):
        found, _ = take("a", a.__dlpack__())
        assert (found.pointer, found.shape, found.dtype) == (a.ctypes.data, a.shape, a.dtype)
        assert found.strides is None or tuple(n * a.itemsize for n in found.strides) == a.strides
    with pytest.raises(rn.InvalidArgument, match="got ndarray; must be an array on a card"):
        lent("z0", np.zeros(3))


class HostCapsule:
    """A capsule of ours whose memory is this computer's and says so, for NumPy to take."""

    def __init__(self, a):
        self.array = CardArray(a.ctypes.data, a.shape, a.dtype, a, strides=a.strides)

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **words):
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        ctypes.c_int32.from_address(pointer(capsule, b"dltensor") + 8).value = 1         # kDLCPU
        return capsule


def test_our_capsules(runner):
    """NumPy reads the structure that we write; a result is given back when whoever took it is done, or nobody took it;
    what cannot be said is refused."""
    a = np.arange(12.0).reshape(3, 4)[:, ::2]
    theirs = np.from_dlpack(HostCapsule(a))
    assert theirs.ctypes.data == a.ctypes.data
    np.testing.assert_array_equal(theirs, a)
    memory, mine = runner.driver._library, runner.array(a)
    assert mine.__dlpack_device__() == (2, 0)
    for taken in (True, False):
        capsule = mine.__dlpack__(stream=None, max_version=(1, 0), dl_device=(2, 0), copy=False)
        if taken:
            tensor, owner = take("z", capsule)
            assert tensor == (mine.pointer, (3, 2), np.float64, (2, 1), 0)
            del owner, tensor
        del capsule
    np.testing.assert_array_equal(runner.host(lent("z", mine.T.T)), a)
    still = CardArray(0, (1,), "f8", readonly=True)
    for array, words in ((mine, {"copy": True}), (mine, {"dl_device": (1, 0)}), (still, {})):
        with pytest.raises(BufferError, match="a writable, complete array"):
            array.__dlpack__(**words)
    used = memory.used
    capsule = mine.__dlpack__()
    del mine, array
    gc.collect()
    assert memory.used == used                      # the capsule keeps it
    del capsule
    gc.collect()
    assert memory.used == 0


def test_streams_are_waited_for(runner):
    """The work of a stream is done before anything is launched; None and the legacy default stream need no waiting."""
    p, memory = problem(3, 8), runner.driver._library
    for stream, waited in ((None, []), (1, []), (2, [(2, 0)]), (0x7F00, [(0x7F00, 0)])):
        memory.waited, memory.launches = [], 0
        cuda.solve(p, RK4, Lent(runner.array(p.x), stream=stream))
        assert memory.waited == waited
    with pytest.raises(rn.InvalidArgument, match="z0: got stream 0; must be a stream that is None, 1, 2 or a handle"):
        cuda.solve(p, RK4, Lent(runner.array(p.x), stream=0))


def test_what_does_not_fit_is_refused(runner):
    """Another device, no card's memory, shape, dtype, a mask: named, with what is allowed; nothing is launched."""
    p, memory = problem(3, 8), runner.driver._library
    good = runner.array(p.x)
    elsewhere = runner.array(p.x)
    memory.elsewhere.add(elsewhere.pointer)
    bad = [
        (np.zeros((3, 2)), "z0: got ndarray; must be an array on a card"),
        (elsewhere, "z0: got memory of device 1; must be an array on device 0, PTX runner"),
        (Lent(good, data=(4096, False)), "z0: got memory that is no card's; must be an array on device 0"),
        (ByDlpack(good, device=(1, 0)), "z0: got ByDlpack; must be an array on a card"),
        (ByDlpack(good, kind=(2, 64), lanes=2), "z0: got an array of DLPack's type 2 with 64 bits, 2 lanes"),
        (ByDlpack(good, kind=(4, 16)), "z0: got an array of DLPack's type 4 with 16 bits"),
        (Lent(good, mask=good), "z0: got an array with a mask"),
        (runner.array(p.x[:2]), r"z0: got shape \(2, 2\); must be of shape \(3, 2\)"),
        (runner.array(p.x.T.copy()), r"z0: got shape \(2, 3\); must be of shape \(3, 2\)"),
        (runner.array(np.zeros((3, 2), np.float16)), "z0: got dtype float16; must be float32 or float64"),
    ]
    for array, why in bad:
        with pytest.raises(rn.InvalidArgument, match=f"^{why}"):
            cuda.solve(p, RK4, array)
    with pytest.raises(rn.InvalidArgument, match=r"^store: got 'binomial'; must be"):
        cuda.solve(p, RK4, good, store="binomial")
    with pytest.raises(rn.BackendUnavailable, match="adaptive steps of a tableau without FSAL"):
        cuda.solve(p, rn.Solver("dop853", tol=1e-3), good)
    assert memory.launches == 0
    solution = cuda.solve(p, RK4, good)
    with pytest.raises(rn.InvalidArgument, match=r"^g: got dtype float32; must be float64"):
        solution.vjp(runner.array(p.x.astype(np.float32)))
    with pytest.raises(rn.InvalidArgument, match=r"^array: got strides \(8, 16\); must be C-contiguous, \(24, 8\)"):
        runner.host(good.T)


def test_parts_and_threads(monkeypatch):
    """Where memory holds a block at a time, and on a thread of its own, as PyTorch goes backwards: the same bits."""
    p, g = still(problem(140, 8)), np.random.default_rng(0).standard_normal((140, 2))
    found = []
    for memory in (2**40, 34_000):
        device = card(memory=memory)
        monkeypatch.setattr("refnode.kernels.cuda.card.the_card", lambda device=device: device)
        solution = cuda.solve(p, RK4, device.array(p.x), store="states")
        on_card, backs = device.array(g), []
        thread = threading.Thread(target=lambda s=solution, a=on_card, to=backs: to.append(s.vjp(a)))
        thread.start()
        thread.join()
        found.append((device.host(solution.z_T), device.host(backs[0].adj_t0), backs[0].grads["theta.W0"]))
    assert device.driver._library.launches > 12     # there, there again and back, in parts
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-13)     # sums in another order


def test_samples_that_fail_raise_as_everywhere(runner):
    """An infinite z0 at its sample, with what the others gave; a NaN of g on the way back likewise."""
    p = problem(4, 8)
    z0, g = np.array(p.x), np.ones((4, 2))
    z0[1, 0], g[2, 1] = np.inf, np.nan
    with pytest.raises(rn.NonFiniteState) as there:
        cuda.solve(p, RK4, runner.array(z0))
    assert (there.value.samples, there.value.status[1]) == ((1,), "NonFiniteState")
    solution = cuda.solve(p, RK4, runner.array(p.x))
    np.testing.assert_array_equal(there.value.finished.z_T, runner.host(solution.z_T)[[0, 2, 3]])
    with pytest.raises(rn.NonFiniteState, match=r"the costate a\(t\) is NaN or infinite") as back:
        solution.vjp(runner.array(g))
    clean = solution.vjp(runner.array(np.ones((4, 2))))
    assert back.value.samples == (2,)
    np.testing.assert_array_equal(back.value.finished.adj_t0, runner.host(clean.adj_t0)[[0, 1, 3]])
