"""Golden files of closed forms, for tests that need files but no proofs."""

from refnode.oracle.apart import integral_part, sample_parts, terminal_part
from refnode.oracle.closed_forms import closed_form_truth
from refnode.oracle.golden.document import Golden


def compute(entry, digits=22.0):
    """What `build.compute` does, by closed form."""
    problem = entry.problem
    parts = (part(problem, closed_form_truth) for part in (terminal_part, integral_part))
    samples, record = sample_parts(problem, closed_form_truth), {"engine": "closed form", "digits": f"{digits:g}"}
    return Golden(entry.name, entry.about, problem, closed_form_truth(problem), *parts, samples, record)
