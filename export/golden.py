"""What the float32 torch network says about the golden frames."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Golden
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from export.network import Network


def reference(network: Network, frames: tuple[NDArray[np.uint8], ...], spec: Preprocessing) -> Golden:
    """Run the frames through the shipped preprocessing and torch, one at a time."""
    with torch.no_grad():
        results = [network(torch.from_numpy(input_tensor(frame, PixelFormat.RGB8, spec))) for frame in frames]
    return Golden(
        images=frames,
        image_score=np.concatenate([score.numpy() for score, _ in results]),
        grid_map=np.concatenate([grid_map.numpy() for _, grid_map in results]),
    )
