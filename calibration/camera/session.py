"""The order of a whole `adclip calibrate camera`, step by step, and what it has found so far.

warm-up ─▶ focus ─▶ exposure ─▶ white balance ─▶ dark field ─▶ flat field ─▶ noise
                      ▲──── again, when the new gains brighten a colour
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from calibration.camera.bench import BenchCamera, Identity, Operator, Settings
from calibration.camera.dark_field import DarkField, measure_dark_field
from calibration.camera.exposure import ExposureLimits, LineMotion, find_exposure
from calibration.camera.false_colour import photograph
from calibration.camera.field_reports import dark_report, flat_report, noise_report
from calibration.camera.findings import Outcome, StepReport
from calibration.camera.flat_field import measure_flat_field
from calibration.camera.focus import FocusLimits, check_focus
from calibration.camera.frame_stack import FrameStack
from calibration.camera.noise import NoiseFigures, measure_noise
from calibration.camera.pack import Fields
from calibration.camera.raw_levels import BAYER
from calibration.camera.set_up_reports import (
    exposure_report,
    focus_report,
    wants_exposure_again,
    warm_up_report,
    white_balance_report,
)
from calibration.camera.warm_up import WarmUpLimits, WarmUpReading, warm_up
from calibration.camera.white_balance import WhiteBalanceLimits, find_white_balance
from edge.clock import Clock
from edge.errors import ConfigError
from edge.messages import Box, PixelFormat


class Step(str, Enum):
    """Steps in their order."""

    WARM_UP = "warm_up"
    FOCUS = "focus"
    EXPOSURE = "exposure"
    WHITE_BALANCE = "white_balance"
    DARK = "dark"
    FLAT = "flat"
    NOISE = "noise"


TITLES: Mapping[Step, str] = {
    Step.WARM_UP: "Warm-up",
    Step.FOCUS: "Focus",
    Step.EXPOSURE: "Exposure",
    Step.WHITE_BALANCE: "White balance",
    Step.DARK: "Dark field",
    Step.FLAT: "Flat field",
    Step.NOISE: "Noise and linearity",
}


class Watch(Protocol):
    """Who follows the run."""

    def begin(self, step: Step) -> None:
        """A step begins."""

    def say(self, words: str) -> None:
        """A live number of the step."""

    def progress(self, done: int, wanted: int) -> None:
        """So many of so many."""

    def end(self, report: StepReport) -> None:
        """The step was done."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What to do. `motion` is None when the belt's speed is not known, `area` the region of interest.
    `best_focus` is called before the focus is checked, lets a person turn the ring, and returns the best
    sharpness seen."""

    clock: Clock
    steps: tuple[Step, ...] = tuple(Step)
    motion: LineMotion | None = None
    area: Box | None = None
    frames: int = 32
    warm_up: WarmUpLimits = field(default_factory=WarmUpLimits)
    best_focus: Callable[[BenchCamera, Operator], float | None] = lambda camera, operator: None


@dataclass(frozen=True, slots=True, eq=False)
class SessionRecord:
    """All that was found so far. `figures` are by name with their unit. `grey` is the flat field's stack."""

    identity: Identity
    settings: Settings
    done: tuple[Step, ...] = ()
    reports: tuple[StepReport, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    dark: DarkField | None = None
    fields: Fields | None = None
    grey: FrameStack | None = None


def run_session(
    camera: BenchCamera, operator: Operator, plan: SessionPlan, before: SessionRecord, watch: Watch
) -> Iterator[SessionRecord]:
    """Do the plan's steps that `before` has not done, in order; yields the record after each of them.

    Raises `MeasurementRefused` where a step refuses, `ConfigError` when the plan cannot be done.
    """
    check_plan(plan, before)
    camera.set(
        exposure_us=before.settings.exposure_us,
        gain_db=before.settings.gain_db,
        red_gain=before.settings.red_gain,
        blue_gain=before.settings.blue_gain,
    )
    record = before
    for step in Step:
        if step not in plan.steps or step in record.done:
            continue
        watch.begin(step)
        record = _STEPS[step](_Work(camera, operator, plan, watch), record)
        record = replace(record, settings=camera.settings, done=(*record.done, step))
        watch.end(record.reports[-1])
        yield record


def check_plan(plan: SessionPlan, before: SessionRecord) -> None:
    """Raises `ConfigError` when a step lacks what another one gives."""
    steps, raw_only = set(plan.steps) | set(before.done), {Step.DARK, Step.FLAT, Step.NOISE}
    if before.identity.pixel_format is PixelFormat.RGB8 and raw_only & steps:
        raise ConfigError(
            "A camera that delivers RGB8 has no dark field, flat field or noise of its own pixels.",
            do="Set camera.pixel_format to a Bayer or a Mono format, or leave those steps out with --steps.",
        )
    if {Step.FLAT, Step.NOISE} & steps and Step.DARK not in steps:
        raise ConfigError(
            "Flat field and noise are measured against a dark field.", do="Name 'dark' in --steps as well."
        )


@dataclass(frozen=True, slots=True)
class _Work:
    camera: BenchCamera
    operator: Operator
    plan: SessionPlan
    watch: Watch


def _warm_up(work: _Work, record: SessionRecord) -> SessionRecord:
    limits = work.plan.warm_up

    def say(reading: WarmUpReading) -> None:
        change = "" if reading.per_min is None else f", {reading.per_min:+.2%} a minute"
        warmth = "" if reading.temperature_c is None else f", sensor {reading.temperature_c:.1f} °C"
        work.watch.say(f"{reading.at_s / 60:.1f} min: light {reading.level:.1%}{change}{warmth}")

    result = warm_up(work.camera, work.operator, work.plan.clock, limits, say)
    figures = {"warm_up_min": result.took_s / 60, "warm_up_change_share": result.change}
    return _with(record, warm_up_report(result, limits), figures)


def _focus(work: _Work, record: SessionRecord) -> SessionRecord:
    limits = FocusLimits()
    best = work.plan.best_focus(work.camera, work.operator)
    result = check_focus(work.camera, work.operator, best, limits)
    figures = {"blur_px": result.blur_px, "sharpness": result.sharpness.sharpness}
    return _with(record, focus_report(result, limits), figures)


def _exposure(work: _Work, record: SessionRecord) -> SessionRecord:
    limits, plan = ExposureLimits(), work.plan
    result = find_exposure(work.camera, work.operator, plan.motion, plan.area, limits)
    (image,) = work.camera.grab(1)
    photo = photograph(image, record.identity.pixel_format, "The part at the exposure that was found")
    figures = {"bright_share": result.levels.bright, "saturated_share": result.levels.saturated}
    if result.blur_px is not None:
        figures["motion_blur_px"] = result.blur_px
    return _with(record, exposure_report(result, limits, photo), figures)


def _white_balance(work: _Work, record: SessionRecord) -> SessionRecord:
    if record.identity.pixel_format not in (*BAYER, PixelFormat.RGB8):
        return _with(record, _no_colours(), {})
    limits = WhiteBalanceLimits()
    result = find_white_balance(work.camera, work.operator, limits)
    worst = max(abs(error) for error in (*result.errors, *result.second_errors))
    again = Step.EXPOSURE in record.done and wants_exposure_again(result)
    if again:
        work.watch.say("exposure once more, with the new gains")
        record = _exposure(work, record)
    report = white_balance_report(result, limits, exposed_again=again)
    return _with(record, report, {"white_balance_error_share": worst})


def _dark(work: _Work, record: SessionRecord) -> SessionRecord:
    dark = measure_dark_field(work.camera, work.operator, work.plan.frames, work.watch.progress)
    figures = {"black_level_dn": dark.black_level_dn, "hot_px": float(len(dark.hot_px))}
    return replace(_with(record, dark_report(dark), figures), dark=dark)


def _flat(work: _Work, record: SessionRecord) -> SessionRecord:
    assert record.dark is not None
    flat = measure_flat_field(work.camera, work.operator, record.dark, work.plan.frames, work.watch.progress)
    figures = {
        "flat_before_share": flat.before,
        "flat_residual_share": flat.residual,
        "flat_gain_max": flat.gain_range[1],
        "dead_px": float(len(flat.dead_px)),
    }
    report = flat_report(flat, record.identity.pixel_format in BAYER)
    fields = Fields(flat.offset, flat.gain, flat.dead_px)
    return replace(_with(record, report, figures), fields=fields, grey=flat.stack)


def _noise(work: _Work, record: SessionRecord) -> SessionRecord:
    assert record.dark is not None
    noise = measure_noise(work.camera, work.operator, record.dark, record.grey, work.watch.progress)
    return _with(record, noise_report(noise), _noise_figures(noise))


def _noise_figures(noise: NoiseFigures) -> dict[str, float]:
    figures = {
        "electrons_per_dn": noise.electrons_per_dn,
        "saturation_e": noise.saturation_e,
        "snr_max_db": noise.snr_max_db,
        "dynamic_range_db": noise.dynamic_range_db,
        "linearity_error_share": noise.linearity_error,
        "prnu_share": noise.prnu,
    }
    if noise.read_noise_e is not None:
        figures["read_noise_e"] = noise.read_noise_e
    if noise.dsnu_e is not None:
        figures["dsnu_e"] = noise.dsnu_e
    return figures


def _no_colours() -> StepReport:
    return StepReport(
        step=Step.WHITE_BALANCE.value,
        title=TITLES[Step.WHITE_BALANCE],
        outcome=Outcome.LEFT_OUT,
        summary="a grey camera has no colours to balance",
    )


def _with(record: SessionRecord, report: StepReport, figures: Mapping[str, float]) -> SessionRecord:
    """The record with one more report, in place of an earlier one of the same step."""
    others = [one for one in record.reports if one.step != report.step]
    order = [step.value for step in Step]
    reports = sorted([*others, report], key=lambda one: order.index(one.step))
    return replace(record, reports=tuple(reports), figures={**record.figures, **figures})


_STEPS: Mapping[Step, Callable[[_Work, SessionRecord], SessionRecord]] = {
    Step.WARM_UP: _warm_up,
    Step.FOCUS: _focus,
    Step.EXPOSURE: _exposure,
    Step.WHITE_BALANCE: _white_balance,
    Step.DARK: _dark,
    Step.FLAT: _flat,
    Step.NOISE: _noise,
}
