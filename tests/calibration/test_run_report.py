"""A recorded run joined with a manifest, through real records, a real bundle and ONNX Runtime."""

import hashlib
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from calibration.run_report import report_run
from edge.bundle import open_bundle
from edge.config import RecordsConfig, StationConfig
from edge.errors import ConfigError
from edge.manifest import BundleManifest, manifest_text
from edge.messages import ActionKind, FrameStatus, Outcome, PixelFormat, Reason
from edge.preprocess import input_tensor
from edge.records import PartRecord, RecordStore, RunInfo
from edge.runner import open_runner
from edge.runner.onnxruntime import OnnxRuntimeRunner

SIDE, GRID, THRESHOLD = 32, 4, 0.5


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose model finds what is bright: grid = mean of each cell, score = its maximum."""
    onnx = pytest.importorskip("onnx", reason="onnx is needed to write a model")
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=1),
        node("AveragePool", ["grey"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        node("ReduceMax", ["pooled"], ["image_score"], axes=[1, 2, 3], keepdims=0),
        node("Squeeze", ["pooled", "axis"], ["anomaly_map"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "bright",
        [value("image", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            value("image_score", onnx.TensorProto.FLOAT, [1]),
            value("anomaly_map", onnx.TensorProto.FLOAT, [1, GRID, GRID]),
        ],
        [onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    contents = {"model.fp32.onnx": model.SerializeToString(), "golden.npz": b"not read here"}
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    manifest = {
        "backbone": "test",
        "head": {"kind": "onnx", "origin": "test"},
        "preprocessing": {"height_px": SIDE, "width_px": SIDE, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "map": {"grid": [GRID, GRID]},
        "tolerances": {"fp32": {"score": 1e-5, "map": 1e-5}},
        "source": {"files": {"onnx": "0" * 64}, "exporter": "test"},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    (folder / "bundle.yaml").write_text(manifest_text(BundleManifest.model_validate(manifest)))
    return open_bundle(folder)


class Recording:
    """A folder with pictures' truth and a records directory, filled part by part."""

    def __init__(self, folder, bundle):
        self.folder, self.bundle = folder, bundle
        self.directory, self.manifest = folder / "records", folder / "data" / "manifest.csv"
        (folder / "data" / "masks").mkdir(parents=True)
        self.rows = ["path,label,defect,group,mask_path"]
        config = {
            "station": "test",
            "bundle": str(bundle.folder),
            "runner": {"backend": "onnxruntime", "threads": 1},
            "camera": {"backend": "replay", "source": "pictures"},
            "decision": {"score": THRESHOLD},
            "gate": {"travel_ms": 500, "pulse_ms": 10},
            "outputs": {
                "backend": "recorder",
                "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
            },
            "records": {"directory": str(self.directory), "keep_frames": "all"},
        }
        self.config = StationConfig.model_validate(config)
        self.runner = open_runner(bundle, self.config.runner)
        records = RecordsConfig(directory=self.directory, keep_frames="all")
        self.directory.mkdir()
        self.store = RecordStore(records)
        self.run = self.store.begin_run(self.info())

    def info(self):
        return RunInfo(
            station="test",
            bundle_id=self.bundle.bundle_id,
            bundle=str(self.bundle.folder),
            config_id=self.config.identity(),
            config_yaml=yaml.safe_dump(self.config.model_dump(mode="json")),
            runner=self.runner.description,
            camera="pictures",
            thresholds={"score": THRESHOLD, "map": None, "min_area_px": 0.0},
            preprocessing=self.bundle.manifest.preprocessing.model_dump(mode="json"),
            software="test",
            started_utc="2025-01-01T00:00:00.000Z",
            started_ns=0,
        )

    def part(self, number, *, defect="", brightness=0.9, keep=True, truth=True, **changes):
        """Record one part: a dark picture, with a bright square where it is defective."""
        image = np.full((64, 96), 20, np.uint8)
        mask = np.zeros(image.shape, bool)
        if defect:
            mask[16:32, 24:48] = True  # two cells of the grid in each direction
            image[mask] = round(255 * brightness)
        if truth:
            self._row(number, defect, mask)
        tensor = input_tensor(image, PixelFormat.MONO8, self.bundle.manifest.preprocessing)
        score = self.runner.infer(tensor).score
        record = self._record(number, score, f"test/{number}.png")
        picture = self.store.archive.write(self.run, number, image) if keep else None
        record = replace(record, image_path=picture.path if picture else None, **changes)
        self.store.append([record], [picture] if picture else [])

    def end(self, **counters):
        self.manifest.write_text("\n".join(self.rows) + "\n")
        if counters:
            self.store.end_run(counters)
        self.store.close()
        self.runner.close()

    def report(self, **options):
        out = io.StringIO()
        values = {"run": None, "report_dir": None, "as_json": False, "console": Console(file=out, width=100)}
        result = report_run(self.directory, self.manifest, **values | options)
        return result, out.getvalue()

    def _row(self, number, defect, mask):
        path = f"masks/{number}.png" if defect else ""
        if defect:
            Image.fromarray(mask.astype(np.uint8) * 255).save(self.folder / "data" / path)
        label = "error" if defect else "normal"
        self.rows.append(f"COMP_1/test/{number}.png,{label},{defect},item {number // 2},{path}")

    def _record(self, number, score, source):
        rejected = score >= THRESHOLD
        return PartRecord(
            part_id=number,
            frame_id=number,
            triggered_ns=number * 10**9,
            triggered_utc="2025-01-01T00:00:00.000Z",
            captured_ns=number * 10**9 + 10**6,
            decided_ns=number * 10**9 + 25 * 10**6,
            due_ns=number * 10**9 + 500 * 10**6,
            frame_status=FrameStatus.OK,
            pixel_format=PixelFormat.MONO8,
            exposure_us=math.nan,
            gain_db=math.nan,
            source=source,
            score=score,
            threshold=THRESHOLD,
            outcome=Outcome.REJECT if rejected else Outcome.PASS,
            reasons=(Reason.SCORE,) if rejected else (),
            regions=(),
            action=ActionKind.FIRE if rejected else ActionKind.HOLD,
            margin_ms=470.0,
            preprocess_ms=1.0,
            runner_ms=1.0,
            anomaly_map_ms=1.0,
            decide_ms=1.0,
            bundle_id=self.bundle.bundle_id,
            config_id=self.config.identity(),
        )


