"""Real photographs through the daemon and the report: every one decided, accounted for and judged.

Which figures come out is not tested: the demo model has never seen such parts.
"""

import json
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ADCLIP_DATA", REPOSITORY.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not (DATA / "manifest.csv").is_file(),
        reason="the photographs are not here; name their folder in ADCLIP_DATA",
    ),
]


@pytest.mark.slow
def test_every_photograph_is_decided_and_the_report_covers_it(station, adclip):
    folder = DATA / "COMP_1" / "magnetic_tile" / "test"
    pictures = [path for path in folder.rglob("*.jpg") if "crack" in path.parts or "fray" in path.parts]
    small = station.folder / "test"
    for picture in pictures:
        link = small / picture.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(picture)
    # A gate so far away that no verdict comes too late, however busy this machine is.
    station.write({"backend": "replay", "source": str(small)}, gate={"travel_ms": 8000, "pulse_ms": 10})
    code, _, log = adclip("run", "--config", station.file)
    assert code == 0, log
    code, out, log = adclip("records", "report", station.records, "--truth", DATA / "manifest.csv", "--json")
    assert code == 0, log
    summary = json.loads(out)
    assert summary["parts"] == summary["verdicts"] == summary["defective"] == len(pictures) == 59
    assert summary["unaccounted"] == 0
    assert summary["passed"] == summary["escapes"]
    assert summary["pixel_parts"] == 59, summary["pixel_left_out"]
    assert 0 <= summary["pixel_auroc"] <= 1
    assert summary["escape_rate"]["low"] <= summary["escapes"] / 59 <= summary["escape_rate"]["high"]
    # All of one class: no ranking can be stated, and none is made up.
    assert summary["image_auroc"] is None
