"""Where two forms of one network part: their intermediate outputs, layer by layer.

As many outputs as fit into `BUDGET_BYTES` are fetched in one pass, spread over the network. Once one of them is
wrong, the next pass looks closer at the stretch before it, until nothing in that is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.errors import EdgeError, OpenError
from edge.manifest import Precision
from export.verify.graph_outputs import InnerGraph, aligned, open_graph

if TYPE_CHECKING:
    from export.network import Network

BUDGET_BYTES = 512 << 20
"""Outputs of one graph held at a time, counted as float32."""

UNIT_ROUNDOFF: dict[Precision, float] = {"fp32": 2.0**-24, "fp16": 2.0**-11}
"""Largest relative error of rounding one value to nearest (IEEE 754)."""

MULTIPLE = 4.0
"""An error is large beyond so many times what rounding explains. Sound FP16 graphs stay below 0.6 times."""

PASSES_IN_VAIN = 3
"""Passes without a large error after which the rest is not looked at: one that matters shows downstream."""

Fetch = Callable[[Sequence[int]], Iterable[float]]
"""Layer numbers → the relative error of each."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A place where both forms of the network can be read. `size` is the bytes of its output as float32.

    `roundings` counts the layers that round on the longest path to this one.
    """

    name: str
    operator: str
    size: int
    roundings: int


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far apart the two forms are at one layer, relative to the first; see `relative_error`.

    `explained` is what rounding explains: independent roundings, the unit roundoff times the root of their
    number.
    """

    layer: Layer
    error: float
    explained: float

    @property
    def large(self) -> bool:
        """Whether rounding does not explain it."""
        return not self.error <= MULTIPLE * self.explained

    def words(self) -> str:
        """The layer and its error, for people."""
        return (
            f"{self.layer.name} ({self.layer.operator}) with a relative error of {self.error:.1e}, "
            f"{self.error / self.explained:.2g} times what rounding explains"
        )


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """`first` is the first layer, in the order of computing, whose error is large; None when none is.

    `worst` is the one of the `compared` layers, out of `layers`, that is the most times above its rounding.
    """

    first: LayerError | None
    worst: LayerError
    compared: int
    layers: int

    def words(self) -> str:
        """One or two sentences."""
        over = f"of {self.compared} layers compared"
        if self.first is None:
            return f"No layer stands out {over}; the largest error is at {self.worst.words()}."
        largest = "" if self.first is self.worst else f"; the largest is at {self.worst.words()}"
        return f"The first large error, {over}, appears at {self.first.words()}{largest}."


def where_it_starts(
    bundle: Bundle, precision: Precision, tensor: NDArray[np.float32], network: Network | None = None
) -> str:
    """A sentence on where the graph of `precision` departs from what it was made from, or why that is unknown.

    FP16 is compared with the FP32 graph, FP32 with `network`, the torch module. `tensor` is the input
    (1, 3, height, width).
    """
    if precision == "fp32" and network is None:
        return "The layer can be told only beside torch: run 'adclip verify' with the source files."
    try:
        if precision == "fp32" and network is not None:
            from export.verify.torch_layers import trace_torch

            return trace_torch(bundle, network, tensor).words()
        return trace_half(bundle, tensor).words()
    except EdgeError as fault:
        return f"The layer cannot be told. {fault.what}"


def trace_half(bundle: Bundle, tensor: NDArray[np.float32], budget: int = BUDGET_BYTES) -> LayerTrace:
    """Compare the FP16 graph with the FP32 graph on one input (1, 3, height, width).

    Raises `OpenError` without the `onnx` package or when the graphs have nothing in common.
    """
    full, half = open_graph(bundle, "fp32"), open_graph(bundle, "fp16")
    pairs = aligned(full, half)
    if not pairs:
        raise OpenError(
            f"The two graphs of {bundle.folder} have no layer in common.", do="Export the bundle again."
        )

    def fetch(chosen: Sequence[int]) -> Iterable[float]:
        first = full.outputs([pairs[at][0] for at in chosen], tensor)
        return map(relative_error, first, half.outputs([pairs[at][1] for at in chosen], tensor))

    return search([graph_layer(half, node) for _, node in pairs], fetch, "fp16", budget)


def graph_layer(graph: InnerGraph, number: int) -> Layer:
    """A node as a layer."""
    node = graph.nodes[number]
    return Layer(node.name, node.operator, graph.size(number), graph.roundings[number])


def search(layers: Sequence[Layer], fetch: Fetch, precision: Precision, budget: int) -> LayerTrace:
    """Find the first large error, fetching at most `budget` bytes at a time (and one layer at least).

    Where not all fits into one pass, the error between two layers that are right is taken to be small.
    """
    found: dict[int, LayerError] = {}
    window: Sequence[int] = range(len(layers))
    in_vain = 0
    while window and in_vain < PASSES_IN_VAIN:
        chosen = _spread(window, layers, budget)
        for at, error in zip(chosen, fetch(chosen), strict=True):
            explained = UNIT_ROUNDOFF[precision] * max(layers[at].roundings, 1) ** 0.5
            found[at] = LayerError(layers[at], error, explained)
        first = min((at for at in found if found[at].large), default=None)
        in_vain += first is None
        window = _before(first, found, len(layers))
    worst = max(found.values(), key=lambda one: one.error / one.explained)
    large = [found[at] for at in sorted(found) if found[at].large]
    return LayerTrace(large[0] if large else None, worst, len(found), len(layers))


def relative_error(a: NDArray[Any], b: NDArray[Any]) -> float:
    """‖b - a‖ / ‖a‖ over all values; infinite when the shapes differ or a value is not finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    distance = float(np.linalg.norm(np.subtract(b, a, dtype=np.float64)))
    size = float(np.linalg.norm(a.astype(np.float64)))
    if distance == 0:
        return 0.0
    return distance / size if size > 0 else math.inf


def _before(first: int | None, found: Collection[int], layers: int) -> list[int]:
    """What is worth a look: the unseen stretch up to the first large error, or all that is unseen."""
    end = layers if first is None else first
    start = 0 if first is None else max((at for at in found if at < first), default=-1) + 1
    return [at for at in range(start, end) if at not in found]


def _spread(window: Sequence[int], layers: Sequence[Layer], budget: int) -> list[int]:
    """The last of the window, and an even choice of the others as far as they fit: all if they do."""
    step = max(1, -(-sum(layers[at].size for at in window) // budget))
    chosen = [window[-1]]
    left = budget - layers[window[-1]].size
    for at in window[-1 - step :: -step] if step < len(window) else ():
        if layers[at].size <= left:
            chosen.append(at)
            left -= layers[at].size
    return sorted(chosen)
