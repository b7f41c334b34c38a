"""Pictures of the paper's experiments, each from the results of many seeds (`refnode figures NAME`).

A picture is a function from the results of an experiment, validation/paper/results/NAME.json, to a Figure.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from refnode.gallery import annuli, depth, engines, reflection, ring, study, tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GALLERY: dict[str, tuple[str, Callable[[dict[str, Any]], "Figure"]]] = {
    "annuli_boundaries": ("annuli", annuli.boundaries),
    "annuli_trajectories": ("annuli", annuli.trajectories),
    "annuli_training": ("annuli", annuli.training),
    "annuli_depths": ("annuli", annuli.depths),
    "reflection_maps": ("reflection", reflection.maps),
    "reflection_training": ("reflection", reflection.training),
    "reflection_depths": ("reflection", reflection.depths),
    "tracking_paths": ("tracking", tracking.paths),
    "tracking_distance": ("tracking", tracking.distance),
    "tracking_theta": ("tracking", tracking.theta),
    "tracking_field": ("tracking", tracking.field),
    "depth_gradients": ("depth", depth.gradients),
    "depth_theta": ("depth", depth.theta),
    "depth_training": ("depth", depth.training),
    "ring_density": ("ring", ring.density),
    "ring_training": ("ring", ring.training),
    "engines": ("engines", engines.engines),
    "study": ("study", study.study),
}
