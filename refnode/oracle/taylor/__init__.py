"""The second rung of the ladder of truth: gradients to 30 digits, by Taylor series in double-double arithmetic.

`gate` verify: three runs and their disagreement    `gradient` one run    `solve`, `times` one sample, its bounds
`tape`, `dynamics`, `networks`, `expansions`        a problem as operations on power series
`points`, `maps`, `decimals`                        losses and maps at a point, and Decimals
`core`                                              compiled: double-doubles, series, cotangents, steps out and back
"""

from refnode.oracle.taylor.gate import verify

__all__ = ["verify"]
