"""`adclip demo`: the daemon on the simulated line, in a pipe, with its report."""

import json
import math
import signal
import subprocess
import sys
import time

import pytest
import yaml

from edge.records import open_records

pytestmark = pytest.mark.timeout(120)

KEYS = {
    "parts",
    "triggers",
    "frames",
    "verdicts",
    "passed",
    "rejected",
    "recheck",
    "fault",
    "unaccounted",
    "defective",
    "escapes",
    "overkill",
    "image_auroc",
    "pixel_auroc",
    "latency_ms",
}


def test_leaves_a_report_that_accounts_for_every_part(adclip, tmp_path):
    report = tmp_path / "report"
    code, out, err = adclip("demo", "--parts", 16, "--seed", 5, "--rate", 300, "--report", report)
    assert code == 0, out + err
    assert "shows the appliance, not the accuracy" in out.replace("\n", " ")
    summary = json.loads((report / "summary.json").read_text())
    assert summary.keys() >= KEYS
    assert summary["triggers"] == summary["frames"] == summary["verdicts"] == summary["parts"] == 16
    assert summary["passed"] + summary["rejected"] + summary["recheck"] + summary["fault"] == 16
    assert summary["unaccounted"] == 0
    assert summary["latency_ms"].keys() >= {"p50", "p99", "max"}
    assert (report / "sheet.png").read_bytes().startswith(b"\x89PNG")
    page = (report / "report.html").read_text()
    assert "shows the appliance, not the accuracy you will get" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_station_file_it_leaves_repeats_its_scores(adclip, tmp_path):
    report, station = tmp_path / "report", tmp_path / "report" / "station.yaml"
    assert adclip("demo", "--parts", 8, "--seed", 6, "--rate", 300, "--report", report)[0] == 0
    content = yaml.safe_load(station.read_text())
    assert content["camera"]["seed"] == 6
    # A gate so far away that no verdict comes too late, however busy this machine is.
    content["gate"]["travel_ms"] = 20_000
    station.write_text(yaml.safe_dump(content))
    assert adclip("run", "--config", station)[0] == 0
    with open_records(report / "records") as records:
        demo, again = ([part.score for part in records.parts(run.number)] for run in records.runs())
    assert len(demo) == len(again) == 8
    assert all(math.isfinite(score) for score in again)
    assert all(first == second for first, second in zip(demo, again, strict=True) if math.isfinite(first))


def test_ctrl_c_ends_it_in_order(tmp_path):
    report = tmp_path / "report"
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "demo", "--parts", "500", "--report", str(report)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    database = report / "records" / "lines.csv"
    while not database.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "Traceback" not in out
    summary = json.loads((report / "summary.json").read_text())
    assert summary["parts"] < 500
    assert summary["unaccounted"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--product", "banana"], "banana"),
        (["--parts", "0"], "0"),
        (["--seed", "1000001"], "1000001"),
    ],
)
def test_wrong_options(arguments, message, adclip):
    code, _, err = adclip("demo", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_report_folder_that_cannot_be_written(adclip, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = adclip("demo", "--parts", 2, "--report", tmp_path / "file" / "report")
    assert code == 2
    assert "cannot be made" in err
    assert "Traceback" not in err
