"""The simulated line: what a part's picture and truth must satisfy whatever the seed."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections import Counter

import cv2
import numpy as np
import pytest
from scipy import stats

from edge.camera.scene import (
    DEFAULT_PRODUCT,
    PART_ROI_PX,
    PRODUCTS,
    Defect,
    Line,
    RenderedPart,
    part_roi_px,
)
from edge.camera.scene.defects import EDGE_MARGIN
from edge.camera.scene.line import _Stream, sampled
from edge.camera.scene.pose import draw_pose
from edge.camera.scene.products import Product
from edge.camera.scene.raster import PATCH_PX, stroke, warp, without_specks
from edge.camera.scene.sensor import NOMINAL_GAIN_DB, PLANES, make_sensor, signal_variance
from edge.camera.scene.shape import Circle, Gear, Polygon, Rectangle, Shape, Slot
from edge.camera.scene.visibility import MIN_AREA_PX, visibility
from edge.errors import ConfigError

SMALL = {"width": 560, "height": 540}
RING = PRODUCTS[DEFAULT_PRODUCT]


@pytest.fixture(scope="module")
def ring_line() -> Line:
    return Line(RING, seed=5, defect_share=0.5)


def crop(part: RenderedPart) -> np.ndarray:
    height, width = part.image.shape
    x, y, w, h = part_roi_px(width, height)
    return cv2.cvtColor(part.image, cv2.COLOR_BayerRGGB2RGB)[y : y + h, x : x + w]


def metal(part: RenderedPart) -> np.ndarray:
    """Pixels of the frame brighter than any belt, its scuffs aside, in a picture free of noise."""
    return cv2.GaussianBlur(part.image, (0, 0), 3) > 45


# The catalogue


def test_catalogue_offers_nine_products_and_the_default() -> None:
    assert len(PRODUCTS) >= 9
    assert DEFAULT_PRODUCT in PRODUCTS
    assert all(name == product.name for name, product in PRODUCTS.items())
    assert len({product.finish.name for product in PRODUCTS.values()}) >= 4


def test_catalogue_cannot_be_altered() -> None:
    with pytest.raises(TypeError):
        PRODUCTS["other"] = RING  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        RING.chamfer = 0.1  # type: ignore[misc]


def test_no_two_products_look_alike() -> None:
    shapes = {(product.shape, product.finish, product.tint) for product in PRODUCTS.values()}
    assert len(shapes) == len(PRODUCTS)
    pictures = [
        Line(PRODUCTS[name], seed=1, **SMALL).part(0).image for name in ("turned-ring", "blasted-ring")
    ]
    difference = np.abs(pictures[0].astype(int) - pictures[1].astype(int))
    assert difference.mean() > 2


# Determinism


def test_a_part_depends_on_its_index_alone(ring_line: Line) -> None:
    forwards = [ring_line.part(index) for index in (0, 1, 2)]
    other = Line(RING, seed=5, defect_share=0.5)
    for index in (2, 0, 1):
        again = other.part(index)
        np.testing.assert_array_equal(again.image, forwards[index].image)
        np.testing.assert_array_equal(again.mask, forwards[index].mask)
        assert again.defect is forwards[index].defect
        assert again.exposure_us == forwards[index].exposure_us


def test_a_line_renders_the_same_after_it_was_pickled(ring_line: Line) -> None:
    sent = pickle.loads(pickle.dumps(ring_line))
    np.testing.assert_array_equal(sent.part(7).image, ring_line.part(7).image)


def test_seed_index_and_product_each_change_the_picture() -> None:
    base = Line(RING, seed=1, **SMALL)
    pictures = [
        base.part(0).image,
        base.part(1).image,
        Line(RING, seed=2, **SMALL).part(0).image,
        Line(PRODUCTS["turned-disc"], seed=1, **SMALL).part(0).image,
    ]
    for first in range(len(pictures)):
        for second in range(first):
            assert (pictures[first] != pictures[second]).mean() > 0.2


def test_the_defect_share_changes_only_which_parts_are_defective() -> None:
    good = Line(RING, seed=3, defect_share=0.0, **SMALL).part(4)
    bad = Line(RING, seed=3, defect_share=1.0, **SMALL).part(4)
    assert good.defect is None
    assert bad.defect is not None
    aside = ~cv2.dilate(bad.mask.astype(np.uint8), np.ones((15, 15))).astype(bool)
    np.testing.assert_array_equal(good.image[aside], bad.image[aside])
    assert not np.array_equal(good.image, bad.image)


# The frame


def test_frame_is_read_only_bayer_of_the_size_asked_for(ring_line: Line) -> None:
    part = ring_line.part(0)
    assert part.image.shape == part.mask.shape == (1080, 2048)
    assert part.image.dtype == np.uint8
    assert part.mask.dtype == np.bool_
    assert part.image.flags.c_contiguous
    for array in (part.image, part.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize(("channel", "weakest"), [(0, 1), (1, 0), (2, 0)])
def test_each_channel_of_the_part_arrives_in_its_own_plane(channel: int, weakest: int) -> None:
    tint = [0.05, 0.05, 0.05]
    tint[channel] = 1.0
    coloured = dataclasses.replace(PRODUCTS["blasted-plate"], tint=tuple(tint))
    part = Line(coloured, seed=1, defect_share=0.0).part(0)
    middle = part.image[460:620, 940:1100]
    planes = {
        0: middle[0::2, 0::2].mean(),
        1: (middle[0::2, 1::2].mean() + middle[1::2, 0::2].mean()) / 2,
        2: middle[1::2, 1::2].mean(),
    }
    assert planes[channel] > 4 * planes[weakest]
    assert middle[0::2, 1::2].mean() == pytest.approx(middle[1::2, 0::2].mean(), rel=0.05)
    rgb = cv2.cvtColor(part.image, cv2.COLOR_BayerRGGB2RGB)[460:620, 940:1100].reshape(-1, 3).mean(0)
    assert int(np.argmax(rgb)) == channel


@pytest.mark.parametrize("side", [256, 512, 1024, 2048])
def test_mosaic_planes_sample_the_patch_at_their_own_pixels(side: int) -> None:
    ramp = np.tile((np.arange(PATCH_PX, dtype=np.float32) + 0.5) / PATCH_PX, (PATCH_PX, 1))
    for patch, horizontal in ((ramp, True), (ramp.T.copy(), False)):
        for plane in PLANES:
            got = sampled(patch, plane, side)
            offset = plane.column if horizontal else plane.row
            expected = (2 * np.arange(side // 2) + offset + 0.5) / side
            line = got[side // 4] if horizontal else got[:, side // 4]
            # Warping places samples to a 32nd of a pixel, and repeats the outermost one.
            np.testing.assert_allclose(line[1:-1], expected[1:-1], atol=1 / 16 / min(side, PATCH_PX))


@pytest.mark.parametrize(
    ("width", "height", "roi"),
    [(2048, 1080, PART_ROI_PX), (4096, 2160, (1024, 56, 2048, 2048)), (1280, 1024, (156, 28, 968, 968))],
)
def test_part_roi_is_a_centred_square_that_starts_on_red(
    width: int, height: int, roi: tuple[int, int, int, int]
) -> None:
    assert part_roi_px(width, height) == roi
    x, y, w, h = roi
    assert w == h
    assert x % 2 == y % 2 == w % 8 == 0
    assert abs(x + w / 2 - width / 2) <= 1
    assert abs(y + h / 2 - height / 2) <= 1


@pytest.mark.parametrize(("width", "height"), [(2047, 1080), (2048, 1081), (1000, 1080), (200, 100)])
def test_frames_that_cannot_hold_the_part_are_refused(width: int, height: int) -> None:
    with pytest.raises(ConfigError, match="cannot hold the part"):
        Line(RING, seed=0, width=width, height=height)


@pytest.mark.parametrize(("seed", "share"), [(-1, 0.1), (0, -0.1), (0, 1.1), (0, math.nan)])
def test_wrong_seed_or_share_is_refused(seed: int, share: float) -> None:
    with pytest.raises(ConfigError, match="cannot have seed"):
        Line(RING, seed=seed, defect_share=share)


@pytest.mark.parametrize(("width", "height"), [(560, 540), (1280, 1024), (4096, 2160)])
def test_other_frame_sizes_show_the_same_part(width: int, height: int) -> None:
    reference = Line(RING, seed=5, defect_share=1.0).part(3)
    part = Line(RING, seed=5, defect_share=1.0, width=width, height=height).part(3)
    assert part.image.shape == (height, width)
    assert part.defect is reference.defect
    small = [
        cv2.resize(crop(p), (128, 128), interpolation=cv2.INTER_AREA).astype(int) for p in (part, reference)
    ]
    presence = cv2.erode((small[1][..., 1] > 60).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(small[0] - small[1])[presence].mean() < 6
    assert part.mask.mean() / reference.mask.mean() == pytest.approx(
        (crop(part).size / part.image.size) / (crop(reference).size / reference.image.size), rel=0.35
    )


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_part_lies_whole_in_the_roi_and_is_well_exposed(product: Product) -> None:
    line = Line(product, seed=11, defect_share=0.3)
    x, y, w, h = PART_ROI_PX
    margin = w // 32
    for index in range(3):
        part = line.part(index)
        found = metal(part)
        assert found.sum() > 0.1 * w * h
        assert found[y + margin : y + h - margin, x + margin : x + w - margin].sum() == found.sum()
        assert ((part.image == 0) | (part.image == 255)).mean() < 0.02
        assert 20 < part.image.mean() < 70
        assert 70 < part.image[found].mean() < 190


def test_exposure_drifts_slowly_and_within_bounds(ring_line: Line) -> None:
    small = Line(RING, seed=5, defect_share=0.0, **SMALL)
    parts = [small.part(index) for index in (0, 1, *range(60, 1000, 60))]
    relative = np.array([part.exposure_us for part in parts]) / 400
    assert np.abs(relative - 1).max() <= 0.08
    assert np.ptp(relative) > 0.04
    assert abs(relative[1] - relative[0]) < 0.005
    assert {part.gain_db for part in parts} == {NOMINAL_GAIN_DB}
    levels = np.array([part.image[metal(part)].mean() for part in parts])
    assert np.corrcoef(relative, levels)[0, 1] > 0.9


# The sensor


def test_sensor_noise_has_the_variance_of_its_model() -> None:
    sensor = make_sensor(256, 256, np.random.default_rng(1))
    level = np.full((128, 128), 0.5, np.float32)
    raw = sensor.expose([level / sensor.shading] * 4, NOMINAL_GAIN_DB, np.random.default_rng(2))
    expected = float(signal_variance(level, NOMINAL_GAIN_DB)[0, 0]) + 1 / (12 * 255**2)
    assert (raw / 255).var() == pytest.approx(expected, rel=0.05)
    assert raw.mean() / 255 == pytest.approx(0.5, abs=0.001)


def test_sensor_saturates_at_both_ends() -> None:
    sensor = make_sensor(64, 64, np.random.default_rng(1))
    bright, dark = np.full((32, 32), 3, np.float32), np.full((32, 32), -1, np.float32)
    raw = sensor.expose([bright, dark, dark, bright], NOMINAL_GAIN_DB, np.random.default_rng(2))
    assert (raw[0::2, 0::2] == 255).all()
    assert (raw[0::2, 1::2] == 0).all()


# Shapes


@pytest.mark.parametrize(
    ("shape", "u", "v", "expected"),
    [
        (Circle(0.3), 0.0, 0.0, -0.3),
        (Circle(0.3), 0.4, 0.0, 0.1),
        (Rectangle(0.3, 0.2, 0.05), 0.0, 0.0, -0.2),
        (Rectangle(0.3, 0.2, 0.05), 0.4, 0.1, 0.1),
        (Slot(0.2, 0.1), 0.35, 0.0, 0.05),
        (Slot(0.2, 0.1, angle=math.pi / 2), 0.0, 0.35, 0.05),
        (Polygon(6, 0.3, 0.02), 0.35, 0.0, 0.05),
        (Polygon(6, 0.3, 0.02), 0.1, 0.0, -0.2),
        (Gear(12, 0.3, 0.36), 0.0, 0.0, -0.3),
        (Gear(12, 0.3, 0.36), 0.4, 0.0, 0.04),
        (Shape(Circle(0.3), (Circle(0.1),)), 0.0, 0.0, 0.1),
        (Shape(Circle(0.3), (Circle(0.1),)), 0.22, 0.0, -0.08),
    ],
)
def test_signed_distance(shape: Circle | Shape, u: float, v: float, expected: float) -> None:
    at = np.array([[u]], np.float32), np.array([[v]], np.float32)
    assert float(shape.distance(*at)[0, 0]) == pytest.approx(expected, abs=1e-5)


# Defects


def test_share_and_kinds_of_defects_are_as_asked() -> None:
    line = Line(RING, seed=21, defect_share=0.1, width=280, height=280)
    # The decision alone is read here; rendering a few thousand parts to count them would take minutes.
    kinds = Counter(line._defect(index) for index in range(4000))
    defective = 4000 - kinds[None]
    assert stats.binomtest(defective, 4000, 0.1).pvalue > 1e-3
    counts = [kinds[kind] for kind in Defect]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_good_part_has_an_empty_mask_and_no_ratio() -> None:
    part = Line(RING, seed=1, defect_share=0.0, **SMALL).part(0)
    assert part.defect is None
    assert not part.mask.any()
    assert math.isnan(part.contrast_to_noise)


def check_defect(product: Product, part: RenderedPart, index: int, line: Line) -> None:
    assert part.contrast_to_noise >= 3
    x, y, w, h = part_roi_px(part.image.shape[1], part.image.shape[0])
    inside = part.mask[y : y + h, x : x + w]
    assert inside.sum() == part.mask.sum()
    assert inside.sum() / (w / 256) ** 2 >= 0.85 * MIN_AREA_PX
    # The part's own distance map, laid at the part's pose: the mask keeps off every edge.
    pose = draw_pose(line._rng(_Stream.POSE, index))
    distance = warp(line._face.distance, pose.patch_to_part(), (PATCH_PX, PATCH_PX))
    distance = cv2.resize(distance, (w, h), interpolation=cv2.INTER_LINEAR)
    assert distance[inside].max() < -EDGE_MARGIN / 2


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_defects_lie_on_the_metal_and_can_be_seen(product: Product) -> None:
    line = Line(product, seed=31, defect_share=1.0, **SMALL)
    for index in range(4):
        part = line.part(index)
        assert part.defect is not None
        check_defect(product, part, index, line)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_defects_can_be_seen_for_many_seeds(product: Product) -> None:
    for seed in range(3):
        line = Line(product, seed=seed, defect_share=1.0, **SMALL)
        for index in range(25):
            check_defect(product, line.part(index), index, line)


@pytest.mark.parametrize("kind", list(Defect))
def test_the_picture_changes_under_the_mask_and_hardly_beside_it(kind: Defect) -> None:
    damaged = Line(RING, seed=8, defect_share=1.0, **SMALL)
    sound = Line(RING, seed=8, defect_share=0.0, **SMALL)
    index = next(i for i in range(40) if damaged._defect(i) is kind)
    bad, good = damaged.part(index), sound.part(index)
    change = np.abs(bad.image.astype(int) - good.image.astype(int))
    # A flaw's lit flank and soft edge reach a few pixels past its mask, and no further.
    beside = ~cv2.dilate(bad.mask.astype(np.uint8), np.ones((15, 15))).astype(bool)
    assert change[bad.mask].mean() > 12
    assert change[beside].max() == 0


def test_specks_are_dropped_and_pieces_kept() -> None:
    mask = np.zeros((PATCH_PX, PATCH_PX), np.bool_)
    mask[10:16, 10:16] = mask[100:103, 100:103] = True
    kept = without_specks(mask, 36)
    assert kept[10:16, 10:16].all()
    assert kept.sum() == 36
    assert not without_specks(np.zeros_like(mask), 36).any()


# Visibility


def spot(radius: float) -> np.ndarray:
    axis = (np.arange(PATCH_PX) + 0.5) / PATCH_PX - 0.5
    return (np.hypot(axis, axis[:, None]) < radius).astype(np.float32)


def test_visibility_of_a_known_spot() -> None:
    rng = np.random.default_rng(0)
    # Noise in blocks of 2 x 2 survives the averaging to the model's input unchanged.
    texture = np.kron(rng.normal(0, 0.03, (256, 256)), np.ones((2, 2))).astype(np.float32)
    clean, extent, face = 0.4 + texture, spot(0.04), np.ones((PATCH_PX, PATCH_PX), np.float32)
    seen = visibility(clean, clean + 0.2 * extent, extent, face, 1024)
    assert seen.area_px == pytest.approx(math.pi * (0.04 * 256) ** 2, rel=0.02)
    # The averaged rim of the spot loses a little contrast; 0.012 is the floor.
    assert seen.contrast_to_noise == pytest.approx(0.2 / (0.03 + 0.012), rel=0.1)


def test_visibility_falls_with_texture_and_rises_with_contrast() -> None:
    rng = np.random.default_rng(0)
    noise = np.kron(rng.normal(0, 1, (256, 256)), np.ones((2, 2))).astype(np.float32)
    extent, face = spot(0.04), np.ones((PATCH_PX, PATCH_PX), np.float32)

    def ratio(texture: float, contrast: float) -> float:
        clean = np.float32(0.4) + np.float32(texture) * noise
        return visibility(clean, clean + np.float32(contrast) * extent, extent, face, 1024).contrast_to_noise

    assert ratio(0.06, 0.2) < ratio(0.03, 0.2) < ratio(0.03, 0.3)


def test_nothing_on_the_face_is_not_visible() -> None:
    flat = np.full((PATCH_PX, PATCH_PX), 0.4, np.float32)
    none = visibility(flat, flat, np.zeros_like(flat), np.ones_like(flat), 1024)
    off_face = visibility(flat, flat + 0.2, spot(0.04), np.zeros_like(flat), 1024)
    for seen in (none, off_face):
        assert seen.contrast_to_noise == 0
        assert not seen.sufficient


def test_a_spot_too_small_is_not_sufficient_however_bright() -> None:
    flat = np.full((PATCH_PX, PATCH_PX), 0.2, np.float32)
    extent = spot(0.008)
    seen = visibility(flat, flat + 0.7 * extent, extent, np.ones_like(flat), 1024)
    assert seen.contrast_to_noise > 3
    assert seen.area_px < MIN_AREA_PX
    assert not seen.sufficient


def test_stroke_covers_its_length_times_its_width() -> None:
    points = np.array([[-0.2, 0.05], [0.2, 0.05]])
    covered = stroke([(points, np.array([0.01]))])
    assert covered.sum() / PATCH_PX**2 == pytest.approx(0.4 * 0.01, rel=0.25)
    rows = covered.sum(axis=1)
    centre = float((rows * (np.arange(PATCH_PX) + 0.5)).sum() / rows.sum()) / PATCH_PX - 0.5
    assert centre == pytest.approx(0.05, abs=0.5 / PATCH_PX)
