"""PTX of a kernel, with or without a card: the one file that knows numba-cuda's compiler.

A compiled kernel is kept in the user's cache folder under a digest of what it is made from: the kernels' sources,
its shape and the compiler's version.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from refnode.kernels.compiled import cache_folder
from refnode.kernels.garbage import seldom_collected

Architecture = tuple[int, int]  # (9, 0) is sm_90
PACKAGES = ("numba", "numba-cuda", "nvidia-nvvm")
ARCHITECTURES = ((9, 0), (8, 0))  # those that kernels are compiled for, from the newest
OLDEST = ARCHITECTURES[-1]
COMPILING = RLock()


@contextmanager
def card_of(architecture: Architecture) -> Iterator[None]:
    """Compile as for a card that need not be there.

    numba-cuda asks the current device for its architecture when a device function is compiled, and for nothing else.
    """
    from numba.cuda import dispatcher

    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=architecture)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def ptx(build: Callable[..., tuple[Callable[..., None], Any]], shape: Any, architecture: Architecture) -> str:
    """The PTX of the kernel that build(shape) returns with its signature.

    Raises ImportError if numba-cuda is not installed.
    """
    path = cache_folder() / "ptx" / f"{_digest(build, shape, architecture)}.ptx"
    if path.exists():
        return path.read_text("utf-8")
    with COMPILING, card_of(OLDEST), seldom_collected():
        (text,) = lowered(build, shape).get_asm_strs(cc=architecture)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(text, "utf-8")
        unfinished.replace(path)
    return str(text)


@lru_cache(maxsize=1)
def lowered(build: Callable[..., tuple[Callable[..., None], Any]], shape: Any) -> Any:
    """Numba's library of a kernel, of which NVVM makes the PTX of each architecture.

    Numba lowers alike for all of them; it has no public name for what is compiled but not yet text.
    """
    from numba.cuda.compiler import _compile_pyfunc_with_fixup

    kernel, signature = build(shape)
    library, _ = _compile_pyfunc_with_fixup(kernel, signature, device=False, cc=OLDEST, abi="numba")
    return library


@cache
def _sources() -> bytes:
    """Digest of everything that a kernel is made from, with what CPU and card share."""
    total = hashlib.sha256()
    here = Path(__file__).parent
    common = here.parent / "advance.py", here.parent / "tape.py", here.parent.parent / "tableau.py"
    for path in (*sorted(here.glob("*.py")), *common):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.digest()


def _digest(build: Callable[..., Any], shape: Any, architecture: Architecture) -> str:
    words = (*(f"{name} {version(name)}" for name in PACKAGES), build.__module__, build.__name__, repr(shape))
    return hashlib.sha256(_sources() + repr((words, architecture)).encode()).hexdigest()[:32]


# for what makes the device functions of a shape: while it is kept, all kernels and architectures share what is compiled
once = lru_cache(maxsize=32)


def by_network(make: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator `once` for what depends on the shape's network alone: all kernels of a network share it.

    What is decorated is given S.network, which is no costate's shape and has no tableau of the solver's.
    """
    made = once(make)

    @wraps(make)
    def of_network(S: Any, *rest: Any, **words: Any) -> Any:
        return made(S.network, *rest, **words)

    return of_network


def device(function: Callable[..., Any]) -> Any:
    """A function that becomes part of the kernels that call it."""
    from numba import cuda

    return cuda.jit(device=True)(function)


def shared(kernel: Any, real: Any) -> Any:
    """A CPU kernel's function for a card, with its float literals in the precision `real`.

    Python's floats are float64, which a float32 kernel must not compute in.
    """
    function = kernel.py_func
    literals = tuple(real(c) if isinstance(c, float) else c for c in function.__code__.co_consts)
    code = function.__code__.replace(co_consts=literals)
    return device(FunctionType(code, function.__globals__, function.__name__))


def array_of(real: Any, dimensions: int) -> Any:
    """Numba's type of a C-contiguous array."""
    from numba import from_dtype, types

    return types.Array(from_dtype(np.dtype(real)), dimensions, "C")
