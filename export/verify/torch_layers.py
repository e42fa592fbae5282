"""The FP32 graph beside the torch module it was made from, at every LayerNorm.

A LayerNorm is one module in torch and one operator in the graph, and the exporter keeps their order, so that
the n-th of the one is the n-th of the other. In CLIP's towers every block holds two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.bundle import Bundle
from edge.errors import OpenError
from export.network import Network
from export.verify.graph_outputs import open_graph
from export.verify.layers import BUDGET_BYTES, LayerTrace, graph_layer, relative_error, search

Call = tuple[str, NDArray[np.float32]]


def trace_torch(bundle: Bundle, network: Network, tensor: NDArray[np.float32]) -> LayerTrace:
    """Compare the FP32 graph with torch on one input (1, 3, height, width).

    Raises `OpenError` without the `onnx` package, or when the two have different LayerNorms.
    """
    calls = layer_norm_outputs(network, tensor)
    graph = open_graph(bundle, "fp32")
    nodes = [at for at, node in enumerate(graph.nodes) if node.operator == "LayerNormalization"]
    if not calls or len(calls) != len(nodes):
        raise OpenError(
            f"The graph has {len(nodes)} LayerNorms and torch ran {len(calls)}.",
            do="Give the source files that the bundle was made from.",
        )

    def fetch(chosen: Sequence[int]) -> Iterable[float]:
        found = graph.outputs([nodes[at] for at in chosen], tensor)
        return [relative_error(calls[at][1], output) for at, output in zip(chosen, found, strict=True)]

    layers = [
        replace(graph_layer(graph, node), name=name) for node, (name, _) in zip(nodes, calls, strict=True)
    ]
    return search(layers, fetch, "fp32", BUDGET_BYTES)


def layer_norm_outputs(network: Network, tensor: NDArray[np.float32]) -> list[Call]:
    """The name and the output of every LayerNorm, in the order in which they ran."""
    calls: list[Call] = []
    hooks = [
        module.register_forward_hook(partial(_keep, calls, name))
        for name, module in network.named_modules()
        if isinstance(module, nn.LayerNorm)
    ]
    try:
        with torch.no_grad():
            network(torch.from_numpy(tensor))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _keep(calls: list[Call], name: str, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
    calls.append((name, output.float().numpy()))
