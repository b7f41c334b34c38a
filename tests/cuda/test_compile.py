"""Compiled PTX is kept, and served only for what it was compiled from."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from refnode.kernels.cuda import compile as compiler
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.rows import Rows, rows
from refnode.kernels.cuda.shape import Shape
from refnode.kernels.cuda.tile_own import tile_own
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx.assemble import assemble


class CompiledAnew(Exception):
    """Instead of compiling."""


def refuse(*args, **words):
    """A compiler that does not."""
    raise CompiledAnew


def test_kept_until_something_changes(monkeypatch, tmp_path):
    """A second call reads the file; another shape, architecture, source or compiler compiles anew."""
    monkeypatch.setenv("REFNODE_CACHE_DIR", str(tmp_path))
    text = compiler.ptx(rows, Rows("float32"), (9, 0))
    assert [path.read_text("utf-8") for path in (tmp_path / "ptx").iterdir()] == [text]
    monkeypatch.setattr(compiler, "lowered", refuse)
    assert compiler.ptx(rows, Rows("float32"), (9, 0)) == text
    for shape, architecture in ((Rows("float64"), (9, 0)), (Rows("float32"), (8, 0))):
        with pytest.raises(CompiledAnew):
            compiler.ptx(rows, shape, architecture)
    for name, other in (("_sources", lambda: b"edited"), ("version", lambda package: "0.0")):
        with monkeypatch.context() as changed:
            changed.setattr(compiler, name, other)
            with pytest.raises(CompiledAnew):
                compiler.ptx(rows, Rows("float32"), (9, 0))


def test_threads_compile_one_after_the_other(monkeypatch, tmp_path):
    """Each would put the other's card in place of numba-cuda's own question for one, and leave it there."""
    from numba.cuda import dispatcher

    asked, inside, worst = dispatcher.get_current_device, [], []

    def slowly(build, shape):
        inside.append(shape)
        worst.append(len(inside))
        time.sleep(0.1)
        inside.remove(shape)
        return SimpleNamespace(get_asm_strs=lambda cc: [f"{shape} {cc}"])

    monkeypatch.setenv("REFNODE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiler, "lowered", slowly)
    shapes = [Rows("float32"), Rows("float64")]
    with ThreadPoolExecutor(2) as threads:
        texts = list(threads.map(lambda shape: compiler.ptx(rows, shape, (9, 0)), shapes))
    assert texts == [f"{shape} (9, 0)" for shape in shapes]
    assert worst == [1, 1]
    assert dispatcher.get_current_device is asked


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shape"), [
    (gradient, Shape("float32", 2, 5, 2, keep="states")),
    (tile_own, TileShape("float64", 2, (12, 9, 2), basis=3, tableau="dopri5", own=True)),
], ids=["a trajectory each", "tiles"])  # fmt: skip
def test_architectures_share_what_is_lowered(build, shape, tmp_path, monkeypatch):
    """Each one's machine code is of the same instructions as the kernel's that is compiled for it alone.

    The order in which they stand may differ from one compilation to the next.
    """
    from numba import cuda

    alone = {}
    for architecture in compiler.ARCHITECTURES:
        with compiler.card_of(architecture):
            kernel, signature = build(shape)
            text, _ = cuda.compile(kernel, signature, device=False, cc=architecture, output="ptx", abi="numba")
        alone[architecture] = facts(text)
    assert alone[9, 0] != alone[8, 0]
    for k, order in enumerate((compiler.ARCHITECTURES, compiler.ARCHITECTURES[::-1])):
        monkeypatch.setenv("REFNODE_CACHE_DIR", str(tmp_path / str(k)))
        compiler.lowered.cache_clear()
        assert {a: facts(compiler.ptx(build, shape, a)) for a in order} == alone


def facts(text):
    """What of a kernel's machine code does not depend on the order of its instructions."""
    machine = assemble(text)
    return machine.registers, machine.stack, machine.spills, machine.shared, machine.mix()
