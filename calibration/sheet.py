"""The picture sheet: what was rejected and where the model looked, on one page.

Each tile shows the part as the model sees it and, beside it, the anomaly map over the same picture with the
true defect outlined. All maps share one colour scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from calibration.gallery import Block, blocks
from calibration.results import SIMULATED_NOTE, PartResult, RunResult
from calibration.wording import score_words, truth_words
from edge.messages import Outcome
from edge.overlay import OUTLINE, MapScale, Rgb, outlined, overlaid, run_scale

WIDTH_PX = 1400
MOST_TILES = 18
COLUMNS = 3

_MARGIN, _GUTTER, _PAD, _SEAM = 36, 22, 12, 4
_TILE = (WIDTH_PX - 2 * _MARGIN - (COLUMNS - 1) * _GUTTER) // COLUMNS
_SIDE = (_TILE - 2 * _PAD - _SEAM) // 2
_CAPTION, _HEADER, _HEADING = 58, 168, 62
_TILE_HEIGHT = _PAD + _SIDE + _CAPTION
_BAR, _LABEL_ROOM = (300, 12), 95

_MID_GREY = 150
_BACK: Rgb = (20, 22, 26)
_CARD: Rgb = (31, 34, 40)
_TEXT: Rgb = (236, 238, 241)
_QUIET: Rgb = (158, 166, 177)
_NOTICE: Rgb = (255, 200, 87)
_WRONG: Rgb = (255, 128, 84)
_CHIP: dict[Outcome, Rgb] = {
    Outcome.REJECT: (240, 138, 60),
    Outcome.RECHECK: (240, 220, 100),
    Outcome.FAULT: (214, 140, 200),
    Outcome.PASS: (86, 190, 160),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    image: Image.Image
    draw: ImageDraw.ImageDraw

    def text(self, at: tuple[float, float], text: str, size: int, colour: Rgb, anchor: str = "ls") -> float:
        """Write at the baseline and return the width in pixels."""
        font = ImageFont.load_default(size)
        self.draw.text(at, text, colour, font, anchor=anchor)
        return float(self.draw.textlength(text, font))

    def paste(self, picture: NDArray[np.uint8], x: int, y: int) -> None:
        self.image.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y))

    def box(self, x: float, y: float, width: float, height: float, colour: Rgb) -> None:
        self.draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)


def picture_sheet(result: RunResult, most: int = MOST_TILES) -> Image.Image:
    """Draw the sheet: RGB, `WIDTH_PX` wide, at most `most` parts, the same for the same result."""
    bands = _bands(blocks(result, most, COLUMNS))
    scale = scale_of(result)
    height = _HEADER + sum(_band_height(band) for band in bands) + _MARGIN
    image = Image.new("RGB", (WIDTH_PX, height), _BACK)
    canvas = _Canvas(image, ImageDraw.Draw(image))
    _header(canvas, result, scale)
    top = _HEADER
    for band in bands:
        first_column = 0
        for block in band:
            _block(canvas, block, scale, first_column, top)
            first_column += _columns(block)
        top += _band_height(band)
    return image


def scale_of(result: RunResult) -> MapScale:
    """The one colour scale of all pictures of a run."""
    maps = [part.anomaly_map for part in result.parts if part.anomaly_map is not None]
    return run_scale(maps, result.identity.thresholds.map)


def pair(part: PartResult, scale: MapScale, side: int) -> NDArray[np.uint8] | None:
    """Picture and coloured map side by side, (side, 2 * side + seam, 3) uint8 RGB; None without a picture."""
    if part.thumbnail is None:
        return None
    nothing = np.zeros(part.thumbnail.shape[:2], bool)
    mask = nothing if part.mask is None else part.mask
    mapped = part.thumbnail if part.anomaly_map is None else overlaid(part.thumbnail, part.anomaly_map, scale)
    seam = np.full((side, _SEAM, 3), _CARD, np.uint8)
    return np.hstack([outlined(part.thumbnail, nothing, side), seam, outlined(mapped, mask, side)])


def _header(canvas: _Canvas, result: RunResult, scale: MapScale) -> None:
    identity = result.identity
    canvas.text((_MARGIN, 66), identity.title, 36, _TEXT)
    passed = result.outcomes[Outcome.PASS]
    facts = [
        identity.product,
        f"{len(result.parts)} parts",
        f"{passed} passed",
        f"{len(result.parts) - passed} rejected",
    ]
    canvas.text((_MARGIN, 100), "  ·  ".join(fact for fact in facts if fact), 19, _QUIET)
    if identity.simulated:
        canvas.text((_MARGIN, 134), SIMULATED_NOTE, 19, _NOTICE)
    _legend(canvas, scale, result.identity.thresholds.map)


def _legend(canvas: _Canvas, scale: MapScale, threshold: float | None) -> None:
    width, height = _BAR
    x, y = WIDTH_PX - _MARGIN - width, 58
    canvas.text((x, y - 12), "anomaly map, one scale for all parts", 16, _QUIET)
    values = np.linspace(scale.low, scale.high, width, dtype=np.float32)[None].repeat(height, axis=0)
    canvas.paste(overlaid(np.full((height, width, 3), _MID_GREY, np.uint8), values, scale), x, y)
    canvas.text((x, y + height + 20), f"{scale.low:.2f}", 15, _QUIET)
    canvas.text((x + width, y + height + 20), f"{scale.high:.2f}", 15, _QUIET, "rs")
    if threshold is not None and scale.low < threshold < scale.high:
        at = x + width * (threshold - scale.low) / (scale.high - scale.low)
        canvas.box(at - 1, y - 4, 2, height + 8, _TEXT)
        middle = min(max(at, x + _LABEL_ROOM), x + width - _LABEL_ROOM)
        canvas.text((middle, y + height + 20), f"threshold {threshold:.2f}", 15, _TEXT, "ms")
    canvas.draw.rectangle((x, 114, x + 18, 128), outline=OUTLINE, width=2)
    canvas.text((x + 28, 127), "outline: the true defect", 16, _QUIET)


def _bands(shown: Sequence[Block]) -> list[list[Block]]:
    """Blocks in order, those beside each other that share one row of tiles."""
    bands: list[list[Block]] = []
    for block in shown:
        if bands and sum(map(_columns, bands[-1])) + _columns(block) <= COLUMNS:
            bands[-1].append(block)
        else:
            bands.append([block])
    return bands


def _columns(block: Block) -> int:
    """Columns that a block takes; its heading needs one."""
    return min(max(1, len(block.parts)), COLUMNS)


def _band_height(band: Sequence[Block]) -> int:
    rows = max(math.ceil(len(block.parts) / COLUMNS) for block in band)
    return _HEADING + rows * (_TILE_HEIGHT + _GUTTER) if rows else _HEADING - 12


def _block(canvas: _Canvas, block: Block, scale: MapScale, first_column: int, top: int) -> None:
    left = _MARGIN + first_column * (_TILE + _GUTTER)
    wrong = block.wrong and block.total > 0
    canvas.box(left, top + 18, 5, 24, _WRONG if wrong else _QUIET)
    heading = block.heading if block.total else block.none
    width = canvas.text((left + 16, top + 38), heading, 22, _TEXT)
    if block.total:
        canvas.text((left + 28 + width, top + 38), block.count, 18, _QUIET)
    for index, part in enumerate(block.parts):
        row, column = divmod(index, COLUMNS)
        x = left + column * (_TILE + _GUTTER)
        _tile(canvas, part, scale, x, top + _HEADING + row * (_TILE_HEIGHT + _GUTTER))


def _tile(canvas: _Canvas, part: PartResult, scale: MapScale, x: int, y: int) -> None:
    canvas.box(x, y, _TILE, _TILE_HEIGHT, _CARD)
    pictures = pair(part, scale, _SIDE)
    if pictures is None:
        canvas.text((x + _TILE / 2, y + _PAD + _SIDE / 2), "no picture", 18, _QUIET, "mm")
    else:
        canvas.paste(pictures, x + _PAD, y + _PAD)
    line = y + _PAD + _SIDE + 24
    canvas.text((x + _PAD, line), f"#{part.part_id}  {truth_words(part)}", 18, _TEXT)
    _chip(canvas, part.outcome, x + _TILE - _PAD, line)
    canvas.text((x + _PAD, line + 22), score_words(part), 15, _QUIET)


def _chip(canvas: _Canvas, outcome: Outcome, right: float, line: float) -> None:
    canvas.text((right, line), outcome.value.upper(), 16, _CHIP[outcome], "rs")
