"""The second rung of the ladder of truth: gradients to 30 digits, by Taylor series in double-double arithmetic.

`gate` verify: three runs and their disagreement    `gradient` one run    `solve`, `times` one sample, its bounds
`tape`, `dynamics`, `networks`, `expansions`        a problem as operations on power series
`series`, `cotangents`, `sweeps`                    compiled: series, their cotangents, steps out and back
`double`, `functions`, `decimals`                   the numbers
"""

from refnode.oracle.taylor.gate import verify

__all__ = ["verify"]
