"""A float32 network → its FP16 counterpart, for a strongly typed TensorRT engine.

    float32: input, patch embedding, residual stream, LayerNorm, text, normalise, similarity, last softmax, output
    float16: weights and outputs of every matrix product, attention, activation

The patch embedding stays float32: it is 2 % of the work of ViT-B/32 and less of the others, and what it rounds
every block sees. On a trained model its rounding alone cost more than the whole tolerance of the map.

The residual stream stays float32. It is where CLIP's outliers live and where every block's rounding adds up;
each branch is cast once after its LayerNorm and once before it is added either way, so float32 costs no
further cast, only the traffic of one tensor of tokens, and neither the attention nor a product reads it: what
TensorRT fuses there is untouched. It also makes a block in FP32 free of casts: there is no border to cast at.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor, nn

from edge.manifest import HalfPrecision
from export.network import Network
from export.transformer import SelfAttention

N = TypeVar("N", bound=Network)


def half(network: N, choice: HalfPrecision) -> N:
    """The network with its products in FP16, but for `choice.fp32_blocks` (numbers from 1).

    The given network is left as it is; everything that stays float32 is shared with it. Raises `ValueError`
    for a number that is no block of the network.
    """
    blocks = network.blocks()
    if not set(choice.fp32_blocks) <= set(range(1, len(blocks) + 1)):
        raise ValueError(f"blocks {choice.fp32_blocks} of {len(blocks)}")
    kept = {id(module) for number in choice.fp32_blocks for module in blocks[number - 1].modules()}
    copies: dict[int, object] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    for module in network.modules():
        if id(module) not in kept:
            copies |= {id(tensor): _halved(tensor) for tensor in _fp16_parameters(module)}
    made = copy.deepcopy(network, copies)
    for module in made.modules():
        if isinstance(module, SelfAttention):
            module.fp32_softmax = choice.fp32_softmax
    return made


def beyond_fp16(module: nn.Module) -> bool:
    """Whether a parameter that would turn FP16, of the module or one inside, is too large for it."""
    parameters = (tensor for part in module.modules() for tensor in _fp16_parameters(part))
    return not all(bool(tensor.half().isfinite().all()) for tensor in parameters)


def _fp16_parameters(module: nn.Module) -> Iterator[Tensor]:
    """The parameters that a module itself multiplies by."""
    if isinstance(module, nn.Linear):
        yield from module.parameters(recurse=False)
    for name in getattr(module, "FP16_PARAMETERS", ()):
        yield module.get_parameter(name)


def _halved(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().half(), requires_grad=False)
