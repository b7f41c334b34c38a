"""The paper's small experiments as data: what is trained, on what, how, and what is measured."""

from refnode.experiments.annuli import ANNULI
from refnode.experiments.depth import DEPTH
from refnode.experiments.experiment import Experiment, Kind
from refnode.experiments.reflection import REFLECTION
from refnode.experiments.ring import RING, RING_GIVEN
from refnode.experiments.tracking import TRACKING

EXPERIMENTS: dict[str, Experiment] = {e.name: e for e in (ANNULI, REFLECTION, TRACKING, DEPTH, RING, RING_GIVEN)}

__all__ = ["EXPERIMENTS", "Experiment", "Kind"]
