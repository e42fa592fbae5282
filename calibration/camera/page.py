"""The report of a calibration as one HTML file: opens offline, needs no script, reads in light, dark and on
paper."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files
from string import Template

from calibration.camera.findings import CalibrationReport, Outcome, Reading, StepReport
from calibration.camera.station_yaml import station_yaml

SIMULATED = "Made with the simulated bench: these numbers say nothing about a real camera."
_TITLES = {"camera": "Camera calibration", "geometry": "Geometry calibration", "light": "Light calibration"}
_UNIT = re.compile(r"(\d) ?(%|(?<= )(?:px|mm|µs|ms|s|min|dB|DN|e⁻)\b)")
_CHIP = {
    Outcome.PASSED: "",
    Outcome.ADVICE: "advised",
    Outcome.REFUSED: "refused",
    Outcome.KEPT: "quiet",
    Outcome.LEFT_OUT: "quiet",
}


def report_page(report: CalibrationReport) -> str:
    """The whole page; equal input gives equal text."""
    template = Template(files("calibration.camera").joinpath("page.html").read_text(encoding="utf-8"))
    camera = report.camera
    return template.substitute(
        title=escape(f"{_TITLES[report.command]}: {camera.model} {camera.serial}"),
        subtitle=escape(f"{report.made_utc}, by {report.made_by}"),
        notice=f'<p class="notice">{escape(SIMULATED)}</p>' if report.simulated else "",
        result=_result(report),
        cards=_cards(report),
        notes="".join(f'<p class="advice">{escape(note)}</p>' for note in report.notes),
        steps="".join(_step(step) for step in report.steps),
        station=_station(report),
        identity=_identity(report),
    )


def _result(report: CalibrationReport) -> str:
    if report.refusal is not None:
        return (
            f'<p class="result refused"><b>Refused, nothing was written.</b> {escape(report.refusal.what)}<br>'
            f"<b>What to do:</b> {escape(report.refusal.do)}</p>"
        )
    advised = [step.title.lower() for step in report.steps if step.outcome is Outcome.ADVICE]
    words = "All passed." if not advised else f"Passed, with advice to follow on: {', '.join(advised)}."
    return f'<p class="result"><b>{escape(words)}</b></p>'


def _cards(report: CalibrationReport) -> str:
    """The numbers that people look for first."""
    camera = report.camera
    cards = [("exposure", f"{camera.exposure_us:.1f} µs"), ("gain", f"{camera.gain_db:.1f} dB")]
    if camera.red_gain is not None and camera.blue_gain is not None:
        cards += [("red gain", f"{camera.red_gain:.3f}"), ("blue gain", f"{camera.blue_gain:.3f}")]
    found = {reading.name: reading for step in report.steps for reading in step.readings}
    for name in ("unevenness after", "read noise", "dynamic range", "scale on the belt", "level"):
        if name in found and found[name].value is not None:
            cards.append((name, found[name].text))
    return "".join(f'<div class="count"><b>{escape(v)}</b><span>{escape(n)}</span></div>' for n, v in cards)


def _step(step: StepReport) -> str:
    chip = f'<span class="chip {_CHIP[step.outcome]}">{escape(step.outcome.value)}</span>'
    summary = f'<p class="quiet">{_unbroken(step.summary)}</p>' if step.summary else ""
    lines = [line for line in step.advice if line != step.summary]
    advice = "".join(f'<p class="advice">{_unbroken(line)}</p>' for line in lines)
    notes = "".join(f"<p>{_unbroken(line)}</p>" for line in step.notes)
    shown = summary + advice + notes + _readings(step) + _pictures(step)
    head = f'<div class="head"><h2>{escape(step.title)}</h2>{chip}</div>'
    return f"<section>{head}{shown}</section>"


def _readings(step: StepReport) -> str:
    if not step.readings:
        return ""
    head = '<th>measured</th><th class="n">value</th><th>limit</th><th></th>'
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th><td class="n">{_unbroken(one.text)}</td>'
        f'<td>{_unbroken(one.limit)}</td><td class="state">{_state(one)}</td></tr>'
        for one in step.readings
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _state(reading: Reading) -> str:
    if reading.within is None:
        return ""
    return '<span class="ok">within</span>' if reading.within else '<span class="wrong">outside</span>'


def _pictures(step: StepReport) -> str:
    if not step.pictures:
        return ""
    shown = "".join(
        f"<figure{' class=' + chr(34) + 'wide' + chr(34) if one.wide else ''}>{one.html}"
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in step.pictures
    )
    return f'<div class="pictures">{shown}</div>'


def _station(report: CalibrationReport) -> str:
    if report.refusal is not None:
        return ""
    return (
        "<h2>For the station file</h2><p>The calibration holds for these settings; the station must use "
        f"them.</p><pre><code>{escape(station_yaml(report.camera, report.folder))}</code></pre>"
    )


def _identity(report: CalibrationReport) -> str:
    camera = report.camera
    region = "whole sensor" if camera.region_px is None else ", ".join(map(str, camera.region_px))
    rows = [
        ("calibration", f"<code>{escape(report.calibration_id or 'none was written')}</code>"),
        (
            "camera",
            escape(f"{camera.model}, serial {camera.serial}, firmware {camera.firmware or 'unknown'}"),
        ),
        (
            "pixels",
            escape(f"{camera.pixel_format.value}, {report.width_px} x {report.height_px}, region: {region}"),
        ),
        ("lens", escape(camera.lens or "not noted")),
        ("light", escape(camera.light or "not noted")),
    ]
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>"


def _unbroken(text: str) -> str:
    """Escaped, with units on the line of their numbers."""
    return _UNIT.sub(r"\1&nbsp;\2", escape(text))
