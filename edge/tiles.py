"""A large region of interest seen through several overlapping tiles, so that a small defect is not lost by the
resize. Pure.

    region ─▶ boxes, one for each tile ─▶ (network) ─▶ one map for each ─▶ stitched over the region
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.manifest import Tiles
from edge.messages import Box

SMALLEST_TILE_PX = 16


def tile_boxes(region: Box, tiles: Tiles | None) -> tuple[Box, ...]:
    """The raw-frame boxes that are inspected, row by row; the region itself without tiles.

    All tiles have one size. Neighbours share `tiles.overlap` of it, and the outer edges are the region's. Corners
    lie on even pixels where that is possible. Raises `FrameError` for a region too small to be cut.
    """
    if tiles is None:
        return (region,)
    x, y, width, height = region
    across = _cuts(x, width, tiles.columns, tiles.overlap)
    down = _cuts(y, height, tiles.rows, tiles.overlap)
    return tuple((left, top, w, h) for top, h in down for left, w in across)


def stitched(maps: Sequence[NDArray[np.float32]], boxes: Sequence[Box], region: Box) -> NDArray[np.float32]:
    """One map over the region from one map for each box, at the resolution of the tiles' maps.

    Where tiles overlap the larger value counts: what one of them saw whole, its neighbour may have cut. A value
    that is not a number stays one.
    """
    if len(maps) == 1:
        return maps[0]
    rows, columns = maps[0].shape
    scale_y, scale_x = rows / boxes[0][3], columns / boxes[0][2]
    x, y, width, height = region
    whole = np.full((round(height * scale_y), round(width * scale_x)), -np.inf, np.float32)
    for tile, (left, top, _, _) in zip(maps, boxes, strict=True):
        # Rounding may put the last tile one pixel too far.
        row = min(round((top - y) * scale_y), whole.shape[0] - rows)
        column = min(round((left - x) * scale_x), whole.shape[1] - columns)
        window = whole[row : row + rows, column : column + columns]
        np.maximum(window, tile, out=window)
    return whole


def _cuts(start: int, length: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """(start, size) of each tile along one direction; together they cover it without a gap."""
    size = int(np.ceil(length / (count - (count - 1) * overlap)))
    # Two pixels more, because a corner is moved to the even pixel before it.
    size = min(length, size + size % 2 + 2)
    if size < SMALLEST_TILE_PX:
        raise FrameError(
            f"A region of {length} px cannot be cut into {count} tiles of {SMALLEST_TILE_PX} px or more.",
            do="Use fewer tiles, or a larger preprocess.roi_px.",
        )
    room = length - size
    inner = [start + int(k * room / (count - 1)) // 2 * 2 for k in range(count - 1)]
    return [(place, size) for place in (*inner, start + room)]
