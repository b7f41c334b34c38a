"""Fewer garbage collections while kernels are compiled.

A compiler makes millions of objects that live until it is done. To search them for garbage again and again takes a
quarter of the time; to do it a hundred times less often takes a tenth more memory.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SELDOM = (200_000, 50, 50)  # allocations before a search; searches before one of older objects


class _Settings:
    """What the interpreter does otherwise, while somebody compiles; how many do."""

    lock, compiling = Lock(), 0
    usual: tuple[int, ...] = ()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Collect seldom until the last of all threads in here is out. Where collection is off it stays off."""
    with _Settings.lock:
        if not _Settings.compiling:
            _Settings.usual = gc.get_threshold()
            if _Settings.usual[0]:
                gc.set_threshold(*SELDOM)
        _Settings.compiling += 1
    try:
        yield
    finally:
        with _Settings.lock:
            _Settings.compiling -= 1
            if not _Settings.compiling:
                gc.set_threshold(*_Settings.usual)
