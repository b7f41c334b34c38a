"""Compiled PTX is kept, and served only for what it was compiled from."""

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from refnode.kernels.cuda import compile as compiler
from refnode.kernels.cuda.rows import Rows, rows


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
    monkeypatch.setattr("numba.cuda.compile", refuse)
    assert compiler.ptx(rows, Rows("float32"), (9, 0)) == text
    for shape, architecture in ((Rows("float64"), (9, 0)), (Rows("float32"), (8, 0))):
        with pytest.raises(CompiledAnew):
            compiler.ptx(rows, shape, architecture)
    for name, other in (("_sources", lambda: b"edited"), ("version", lambda package: "0.0")):
        with monkeypatch.context() as changed:
            changed.setattr(compiler, name, other)
            with pytest.raises(CompiledAnew):
                compiler.ptx(rows, Rows("float32"), (9, 0))
