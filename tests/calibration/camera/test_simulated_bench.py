import cv2
import numpy as np
import pytest

from calibration.camera.bench import Target
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.simulated_lens import SimulatedLens
from calibration.camera.simulated_sensor import SimulatedSensor
from edge.errors import ConfigError, OperateError
from edge.messages import PixelFormat

WARM = SimulatedLamp(on_for_s=1e5)
SMALL = {"width_px": 512, "height_px": 270, "lamp": WARM}


def _bench(target=Target.GREY, view=0, **changes):
    bench = SimulatedBench(**{**SMALL, **changes})
    bench.present(target, "", view)
    return bench


def _green(raw):
    return raw[0::2, 1::2].astype(float)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_another_camera():
    first, again, other = (_bench(seed=seed).grab(2) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("pixel_format", "dtype"),
    [
        (PixelFormat.BAYER_RG8, np.uint8),
        (PixelFormat.MONO8, np.uint8),
        (PixelFormat.BAYER_RG12, np.uint16),
        (PixelFormat.MONO12, np.uint16),
    ],
)
def test_pictures_are_what_the_identity_says(pixel_format, dtype):
    bench = _bench(pixel_format=pixel_format)
    (raw,) = bench.grab(1)
    assert raw.dtype == dtype
    assert raw.shape == (bench.identity.height_px, bench.identity.width_px)
    assert bench.identity.pixel_format is pixel_format


def test_the_level_above_black_follows_exposure_and_gain():
    bench = _bench(pixel_format=PixelFormat.BAYER_RG12)
    black = bench.truth.black_level_dn
    bench.set(exposure_us=400)
    level = _green(bench.grab(1)[0]).mean() - black
    bench.set(exposure_us=800)
    assert _green(bench.grab(1)[0]).mean() - black == pytest.approx(2 * level, rel=0.01)
    bench.set(exposure_us=400, gain_db=6.02)
    assert _green(bench.grab(1)[0]).mean() - black == pytest.approx(2 * level, rel=0.01)


def test_shot_noise_has_the_gain_that_the_truth_states():
    # 12 bits, so that rounding adds next to nothing to the noise.
    bench = _bench(pixel_format=PixelFormat.MONO12)
    first, second = (raw.astype(float) for raw in bench.grab(2))
    truth = bench.truth
    variance = (first - second).var() / 2
    electrons = ((first + second) / 2 - truth.black_level_dn).mean() * truth.electrons_per_dn
    expected = (electrons + truth.read_noise_e**2) / truth.electrons_per_dn**2 + 1 / 12
    assert variance == pytest.approx(expected, rel=0.03)


def test_dark_pictures_show_each_pixels_own_black_level():
    bench = _bench(Target.DARK, pixel_format=PixelFormat.MONO12)
    mean = np.mean([raw.astype(float) for raw in bench.grab(16)], axis=0)
    good = np.ones(mean.shape, bool)
    good[tuple(bench.truth.dead_px.T)] = False
    assert np.abs(mean - bench.truth.black_dn)[good].max() < 2.0
    assert (mean - bench.truth.black_dn)[good].mean() == pytest.approx(0, abs=0.05)


def test_every_dead_pixel_of_the_truth_stands_out_and_no_other():
    bench = _bench(
        sensor=SimulatedSensor(hot_per_million=300, dead_per_million=300), pixel_format=PixelFormat.MONO12
    )
    truth = bench.truth
    bench.set(exposure_us=800)
    even = (np.mean(bench.grab(8), axis=0) - truth.black_level_dn) / (truth.vignetting * WARM.field(512, 270))
    found = np.abs(even / np.median(even) - 1) > 0.2
    assert {tuple(px) for px in np.argwhere(found)} <= {tuple(px) for px in truth.dead_px}
    # A hot pixel may happen to show what its neighbours do.
    assert found.sum() >= 0.7 * len(truth.dead_px)


def test_an_even_target_is_seen_with_the_evenness_of_the_truth():
    bench = _bench(pixel_format=PixelFormat.MONO12, sensor=SimulatedSensor(hot_per_million=0))
    bench.set(exposure_us=600)
    seen = np.mean(bench.grab(8), axis=0) - bench.truth.black_level_dn
    share = cv2.blur(seen / bench.truth.evenness.clip(0.05), (15, 15))
    assert np.ptp(share) / share.mean() < 0.02
    assert bench.truth.vignetting.min() < 0.45


def test_grey_is_neutral_with_the_gains_of_the_truth():
    bench = _bench(pixel_format=PixelFormat.BAYER_RG12)
    truth = bench.truth
    bench.set(exposure_us=600, red_gain=truth.red_gain, blue_gain=truth.blue_gain)
    (raw,) = bench.grab(1)
    red, blue = (plane.mean() - truth.black_level_dn for plane in (raw[0::2, 0::2], raw[1::2, 1::2]))
    green = _green(raw).mean() - truth.black_level_dn
    assert red / green == pytest.approx(1, abs=0.005)
    assert blue / green == pytest.approx(1, abs=0.005)


