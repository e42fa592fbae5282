"""The order of the steps, what an ended run keeps, and how it goes on."""

import pytest

from calibration.camera.bench import Target
from calibration.camera.exposure import LineMotion
from calibration.camera.findings import Outcome
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.session import SessionPlan, SessionRecord, Step, run_session
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.unfinished import drop_unfinished, keep_unfinished, read_unfinished
from edge.errors import ConfigError
from edge.messages import PixelFormat

FIELDS = (Step.DARK, Step.FLAT, Step.NOISE)


class Quiet:
    """A watch that notes which steps began."""

    def __init__(self):
        self.begun = []

    def begin(self, step):
        """One more."""
        self.begun.append(step)

    def say(self, words):
        """Nothing."""

    def progress(self, done, wanted):
        """Nothing."""

    def end(self, report):
        """Nothing."""


def bench_of(pixel_format=PixelFormat.BAYER_RG8, seed=8):
    lamp = SimulatedLamp(on_for_s=3600.0)
    return SimulatedBench(512, 320, seed=seed, pixel_format=pixel_format, lamp=lamp)


def start(bench):
    return SessionRecord(bench.identity, bench.settings)


def last(records):
    return list(records)[-1]


def test_all_steps_in_their_order():
    bench, watch = bench_of(), Quiet()
    plan = SessionPlan(bench.clock, motion=LineMotion(100.0, 1.0))
    record = last(run_session(bench, bench, plan, start(bench), watch))
    assert watch.begun == list(Step)
    assert record.done == tuple(Step)
    assert [report.step for report in record.reports] == [step.value for step in Step]
    assert record.settings == bench.settings
    assert record.settings.red_gain == pytest.approx(bench.truth.red_gain, rel=0.01)
    assert 0.85 <= record.figures["bright_share"] <= 0.92
    assert record.figures["flat_residual_share"] <= 0.01
    assert record.figures["electrons_per_dn"] == pytest.approx(bench.truth.electrons_per_dn, rel=0.03)
    assert record.figures["motion_blur_px"] <= 1.0
    assert all(report.outcome in (Outcome.PASSED, Outcome.ADVICE) for report in record.reports)


def test_a_grey_camera_leaves_the_white_balance_out():
    bench = bench_of(PixelFormat.MONO8)
    plan = SessionPlan(bench.clock, steps=(Step.EXPOSURE, Step.WHITE_BALANCE))
    record = last(run_session(bench, bench, plan, start(bench), Quiet()))
    assert record.reports[-1].outcome is Outcome.LEFT_OUT


@pytest.mark.parametrize("steps", [(Step.FLAT,), (Step.NOISE,)])
def test_fields_need_a_dark_field(steps):
    bench = bench_of()
    with pytest.raises(ConfigError, match="dark"):
        last(run_session(bench, bench, SessionPlan(bench.clock, steps=steps), start(bench), Quiet()))


def keep_all(folder, records):
    """As the command does, after each step."""
    for record in records:
        keep_unfinished(folder, record)


class Forgetful:
    """An operator who shows a part when the grey target is wanted."""

    def __init__(self, bench):
        self.bench = bench

    def present(self, target, what, view=0):
        """A part for grey, else what is asked for."""
        self.bench.present(Target.PART if target is Target.GREY else target, what)


def test_an_ended_run_goes_on_where_it_ended(tmp_path):
    bench, watch = bench_of(), Quiet()
    plan = SessionPlan(bench.clock, steps=FIELDS)
    bench.set(exposure_us=700.0)
    with pytest.raises(MeasurementRefused):
        keep_all(tmp_path / "cal", run_session(bench, Forgetful(bench), plan, start(bench), watch))
    bench.set(exposure_us=100.0)
    kept = read_unfinished(tmp_path / "cal", bench.identity)
    assert kept.done == (Step.DARK,)
    record = last(run_session(bench, bench, plan, kept, watch))
    assert watch.begun == [Step.DARK, Step.FLAT, Step.FLAT, Step.NOISE]
    assert bench.settings.exposure_us == 700.0
    assert [report.step for report in record.reports] == ["dark", "flat", "noise"]
    assert "black_level_dn" in record.figures


def test_a_kept_flat_field_is_the_same(tmp_path):
    bench = bench_of()
    record = last(
        run_session(bench, bench, SessionPlan(bench.clock, steps=FIELDS[:2]), start(bench), Quiet())
    )
    keep_unfinished(tmp_path / "cal", record)
    kept = read_unfinished(tmp_path / "cal", bench.identity)
    for name in ("offset", "gain", "dead_px"):
        assert (getattr(kept.fields, name) == getattr(record.fields, name)).all()
    assert (kept.dark.offset == record.dark.offset).all()
    assert kept.dark.variance == record.dark.variance
    assert kept.settings == record.settings


def test_nothing_to_resume(tmp_path):
    bench = bench_of()
    with pytest.raises(ConfigError, match="nothing to resume"):
        read_unfinished(tmp_path / "cal", bench.identity)
    keep_unfinished(tmp_path / "cal", start(bench))
    drop_unfinished(tmp_path / "cal")
    with pytest.raises(ConfigError, match="nothing to resume"):
        read_unfinished(tmp_path / "cal", bench.identity)


def test_another_cameras_run_is_not_resumed(tmp_path):
    bench = bench_of()
    keep_unfinished(tmp_path / "cal", start(bench))
    with pytest.raises(ConfigError, match="of camera SIM00008"):
        read_unfinished(tmp_path / "cal", bench_of(seed=9).identity)
