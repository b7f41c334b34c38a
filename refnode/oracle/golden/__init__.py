"""Golden files: problems with their gradients, proven once and readable from any language (docs/golden_files.md).

printed     a ball as text: no digit beyond the radius, nothing lost
answers     what is known of a gradient, as plain data and back
shelf       the files that ship with refnode, and how one is read
build       computes and writes files;  verify     proves them again
"""