def test_too_much_light_stops_at_full_scale_and_below_it_behind_a_gain_below_one():
    bench = _bench()
    bench.set(exposure_us=50_000, red_gain=0.5)
    (raw,) = bench.grab(1)
    assert np.median(raw[0::2, 1::2]) == 255
    assert np.median(raw[0::2, 0::2]) == pytest.approx(128, abs=3)


@pytest.mark.parametrize("view", [0, 1, 2, 3, 5])
def test_the_board_lies_where_its_pose_projects_it(view):
    # Grey, so that demosaicing adds no error of its own.
    bench = _bench(Target.BOARD, view, width_px=1024, height_px=540, pixel_format=PixelFormat.MONO8)
    truth = bench.truth
    (grey,) = bench.grab(1)
    board, pose = bench.board.charuco(), bench.board_pose(view)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(grey)
    points = np.asarray(board.getChessboardCorners())[ids[:, 0]]
    true, _ = cv2.projectPoints(
        points, pose.rotation, pose.translation_mm, truth.camera_matrix, truth.distortion
    )
    off = corners[:, 0] - true[:, 0]
    assert len(ids) >= 40
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.2
    assert np.abs(off.mean(axis=0)).max() < 0.06


def test_the_scale_of_the_truth_is_that_of_a_board_on_the_belt():
    bench = _bench(Target.BOARD, width_px=1024, height_px=540)
    truth, board, pose = bench.truth, bench.board.charuco(), bench.board_pose(0)
    straight, _ = cv2.projectPoints(
        np.asarray(board.getChessboardCorners()),
        pose.rotation,
        pose.translation_mm,
        truth.camera_matrix,
        None,
    )
    px = np.linalg.norm(straight[1, 0] - straight[0, 0])
    assert px * truth.mm_per_px == pytest.approx(bench.board.square_mm, rel=1e-6)


def test_turning_the_focus_away_either_way_blurs_the_part():
    def contrast(off_mm):
        bench = _bench(Target.PART)
        bench.turn_focus(off_mm)
        return cv2.Laplacian(_green(bench.grab(1)[0]), cv2.CV_64F).var()

    sharp, near, far = contrast(0), contrast(-0.8), contrast(0.8)
    assert max(near, far) < 0.7 * sharp
    assert near == pytest.approx(far, rel=0.05)


def test_a_leaning_focus_plane_blurs_one_side_more_than_the_other():
    bench = _bench(Target.PART, lens=SimulatedLens(tilt_mm=(1.0, 0.0)))
    bench.turn_focus(-0.8)
    seen = np.abs(cv2.Laplacian(_green(bench.grab(1)[0]), cv2.CV_64F))
    flat = _bench(Target.PART)
    other = np.abs(cv2.Laplacian(_green(flat.grab(1)[0]), cv2.CV_64F))
    share = (seen / other.mean()).reshape(135, 4, 64).mean(axis=(0, 2)) / (other / other.mean()).reshape(
        135, 4, 64
    ).mean(axis=(0, 2))
    assert share[0] > 1.3 * share[3] or share[3] > 1.3 * share[0]


def test_the_lamp_falls_while_time_passes_and_pictures_take_time():
    bench = _bench(lamp=SimulatedLamp(warm_up_drop=0.1, warm_up_s=60), pixel_format=PixelFormat.MONO12)
    bench.set(exposure_us=300)
    cold = bench.grab(1)[0].mean() - bench.truth.black_level_dn
    assert bench.clock.now_ns() > 0.02e9
    bench.clock.advance(1000)
    warm = bench.grab(1)[0].mean() - bench.truth.black_level_dn
    assert cold / warm == pytest.approx(1.1, abs=0.002)
    assert bench.lamp_level() == pytest.approx(1, abs=1e-4)
    assert bench.temperature_c() > 40


def test_a_flickering_lamp_makes_pictures_differ_unless_exposed_for_whole_periods():
    bench = _bench(lamp=SimulatedLamp(flicker=0.3, on_for_s=1e5, electrons_per_us=1))

    def spread(exposure_us):
        bench.set(exposure_us=exposure_us)
        means = [raw.mean() for raw in bench.grab(8)]
        return np.ptp(means) / np.mean(means)

    assert spread(2000) > 0.1
    assert spread(10_000) < 0.005


def test_what_the_camera_cannot_do_is_refused():
    bench = _bench()
    with pytest.raises(ConfigError, match="exposure_us"):
        bench.set(exposure_us=1)
    with pytest.raises(ConfigError, match="red_gain"):
        bench.set(red_gain=9)
    assert bench.settings.exposure_us == 1000
    with pytest.raises(ConfigError, match="RGB8"):
        _bench(pixel_format=PixelFormat.RGB8)
    with pytest.raises(ConfigError, match="513"):
        _bench(width_px=513)
    bench.close()
    with pytest.raises(OperateError, match="closed"):
        bench.grab(1)