@pytest.fixture
def recording(tmp_path, bundle):
    return Recording(tmp_path, bundle)


def fill(recording):
    """Six good parts, two cracks found, one too faint."""
    for number in range(1, 7):
        recording.part(number)
    recording.part(7, defect="crack")
    recording.part(8, defect="crack")
    recording.part(9, defect="stain", brightness=0.3)


def test_a_run_is_judged_against_its_manifest(recording):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    result, text = recording.report()
    assert (result.escapes.exact.errors, result.escapes.exact.trials) == (1, 3)
    assert (result.overkill.exact.errors, result.overkill.exact.trials) == (0, 6)
    assert result.unaccounted == 0
    assert result.image.auroc == 1.0
    assert result.pixel.parts == 9
    assert result.pixel.regions == 3
    assert result.pixel.auroc > 0.99
    assert result.latency_ms.p50 == 25.0
    assert result.escapes.by_group.groups == 2  # part 7 is of item 3, 8 and 9 are of item 4
    assert "1 of 3 defective" in text


def test_maps_and_masks_lie_on_one_grid(recording):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    part = recording.report()[0].parts[6]
    assert part.anomaly_map.shape == part.mask.shape == part.thumbnail.shape[:2] == (SIDE, SIDE)
    assert part.mask[8:16, 8:16].all()
    assert part.mask.sum() == 8 * 8
    assert part.anomaly_map[part.mask].mean() > part.anomaly_map[~part.mask].max() / 2


def test_parts_without_a_stored_frame_are_named_as_left_out(recording):
    fill(recording)
    recording.part(10, keep=False)
    recording.end(triggers=10, frames=10, verdicts=10)
    result, text = recording.report()
    assert result.pixel.parts == 9
    assert [out.part_ids for out in result.pixel.left_out] == [(10,)]
    assert result.image.parts == 10
    assert "(part 10)" in text


