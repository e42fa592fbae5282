"""The report's files: complete, honest, self-contained, and never half-written."""

import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from calibration.charts import Marker, Panel, histogram, ticks
from calibration.gallery import blocks, in_turn
from calibration.page import report_page
from calibration.print_summary import print_summary
from calibration.report import write_report
from calibration.results import SIMULATED_NOTE, run_result
from calibration.sheet import WIDTH_PX, picture_sheet
from calibration.summary import summary, summary_text
from calibration.wording import percent
from edge.errors import OpenError
from edge.overlay import OUTLINE

ASKED_FOR = {
    "parts", "triggers", "frames", "verdicts", "passed", "rejected", "recheck", "fault", "unaccounted",
    "defective", "escapes", "overkill", "image_auroc", "pixel_auroc", "latency_ms",
}  # fmt: skip
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags in balance, addresses, and the text between."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.addresses, self.words, self.images = [], set(), [], [], 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action")]
        self.images += tag == "img"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def page_of(result):
    png = io.BytesIO()
    picture_sheet(result).save(png, "PNG")
    return Page(report_page(result, png.getvalue()))


# --- summary.json


def test_the_summary_has_what_programs_rely_on(result):
    content = json.loads(summary_text(result))
    assert content.keys() >= ASKED_FOR
    assert content["latency_ms"].keys() == {"p50", "p99", "max"}
    assert content["margin_ms"].keys() == {"min", "p1", "p50"}
    counted = [content[name] for name in ("passed", "rejected", "recheck", "fault")]
    assert sum(counted) == content["parts"] == content["triggers"] == content["verdicts"] == 12
    assert (content["escapes"], content["overkill"], content["unaccounted"]) == (1, 2, 0)
    assert content["escape_rate"]["rate"] == 0.25
    assert content["detection"]["crack"]["not_passed"] == 1


def test_what_is_not_defined_is_null(make):
    content = json.loads(summary_text(make["judged"]([make["fault"](1)])))
    assert content["image_auroc"] is None
    assert content["latency_ms"]["p50"] is None
    assert content["escape_rate"]["rate"] is None
    assert "NaN" not in summary_text(make["judged"]([]))


def test_the_summary_carries_the_note(make, parts):
    assert summary(make["judged"](parts, simulated=True))["note"] == SIMULATED_NOTE
    assert summary(make["judged"](parts))["note"] == ""


# --- page


def test_the_page_needs_nothing_from_outside(result):
    page = page_of(result)
    assert page.open == []
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "form"})


def test_the_page_shows_every_wrong_part(result):
    page = page_of(result)
    assert page.images == 1 + 2  # the sheet, part 12 and part 7; part 8 has no picture
    assert all(f"Part {number}" in page.text for number in (7, 8, 12))
    assert "no picture" in page.text


def test_the_page_says_the_figures_and_their_intervals(result):
    text = page_of(result).text
    assert "1 of 4" in text
    assert "0.63 % to 80.6 %" in text
    assert "threshold 0.500" in text


def test_the_page_says_when_the_line_is_simulated(make, parts):
    assert SIMULATED_NOTE in page_of(make["judged"](parts, simulated=True)).text
    assert SIMULATED_NOTE not in page_of(make["judged"](parts)).text


def test_names_from_outside_cannot_become_markup(make, parts):
    odd = '<script>alert("x")</script>'
    parts.append(make["part"](30, 0.1, odd, source=odd))
    page = page_of(make["judged"](parts, title=odd, station=odd, notes=(odd,), bundle_id=odd))
    assert "script" not in page.tags
    assert page.text.count(odd) >= 4


def test_the_page_warns_of_broken_accounting_and_late_pulses(make, parts):
    sound = make["judged"](parts)
    counts = replace(make["counted"](parts), triggers=13, late_actions=2)
    text = page_of(run_result(parts, counts, sound.identity)).text
    assert "Triggers without an outcome: 1." in text
    assert "Pulses that could no longer be given in time: 2." in text
    assert "without an outcome" not in page_of(sound).text


def test_shared_items_get_their_own_interval_and_words(make):
    parts = [make["part"](n, 0.9 if n < 3 else 0.1, group=f"item {n // 2}") for n in range(1, 9)]
    assert "over items" in page_of(make["judged"](parts)).text
    alone = [make["part"](n, 0.1) for n in range(1, 9)]
    assert "over items" not in page_of(make["judged"](alone)).text


def test_no_error_is_not_called_never(make):
    text = page_of(make["judged"]([make["part"](n, 0.9, "crack") for n in range(1, 21)])).text
    assert "None in 20 does not mean never" in text
    assert "299 parts without an error" in text


# --- sheet


def test_the_sheet_is_the_same_for_the_same_result(result):
    first, second = picture_sheet(result), picture_sheet(result)
    assert first.width == WIDTH_PX
    assert first.tobytes() == second.tobytes()


