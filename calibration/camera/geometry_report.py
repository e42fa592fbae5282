"""What is said of the geometry."""

from __future__ import annotations

import cv2
import numpy as np

from calibration.camera.board import Points
from calibration.camera.findings import SHARE, Picture, Reading, StepReport, judged
from calibration.camera.geometry import FIELDS, Geometry, GeometryLimits
from calibration.camera.plots import NARROW_PX, WIDE_PX, svg, text

HEIGHTS_MM = (1.0, 5.0, 10.0)
_ARROWS, _LARGER = 500, 60.0
_LINES, _STEPS = (17, 9), 40
_MARGIN_PX = 6.0


def geometry_report(found: Geometry, limits: GeometryLimits) -> StepReport:
    """Scale, fit and coverage."""
    lens = found.lens
    readings = _readings(found, limits)
    pictures = (
        Picture(html=_bent_grid(found), caption=_GRID, wide=True),
        Picture(
            html=_coverage(found, limits), caption="Corners of the board found in each field of the picture."
        ),
        Picture(html=_views(found, limits), caption="Reprojection error of each view of the board."),
    )
    summary = f"{found.mm_per_px:.5f} mm/px, reprojection {lens.rms_px:.2f} px over {lens.views} views"
    return judged("geometry", "Geometry", summary, readings, found.advice, pictures, (_parallax(found),))


def _readings(found: Geometry, limits: GeometryLimits) -> tuple[Reading, ...]:
    lens = found.lens
    fx, fy, cx, cy = lens.camera_matrix
    low, high = found.mm_per_px_range
    return (
        Reading(name="scale on the belt", value=found.mm_per_px, unit="mm/px", digits=5),
        Reading(
            name="change of the scale over the board",
            value=high / low - 1,
            unit=SHARE,
            limit=f"at most {limits.worst_skew:.0%}",
            within=high / low - 1 <= limits.worst_skew,
        ),
        Reading(
            name="reprojection error, RMS",
            value=lens.rms_px,
            unit="px",
            digits=3,
            limit=f"at most {limits.most_rms_px:g} px",
            within=lens.rms_px <= limits.most_rms_px,
        ),
        Reading(
            name="views of the board",
            value=lens.views,
            digits=0,
            limit=f"at least {limits.least_views}",
            within=lens.views >= limits.least_views,
        ),
        Reading(name="distance to the belt", value=found.distance_mm, unit="mm", digits=1),
        Reading(name="lean against the belt", value=found.lean_deg, unit="°"),
        Reading(name="focal length across", value=fx, unit="px", digits=1),
        Reading(name="focal length down", value=fy, unit="px", digits=1),
        Reading(name="axis meets the picture at x", value=cx, unit="px", digits=1),
        Reading(name="axis meets the picture at y", value=cy, unit="px", digits=1),
        *(
            Reading(
                name=f"looks larger at {height:g} mm above the belt", value=found.parallax(height), unit=SHARE
            )
            for height in HEIGHTS_MM
        ),
    )


def _parallax(found: Geometry) -> str:
    return (
        f"A thing 10 mm above the belt looks {found.parallax(10.0):.1%} larger than on it: for parts of some "
        "height, areas in mm² are those at the belt's scale, so too large by twice that."
    )


_GRID = (
    "Distortion: how the lens bends straight lines. Arrows: where corners were found against where the "
    f"model puts them, {_LARGER:.0f} times longer than they are."
)


def _bent_grid(found: Geometry) -> str:
    width, height = found.size_px
    scale = (WIDE_PX - 2 * _MARGIN_PX) / width
    size = f'width="{width * scale:.1f}" height="{height * scale:.1f}"'
    drawn = [f'<rect class="frame" x="{_MARGIN_PX}" y="{_MARGIN_PX}" {size}/>']
    columns, rows = _LINES
    across, down = np.linspace(0, width - 1, _STEPS), np.linspace(0, height - 1, _STEPS)
    for x in np.linspace(0, width - 1, columns):
        drawn.append(_bent(found, np.column_stack([np.full(_STEPS, x), down]), scale))
    for y in np.linspace(0, height - 1, rows):
        drawn.append(_bent(found, np.column_stack([across, np.full(_STEPS, y)]), scale))
    every = max(1, len(found.corners_px) // _ARROWS)
    for (x, y), (dx, dy) in zip(found.corners_px[::every], found.residuals_px[::every], strict=True):
        at_x, at_y = _MARGIN_PX + x * scale, _MARGIN_PX + y * scale
        away = f"{dx * _LARGER * scale:.1f} {dy * _LARGER * scale:.1f}"
        drawn.append(
            f'<path class="arrow" d="M{at_x:.1f} {at_y:.1f}l{away}"/>'
            f'<circle class="tip" cx="{at_x:.1f}" cy="{at_y:.1f}" r="1.4"/>'
        )
    return svg(WIDE_PX, height * scale + 2 * _MARGIN_PX, "Distortion grid and residuals", "".join(drawn))


def _bent(found: Geometry, straight: Points, scale: float) -> str:
    """Where the lens puts the points of a straight line."""
    fx, fy, cx, cy = found.lens.camera_matrix
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    rays = np.column_stack([(straight - (cx, cy)) / (fx, fy), np.ones(len(straight))])
    nothing = np.zeros(3)
    seen, _ = cv2.projectPoints(rays[:, None], nothing, nothing, matrix, np.array(found.lens.distortion))
    points = " ".join(
        f"{_MARGIN_PX + x * scale:.1f},{_MARGIN_PX + y * scale:.1f}" for x, y in seen.reshape(-1, 2)
    )
    return f'<polyline class="curve plain thin" points="{points}"/>'


def _coverage(found: Geometry, limits: GeometryLimits) -> str:
    width = NARROW_PX / FIELDS
    height = width * found.size_px[1] / found.size_px[0]
    most = max(1, int(found.coverage.max()))
    drawn = []
    for row in range(FIELDS):
        for column in range(FIELDS):
            count = int(found.coverage[row, column])
            style = "field" if count >= limits.least_corners else "field missing"
            drawn.append(
                f'<rect class="{style}" x="{column * width + 2:.1f}" y="{row * height + 2:.1f}" '
                f'width="{width - 4:.1f}" height="{height - 4:.1f}" '
                f'fill-opacity="{0.1 + 0.5 * count / most:.2f}"/>'
            )
            drawn.append(
                text("label", (column + 0.5) * width, (row + 0.5) * height + 5, str(count), "middle")
            )
    return svg(NARROW_PX, FIELDS * height, "Corners found in each field", "".join(drawn))


def _views(found: Geometry, limits: GeometryLimits) -> str:
    top = max(limits.good_rms_px, *found.view_rms_px) * 1.15
    height, foot, left = 200.0, 170.0, 46.0
    step = (NARROW_PX - left - 10) / len(found.view_rms_px)
    drawn = [f'<path class="axis" d="M{left} 10V{foot}H{NARROW_PX - 10:.0f}"/>']
    for value in (0.0, top / 2, top):
        drawn.append(text("tick", left - 6, foot - value / top * (foot - 14) + 4, f"{value:.2f}", "end"))
    for number, rms in enumerate(found.view_rms_px):
        bar = rms / top * (foot - 14)
        drawn.append(
            f'<rect class="good" x="{left + number * step + 1:.1f}" y="{foot - bar:.1f}" '
            f'width="{step - 2:.1f}" height="{bar:.1f}"/>'
        )
    drawn.append(text("tick", NARROW_PX - 10, foot + 20, "views, in order; px", "end"))
    return svg(NARROW_PX, height, "Reprojection error by view", "".join(drawn))
