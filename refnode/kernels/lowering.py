"""How wide the vectors are that LLVM makes of loops: as wide as those that `refnode.kernels.vectors` writes out.

Left alone, LLVM takes half of an AVX-512 register for a loop on Intel's processors, whose first ones slowed down where
all of it was used.
"""

from typing import Any

from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

from refnode.kernels.vectors import vector_bytes


class _WideLower(Lower):
    def setup_function(self, fndesc: Any) -> None:
        """Begin a function, and say how wide its vectors are to be."""
        super().setup_function(fndesc)
        width = f'"prefer-vector-width"="{8 * vector_bytes()}"'
        set.add(self.function.attributes, width)  # llvmlite's own add takes only the words that it knows


@register_pass(mutates_CFG=True, analysis_only=False)
class WideLowering(NativeLowering):
    """Numba's last pass, by the class above."""

    _name = "refnode_wide_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        """What emits LLVM's code."""
        return _WideLower


class WideCompiler(CompilerBase):
    """Numba's compiler with that pass in place of its own; loops that are parallel keep theirs."""

    def define_pipelines(self) -> list[Any]:
        """The passes in order."""
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [(WideLowering if one is NativeLowering else one, what) for one, what in pipeline.passes]
        pipeline.finalize()
        return [pipeline]
