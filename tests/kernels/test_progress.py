"""Compilation that takes long is told once, by the outermost kernel."""

from refnode.kernels import progress
from refnode.kernels.compiled import kernel


@kernel
def inner(x):
    return x + 1


@kernel
def outer(x):
    return inner(x) * 2


def test_compilation_is_told(monkeypatch, tmp_path):
    """One line for a kernel and all that it calls, taken away at its end; nothing for what is compiled already."""
    lines = []

    class Line(progress._Line):
        def __init__(self):
            super().__init__()
            lines.append(self)

        def show(self):
            self.shown = False

    monkeypatch.setattr(progress, "_Line", Line)
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    for compiled in (inner, outer):
        monkeypatch.setattr(compiled, "_cache", type(compiled._cache)(compiled.py_func))
        compiled._cache.flush()
    assert outer(1) == 4
    assert len(lines) == 1
    assert lines[0].count >= 2
    assert lines[0].shown is False
    assert not Line.open
    assert outer(1) == 4
    assert len(lines) == 1
