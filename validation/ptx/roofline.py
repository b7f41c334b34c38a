"""What a card could do at best: bounds from the instructions of an evaluation, without a card.

A multiprocessor begins at most so many instructions of a kind for 32 threads in a clock; the scarcest kind bounds the
time. Nothing here is measured: latency, bank conflicts, clocks under load and the launch itself only add to it.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from refnode.kernels.cuda.shape import Shape
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx.assemble import Machine


@dataclass(frozen=True)
class Card:
    """Multiprocessors, GHz, and instructions for 32 threads that one of them begins in a clock.

    Source   NVIDIA's white papers on the A100 and the H100 (SXM), and the throughput table of its programming guide.
    """

    name: str
    processors: int
    ghz: float
    issue: float = 4.0
    fma: float = 4.0
    mufu: float = 0.5
    shared: float = 1.0                             # 128 bytes a clock
    fp64: float = 2.0
    memory: int = 227 * 1024                        # bytes of shared memory for blocks

    @property
    def peak(self) -> float:
        """float32 TFLOP/s, a fused multiplication and addition being two."""
        return 2 * 32 * self.fma * self.processors * self.ghz / 1000


A100 = Card("A100", 108, 1.41, fma=2.0, fp64=1.0, memory=163 * 1024)
H100 = Card("H100", 132, 1.98)

RATES = {                                           # float32 and float64, as above, by compute capability
    (8, 0): (2.0, 1.0), (8, 6): (4.0, 1 / 16), (8, 7): (4.0, 1 / 16), (8, 9): (4.0, 1 / 16), (9, 0): (4.0, 2.0),
    (10, 0): (4.0, 2.0), (12, 0): (4.0, 1 / 16),
}  # fmt: skip


def card_of(name: str, capability: tuple[int, int], processors: int, ghz: float) -> Card:
    """A card by what its driver says; one that is not in the table has the highest rates of those that are."""
    fma, fp64 = RATES.get(capability, (4.0, 2.0))
    return Card(name, processors, ghz, fma=fma, fp64=fp64)


@dataclass(frozen=True)
class Turns:
    """What a kernel's loops go over.

    steps, stages    whether there is a loop over steps, and one over stages, or what stands there once
    evaluations      of f, or of its vjp, in a step
    """

    steps: bool
    stages: bool
    evaluations: int


def evaluation(machine: Machine, shape: Shape, turn: Turns) -> Counter[str]:
    """Instructions of one evaluation of f; or of its vjp, with the weight gradient and what is run again for it.

    An upper bound: all that stands between branches is counted as if it were executed. A tanh takes two MUFU
    instructions, so that an innermost loop with n of them goes over n / 2 neurons at a turn; the loop that gathers
    weight gradients multiplies once for each weight of a neuron, and goes over 32 trajectories; loops around these are
    over stages.
    """
    step = max((loop for loop in machine.loops if machine.mix(*loop)["MUFU"]), key=lambda loop: loop[1] - loop[0])
    step = step if turn.steps else (0, len(machine.instructions) - 1)
    inside = [a for a in machine.loops if a != step and step[0] <= a[0] and a[1] <= step[1] and machine.mix(*a)["FFMA"]]
    turns = np.ones(step[1] + 1 - step[0])
    for first, last in inside:
        mix = machine.mix(first, last)
        if any((first, last) != other and first <= other[0] and other[1] <= last for other in inside):
            times = float(turn.evaluations)
        else:
            times = 2 * shape.hidden / mix["MUFU"] if mix["MUFU"] else 32 * (shape.numbers - 1) / mix["FFMA"]
        turns[first - step[0] : last + 1 - step[0]] *= times
    counts: Counter[str] = Counter()
    for place, times in enumerate(turns, step[0]):
        for kind, n in machine.mix(place, place).items():
            counts[kind] += n * times / turn.evaluations
    return counts


def tile_evaluation(machine: Machine, shape: TileShape, turn: Turns) -> Counter[str]:
    """Instructions of a thread for one evaluation of f, each loop as often as it turns.

    Loops stand within each other: steps, stages, hidden layers; in these the rows of the first layer, and chunks of
    the others' weights: one that fetches a chunk, one over its rows, four at a turn, and one over those that are left;
    after the layers the last layer's rows.
    """
    layers = shape.layers
    hidden, rows, one_row = len(layers) - 1, [a[0] for a in layers[1:-1]], shape.square**2
    chunks = max(1, sum(-(-i // shape.chunk) for i in rows))
    busy = [loop for loop in machine.loops if machine.mix(*loop)["MUFU"]]
    whole = [(0, len(machine.instructions) - 1)] * (2 - turn.steps - turn.stages)
    step, stage, layer = (whole + sorted(busy, key=lambda loop: loop[0] - loop[1]))[:3]
    within = [a for a in machine.loops if layer[0] <= a[0] and a[1] <= layer[1] and a != layer]
    chunk = next(a for a in within if machine.mix(*a)["barrier"])
    inner = max((a for a in within if a != chunk), key=lambda a: machine.mix(*a)["FFMA"])
    few = next(a for a in within if not chunk[0] <= a[0] <= chunk[1])
    fetch = next(a for a in within if chunk[0] <= a[0] <= chunk[1] and a != chunk and machine.mix(*a)["global"])
    left = [a for a in within if a not in (chunk, few, fetch, inner)]
    last = [a for a in machine.loops if layer[1] < a[0] and a[1] <= stage[1]]
    at_once = machine.mix(*inner)["FFMA"] // one_row
    turns = {
        stage: turn.evaluations if turn.stages else 1, layer: hidden, few: layers[0][0] / hidden,
        chunk: chunks / hidden,
        inner: sum(i // at_once for i in rows) / chunks,
        fetch: sum(rows) * shape.columns / shape.threads / chunks / machine.mix(*fetch)["global"],
    } | {a: sum(i % at_once for i in rows) / chunks for a in left} | {
        a: layers[-1][0] * shape.out / max(1, machine.mix(*a)["FFMA"]) for a in last
    }  # fmt: skip
    times = np.ones(step[1] + 1 - step[0])
    for (first, end), many in turns.items():
        times[first - step[0] : end + 1 - step[0]] *= many
    counts: Counter[str] = Counter()
    for place, many in enumerate(times, step[0]):
        for kind, n in machine.mix(place, place).items():
            counts[kind] += n * many / turn.evaluations
    return counts


def tile_vjp_evaluation(machine: Machine, shape: TileShape) -> Counter[str]:
    """Instructions of a thread for the vjp of one evaluation: of `tile_gradient`, where stages are kept, and of the
    costate's kernels, where f comes with it, without the weights' gradient except in `tile_backsolve`.

    Each loop turns as often within its parent as what stands in it says: layers, chunks with two barriers, products
    with a square of multiplications for each row, sums over trajectories, the first layer's units. What is executed on
    one side of a branch alone is counted all the same.
    """
    layers, hidden, rows = shape.layers, shape.hidden, shape.rows
    between, passes = (hidden - 1) / hidden, -(-((shape.columns // shape.square) ** 2) // shape.threads)
    loops = [a for a in machine.loops if machine.mix(*a)["all"]]
    whole = (0, len(machine.instructions) - 1)
    stage = min((a for a in [*loops, whole] if machine.mix(*a)["barrier"] > 8), key=lambda a: a[1] - a[0])
    loops = [a for a in loops if a != stage and stage[0] <= a[0] and a[1] <= stage[1]]
    loops.sort(key=lambda a: a[0] - a[1])
    two = [a for a in loops if machine.mix(*a)["barrier"] == 2 and not machine.mix(*a)["MUFU"]]
    chunks = sorted(a for a in two if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in two))
    inputs = [sum(a[0] for a in layers[1:-1]) / hidden, rows, sum(a[1] for a in layers[1:-1]) / max(1, hidden - 1)]
    if len(chunks) == 2:                            # no weights' gradients; and two ways back to one head are one loop
        del inputs[1]
        loops = [a for a in loops if not any(a[0] == b[0] and a[1] < b[1] for b in loops)]
    times = np.ones(stage[1] + 1 - stage[0])
    for first, last in loops:                           # outer ones first
        mix = machine.mix(first, last)
        inner = not any(first <= b[0] and b[1] <= last for b in loops if b != (first, last))
        within = [k for k, b in enumerate(chunks) if b[0] <= first and last <= b[1]]
        if within and not inner:
            many = inputs[within[0]] / shape.chunk * (between if within[0] == len(chunks) - 1 else 1)
        elif within and mix["FFMA"]:                    # four rows at a turn, or one that is left
            many = shape.chunk / (mix["FFMA"] / shape.square**2) if mix["FFMA"] > shape.square**2 else 1.0
        elif within:
            chunk = chunks[within[0]]
            most = max(machine.mix(*b)["global"] for b in loops if chunk[0] < b[0] and b[1] < chunk[1])
            many = shape.chunk * shape.columns / shape.threads / mix["global"] if mix["global"] == most else 1.0
        elif mix["MUFU"] or mix["barrier"] > 4 or (mix["barrier"] and len(chunks) == 2):
            many = hidden
        elif mix["barrier"]:
            many = passes * between
        elif not inner:
            many = 1.0
        elif first < chunks[0][0]:                      # rows of the first layer
            many = layers[0][0] / hidden
        elif mix["global"] and first < chunks[1][0] and mix["FFMA"] < shape.square**2:      # f: rows of the last layer
            many = layers[-1][0] * shape.out / mix["FFMA"]
        elif mix["global"]:                             # units of the first layer, or outputs of the last one
            many = layers[0][1] / mix["FFMA"] if mix["FFMA"] < shape.square**2 else shape.out
        else:                                           # trajectories, for each output or input beside the sum
            ends = shape.out if first < chunks[1][0] else shape.inputs
            many = rows / max(mix["FADD"], mix["FFMA"]) * (ends if mix["FFMA"] else 1)
        times[first - stage[0] : last + 1 - stage[0]] *= many
    counts: Counter[str] = Counter()
    for place, many in enumerate(times, stage[0]):
        for kind, n in machine.mix(place, place).items():
            counts[kind] += n * many
    return counts


def tile_stage(machine: Machine) -> Counter[str]:
    """Instructions of a thread in the loop over stages with each loop in it counted once: fewer than an evaluation's.

    For fields of one hidden layer, whose tiles have no loop over layers.
    """
    busy = [loop for loop in machine.loops if machine.mix(*loop)["MUFU"]]
    _, stage = sorted(busy, key=lambda loop: loop[0] - loop[1])[:2]
    return machine.mix(*stage)


def clocks(counts: Counter[str], card: Card) -> dict[str, float]:
    """Clocks of a multiprocessor that 32 trajectories' evaluation takes for each resource at least."""
    return {
        "issue": counts["all"] / card.issue,
        "FMA": (counts["FFMA"] + counts["FMUL"] + counts["FADD"]) / card.fma,
        "MUFU": counts["MUFU"] / card.mufu,
        "shared": counts["shared"] / card.shared,
        "FP64": counts["FP64"] / card.fp64,
    }


def seconds(counts: Counter[str], card: Card, trajectories: float, evaluations: float) -> float:
    """The least time for so many trajectories of so many evaluations each."""
    return trajectories / 32 * evaluations * max(clocks(counts, card).values()) / (card.processors * card.ghz * 1e9)


def share_of_peak(counts: Counter[str], card: Card, flops: float) -> float:
    """The largest part of the card's float32 peak that `flops` useful operations of an evaluation can reach."""
    return 32 * flops / max(clocks(counts, card).values()) / (2 * 32 * card.fma)
