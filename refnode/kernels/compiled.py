"""How kernels are compiled and where the machine code is kept: the one file that knows Numba's caching.

Numba stamps a cached function with the file it stands in, so a caller in another file would run on with the old code of
a function it had inlined. Here the stamp is a digest of all kernel sources, of all others in the function's folder, and
of the vector width they were built for. A cache folder that cannot be written only costs the time to compile again.
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba.core import types
from numba.core.caching import Cache, CompileResultCacheImpl, IndexDataCacheFile, _CacheLocator

from refnode.kernels.apart import keep_apart
from refnode.kernels.garbage import seldom_collected
from refnode.kernels.lowering import WideCompiler
from refnode.kernels.progress import announced
from refnode.kernels.vectors import vector_bytes

EXACT: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}  # every operation as written
OPTIONS = EXACT | {"fastmath": {"contract"}}
HERE = Path(__file__).parent


@cache
def digest(folder: Path = HERE) -> str:
    """Of the sources of all kernels and of a folder, and the width of vectors."""
    total = hashlib.sha256(f"{vector_bytes()}".encode())
    for place in dict.fromkeys((HERE, folder)):
        for path in sorted(place.glob("*.py")):
            total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def cache_folder() -> Path:
    """REFNODE_CACHE_DIR, or refnode/kernels in the user's cache folder."""
    given = os.environ.get("REFNODE_CACHE_DIR")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return Path(home or Path.home() / ".cache") / "refnode" / "kernels"


class _Locator(_CacheLocator):
    """Tells Numba where a kernel's machine code lies and what makes it stale."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._line = function.__code__.co_firstlineno
        self._digest = digest(Path(function.__code__.co_filename).parent)
        self._folder = cache_folder() / self._digest[:16]

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> "_Locator | None":
        locator = cls(function, source)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _Implementation(CompileResultCacheImpl):
    _locator_classes: ClassVar = [_Locator]


UNREADABLE = (OSError, EOFError, pickle.UnpicklingError)  # as a full disk or a power cut leaves files


class _Files(IndexDataCacheFile):
    """An index of signatures, and a file of machine code for each, named after its key.

    Numba numbers these files, so that two processes that compile for different dtypes at once may both write the first,
    and an index entry leads to the other's code. Under names of their own the worst that is lost is an entry of the
    index. That, and a file that cannot be read or written, costs the time to compile again.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep the machine code, if there is room."""
        number = int(hashlib.sha256(repr(key).encode()).hexdigest()[:16], 16)
        with suppress(OSError):
            self._save_data(self._data_name(number), data)
            self._save_index(self._load_index() | {key: self._data_name(number)})

    def _load_index(self) -> dict[Any, str]:
        with suppress(*UNREADABLE):
            return super()._load_index()
        return {}

    def _load_data(self, name: str) -> Any:
        with suppress(*UNREADABLE):
            return super()._load_data(name)
        return None


class _KernelCache(Cache):
    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep the machine code, if the folder is still there."""
        with suppress(OSError):
            super().save_overload(signature, data)


def kernel(
    function: Callable[..., Any] | None = None, *, parallel: bool = False, exact: bool = False, allocates: bool = False
) -> Any:
    """Compile a function at its first call, and keep the machine code for later processes.

    exact        round every product and every sum, as error-free transformations need it; it may make arrays
    allocates    whether it makes arrays, or calls of Numba's what does, as a.max(); all others borrow theirs from their
                 callers, and count no references
    """
    if function is None:
        return lambda f: kernel(f, parallel=parallel, exact=exact, allocates=allocates)
    counted = exact or parallel or allocates
    options = EXACT if exact else OPTIONS
    compiled = numba.njit(**options, parallel=parallel, pipeline_class=WideCompiler, _nrt=counted)(function)
    _ignore_literals(compiled)
    _announce(compiled)
    keep_apart(compiled)
    with suppress(RuntimeError):  # no folder to write to
        compiled._cache = _KernelCache(function)
    return compiled


def _ignore_literals(compiled: Any) -> None:
    """Numba would compile a kernel anew for every integer that is written out in a call of it."""
    template = compiled.get_call_template

    def of_plain_types(args: tuple[Any, ...], kws: Mapping[str, Any]) -> Any:
        return template(tuple(map(types.unliteral, args)), {name: types.unliteral(arg) for name, arg in kws.items()})

    compiled.get_call_template = of_plain_types


def _announce(compiled: Any) -> None:
    """Compile with few garbage collections on the way, and say so if it takes long."""
    compile_usually = compiled.compile

    def compile_fast(signature: Any) -> Any:
        with seldom_collected(), announced():
            return compile_usually(signature)

    compiled.compile = compile_fast


def inline(function: Callable[..., Any]) -> Any:
    """A function that becomes part of its callers, and is compiled with each of them.

    Where Numba inlines it also removes what it takes for dead: stores into an array that was read from a tuple built
    in the same function. Write into the array by another name.
    """
    return numba.njit(**OPTIONS, inline="always")(function)