def test_the_sheet_outlines_true_defects_alone(make):
    def outline_pixels(parts):
        sheet = np.asarray(picture_sheet(make["judged"](parts))).astype(int)
        return (np.abs(sheet - OUTLINE).max(axis=2) < 40).sum()

    legend = outline_pixels([])
    assert legend > 0
    assert outline_pixels([make["part"](1, 0.9)]) == legend  # overkill: nothing there to outline
    assert outline_pixels([make["part"](1, 0.9, "crack")]) > legend


def test_the_sheet_shows_at_most_what_it_was_asked_for(make):
    rejected = [make["part"](n, 0.9, "crack") for n in range(1, 30)]
    escaped = [make["part"](n, 0.1, "crack") for n in range(30, 60)]
    killed = [make["part"](n, 0.9) for n in range(60, 90)]
    shown = blocks(make["judged"]([*rejected, *escaped, *killed]), 18)
    assert [len(block.parts) for block in shown] == [6, 6, 6]
    assert [block.total for block in shown] == [29, 30, 30]
    assert shown[0].count == "6 of 29 shown"


def test_what_is_left_out_leaves_whole_rows(make):
    rejected = [make["part"](n, 0.9, "crack") for n in range(1, 30)]
    wrong = [make["part"](30, 0.1, "crack"), make["part"](31, 0.9)]
    run = make["judged"]([*rejected, *wrong])
    assert [len(block.parts) for block in blocks(run, 18, row=3)] == [15, 1, 1]
    few = make["judged"]([*rejected[:4], *wrong])
    assert [len(block.parts) for block in blocks(few, 18, row=3)] == [4, 1, 1]


def test_small_blocks_share_a_row(make):
    rejected = [make["part"](n, 0.9, "crack") for n in range(1, 4)]
    escape, overkill = (
        [make["part"](n, 0.1, "crack") for n in (4, 5)],
        [make["part"](6, 0.9), make["part"](7, 0.9)],
    )
    together = picture_sheet(make["judged"]([*rejected, *escape, *overkill[:1]]))
    apart = picture_sheet(make["judged"]([*rejected, *escape, *overkill]))
    assert apart.height > together.height + 200


def test_the_sheet_takes_kinds_in_turn_and_not_the_prettiest(make):
    parts = [make["part"](n, 0.9, kind) for n, kind in enumerate(["crack", "crack", "crack", "scratch"])]
    assert [part.part_id for part in in_turn(parts)] == [0, 3, 1, 2]


@pytest.mark.parametrize("case", ["empty", "only faults", "truth unknown"])
def test_a_poor_run_still_gives_a_whole_report(make, tmp_path, case):
    parts = {
        "empty": [],
        "only faults": [make["fault"](1), make["fault"](2, "crack")],
        "truth unknown": [make["part"](1, 0.9, truth=None), make["part"](2, 0.1, truth=None)],
    }[case]
    for path in write_report(make["judged"](parts), tmp_path):
        assert path.stat().st_size > 0


# --- charts


def test_a_histogram_draws_every_finite_value_and_no_other():
    svg = histogram([Panel("a", [0.1, 0.9, math.nan], "good")], [Marker(math.nan, "none")], "ms", "t", 400)
    assert svg.count("<rect") == 2
    assert "nan" not in svg


def test_one_part_among_thousands_is_visible():
    svg = histogram([Panel("a", [0.0] * 5000 + [1.0], "good")], [], "", "t", 400)
    heights = [float(height) for height in re.findall(r'height="([0-9.]+)"/>', svg)]
    assert min(heights) >= 1.5


@pytest.mark.parametrize("values", [[], [0.4], [0.0], [-3.0, -3.0]])
def test_a_histogram_of_next_to_nothing_is_drawn(values):
    assert histogram([Panel("a", values, "good")], [], "", "t", 400).count("<rect") == bool(values)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-1, 112, [0, 20, 40, 60, 80, 100]),
        (97.2, 99.1, [97.5, 98, 98.5, 99]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


# --- words and files


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0034, "0.34 %"),
        (0.0712, "7.1 %"),
        (0.9996, "99.96 %"),
        (0.2, "20 %"),
        (math.nan, "not defined"),
    ],
)
def test_percentages(share, text):
    assert percent(share) == text


def test_the_terminal_table_says_the_rates_in_a_pipe(result):
    out = io.StringIO()
    print_summary(Console(file=out, width=80), result)
    text = out.getvalue()
    assert "1 of 4 defective, 25 %" in text
    assert "2 of 8 good, 25 %" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_the_files_are_replaced_whole(result, tmp_path):
    (tmp_path / "report.html").write_text("old")
    written = write_report(result, tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.format, sheet.width) == ("PNG", WIDTH_PX)


def test_a_folder_that_cannot_be_written_is_a_user_error(result, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OpenError, match=r"cannot be written.*--report"):
        write_report(result, tmp_path / "taken" / "report")
