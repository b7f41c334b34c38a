"""Garbage is collected seldom while kernels are compiled, and as before afterwards."""

import gc
import threading

import pytest

from refnode.kernels.compiled import kernel
from refnode.kernels.garbage import SELDOM, seldom_collected

USUAL = (701, 11, 12)  # told from what Python starts with


@pytest.fixture(autouse=True)
def usual():
    """A setting of the user's own, for the time of a test."""
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


def test_settings_come_back_after_the_last_and_after_an_error():
    with seldom_collected():
        with pytest.raises(ValueError, match="inner"), seldom_collected():
            raise ValueError("inner")
        assert gc.get_threshold() == SELDOM
    assert gc.get_threshold() == USUAL


def test_where_collection_is_off_it_stays_off():
    gc.set_threshold(0, *USUAL[1:])
    with seldom_collected():
        assert gc.get_threshold()[0] == 0
    assert gc.get_threshold() == (0, *USUAL[1:])


def test_threads_that_overlap_leave_the_settings_as_they_were():
    inside, out = threading.Event(), threading.Event()

    def other():
        with seldom_collected():
            inside.set()
            out.wait(60)

    thread = threading.Thread(target=other)
    with seldom_collected():
        thread.start()
        assert inside.wait(60)
    assert gc.get_threshold() == SELDOM  # the other thread still compiles
    out.set()
    thread.join()
    assert gc.get_threshold() == USUAL


def test_a_kernel_is_compiled_so(monkeypatch):
    seen = []

    @kernel
    def double(a):
        return 2 * a

    monkeypatch.setattr(double, "_cache", type("Watch", (), {
        "load_overload": staticmethod(lambda *_: seen.append(gc.get_threshold())),
        "save_overload": staticmethod(lambda *_: None),
    })())  # fmt: skip
    assert double(21) == 42
    assert seen == [SELDOM]
    assert gc.get_threshold() == USUAL
