"""Which blocks stay FP32: as few as possible, found without exporting more often than needed.

FP32 graph ─▶ peaks ─▶ blocks that would overflow ─▶ FP16 graph ─▶ within tolerance? ─▶ done
                                                         ▲              │ no
                                                         └── worst blocks, one more at a time
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.bundle import Golden
from edge.errors import BundleError
from edge.manifest import HalfPrecision, Preprocessing, Tolerance
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from export.half_precision import beyond_fp16, half
from export.network import Network
from export.onnx_from_torch import node_prefix
from export.overflow_probe import Peak, within


def overflowing_blocks(network: Network, peaks: Sequence[Peak]) -> tuple[int, ...]:
    """Blocks, counted from 1, with a weight or, in the peaks of the FP32 graph, a tensor beyond FP16's range.

    What overflows in the residual stream does not count, it stays FP32; nor does what lies outside of blocks.
    """
    blocks = zip(network.blocks(), block_prefixes(network), strict=True)
    return tuple(
        number
        for number, (block, prefix) in enumerate(blocks, start=1)
        if beyond_fp16(block)
        or any(not peak.fits for peak in within(peaks, prefix) if not _is_residual(peak, prefix))
    )


def block_prefixes(network: Network) -> list[str]:
    """What the names of each block's nodes begin with."""
    names = {id(module): name for name, module in network.named_modules()}
    return [node_prefix(names[id(block)]) for block in network.blocks()]


def choices_by_error(
    network: Network, golden: Golden, spec: Preprocessing, tolerance: Tolerance, first: HalfPrecision
) -> Iterator[HalfPrecision]:
    """`first`, then with ever more blocks in FP32, those that cost most accuracy before the others.

    What a block costs is measured in torch: the error of the outputs when it alone is FP16. Choices that torch
    itself finds out of tolerance are left out, so that each one that is given is worth an export.
    """
    yield first
    tensors = [torch.from_numpy(input_tensor(image, PixelFormat.RGB8, spec)) for image in golden.images]
    kept = list(first.fp32_blocks)
    for number in _costliest(network, golden, tensors, tolerance, first):
        kept.append(number)
        choice = first.model_copy(update={"fp32_blocks": tuple(sorted(kept))})
        if _error(half(network, choice), golden, tensors, tolerance) <= 1:
            yield choice


def _costliest(
    network: Network,
    golden: Golden,
    tensors: list[Tensor],
    tolerance: Tolerance,
    first: HalfPrecision,
) -> list[int]:
    numbers = range(1, len(network.blocks()) + 1)
    others = [number for number in numbers if number not in first.fp32_blocks]
    costs = {}
    for number in others:
        alone = tuple(other for other in numbers if other != number)
        choice = first.model_copy(update={"fp32_blocks": alone})
        costs[number] = _error(half(network, choice), golden, tensors, tolerance)
    return sorted(others, key=lambda number: -costs[number])


def _error(network: Network, golden: Golden, tensors: list[Tensor], tolerance: Tolerance) -> float:
    """The largest error of score and map in units of the tolerance; infinite when it is no number."""
    errors = []
    with torch.no_grad():
        for number, tensor in enumerate(tensors):
            score, grid_map = network(tensor)
            errors.append(_largest(score, golden.image_score[number]) / tolerance.score)
            errors.append(_largest(grid_map, golden.grid_map[number]) / tolerance.map)
    worst = float(np.max(errors))
    return worst if np.isfinite(worst) else float("inf")


def _largest(found: Tensor, wanted: NDArray[np.float32] | np.float32) -> float:
    return float(np.abs(found[0].numpy() - wanted).max())


def _is_residual(peak: Peak, prefix: str) -> bool:
    """Whether a node is the block's own, outside of its attention, its MLP and its norms: the two sums."""
    return "/" not in peak.node.removeprefix(prefix)


def refused(tried: Sequence[HalfPrecision], why: str) -> BundleError:
    """Nothing helped."""
    listed = "; ".join(_told(choice) for choice in tried)
    return BundleError(
        f"No FP16 graph decides as the FP32 one does. Tried: {listed}. {why}",
        do="Export with --fp32-only and expect a slower engine, or with --fp32-softmax.",
    )


def _told(choice: HalfPrecision) -> str:
    blocks = ", ".join(str(number) for number in choice.fp32_blocks)
    return f"blocks {blocks} in FP32" if blocks else "all blocks in FP16"