def test_a_fault_is_counted_and_has_no_map(recording):
    fill(recording)
    changes = {"outcome": Outcome.FAULT, "reasons": (Reason.EXPOSURE,), "score": math.nan}
    recording.part(10, **changes)
    recording.end(triggers=10, frames=10, verdicts=10)
    result, _ = recording.report()
    assert result.outcomes[Outcome.FAULT] == 1
    assert result.overkill.exact.errors == 1
    assert result.parts[-1].anomaly_map is None


def test_a_part_without_a_source_has_no_truth(recording):
    fill(recording)
    changes = {"outcome": Outcome.FAULT, "reasons": (Reason.MISSING_FRAME,), "source": "", "score": math.nan}
    recording.part(10, keep=False, truth=False, **changes)
    recording.end(triggers=10, frames=9, verdicts=10)
    assert recording.report()[0].unknown == 1


def test_a_run_that_broke_off_is_counted_from_its_records(recording):
    fill(recording)
    recording.end()
    result, text = recording.report()
    assert (result.counts.triggers, result.counts.frames, result.counts.rejected) == (9, 9, 2)
    assert "did not end cleanly" in text


def test_json_goes_out_alone(recording):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    _, text = recording.report(as_json=True)
    assert json.loads(text)["escapes"] == 1


def test_the_report_is_written_where_asked(recording, tmp_path):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    recording.report(report_dir=tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.html",
        "sheet.png",
        "summary.json",
    }


def test_scores_that_do_not_come_out_again_are_told(recording):
    fill(recording)
    recording.part(10, score=0.25)
    recording.end(triggers=10, frames=10, verdicts=10)
    assert "1 scores came out differently" in recording.report()[1]


def test_another_runner_is_told(recording):
    recording.runner.description = "another runner"
    recording.run = recording.store.begin_run(recording.info())
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    assert "recorded with another runner" in recording.report()[1]


def test_a_moved_bundle_can_be_named(recording, bundle, tmp_path):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    bundle.folder.rename(tmp_path / "moved")
    assert recording.report(bundle=tmp_path / "moved")[0].pixel.parts == 9


def test_another_bundle_is_refused(recording, bundle):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    manifest = bundle.folder / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("backbone: test", "backbone: other"))
    with pytest.raises(ConfigError, match="is not the bundle of this run"):
        recording.report()


def test_a_run_without_picture_files_is_refused(recording):
    recording.part(1, source="")
    recording.end(triggers=1, frames=1, verdicts=1)
    with pytest.raises(ConfigError, match="No part of run 1 was replayed from a picture file"):
        recording.report()


def test_pictures_that_the_manifest_lacks_are_refused(recording):
    fill(recording)
    recording.part(10, truth=False)
    recording.end(triggers=10, frames=10, verdicts=10)
    with pytest.raises(ConfigError, match=r"no row for 1 of the pictures \(test/10\.png\)"):
        recording.report()


def test_a_mask_of_another_size_is_refused(recording):
    fill(recording)
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(recording.folder / "data/masks/7.png")
    recording.end(triggers=9, frames=9, verdicts=9)
    with pytest.raises(ConfigError, match=r"mask of test/7\.png is 10 x 10 px, its picture 96 x 64 px"):
        recording.report()


def test_the_runner_is_closed_whatever_happens(recording, monkeypatch):
    closed = []
    monkeypatch.setattr(OnnxRuntimeRunner, "close", lambda self: closed.append(self))
    fill(recording)
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(recording.folder / "data/masks/7.png")
    recording.end(triggers=9, frames=9, verdicts=9)
    with pytest.raises(ConfigError):
        recording.report()
    assert len(closed) == 2  # the one that recorded, and the one that reported


def test_a_long_run_takes_every_nth_map_and_says_so(recording, monkeypatch):
    fill(recording)
    recording.end(triggers=9, frames=9, verdicts=9)
    monkeypatch.setattr("calibration.run_report.MOST_MAP_PX", 3 * SIDE * SIDE)
    result, text = recording.report()
    assert result.pixel.parts == 3
    assert "every 3. map" in text
