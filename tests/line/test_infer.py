"""`adclip infer`: image files, good and bad, through the path of the line."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from edge.bundle import open_bundle

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def bundle(request):
    return request.config.rootpath / "models" / "demo"


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_reads_the_usual_files(suffix, mode, bundle, adclip, tmp_path):
    path = tmp_path / f"part.{suffix}"
    Image.new(mode, (90, 70), 100 if mode == "L" else (100, 90, 80)).save(path)
    code, out, err = adclip("infer", bundle, path, "--json", "--score-threshold", "0.99")
    assert code == 0, err
    (line,) = lines(out)
    assert line["path"] == str(path)
    assert 0 <= line["score"] <= 1
    assert line["verdict"] in {"pass", "reject"}
    assert set(line["timings_ms"]) == {"preprocess", "runner", "anomaly_map", "decide"}
    assert line["bundle_id"] == open_bundle(bundle).bundle_id


def test_bad_files_are_named_and_the_others_still_run(bundle, adclip, pictures, tmp_path):
    good = sorted(pictures.iterdir())[:2]
    truncated, text, absent = tmp_path / "cut.png", tmp_path / "text.png", tmp_path / "none.png"
    truncated.write_bytes(good[0].read_bytes()[:-900])
    text.write_text("no picture")
    code, out, err = adclip("infer", bundle, good[0], truncated, text, absent, good[1], "--json")
    assert code == 1
    assert "Traceback" not in err
    for path in (truncated, text, absent):
        assert str(path) in err
    found = {line["path"]: line for line in lines(out)}
    assert [found[str(path)]["score"] is not None for path in (*good, truncated, text, absent)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert found[str(text)]["verdict"] == "fault"


def test_without_a_threshold_nothing_passes(bundle, adclip, pictures):
    code, out, _ = adclip("infer", bundle, pictures, "--json")
    assert code == 0
    assert {line["verdict"] for line in lines(out)} == {"recheck"}


def test_saved_maps_are_the_maps_of_the_decision(bundle, adclip, pictures, tmp_path):
    maps = tmp_path / "maps"
    code, out, err = adclip(
        "infer", bundle, pictures, "--json", "--save-maps", maps, "--map-threshold", "0.000001"
    )
    assert code == 0, err
    manifest = open_bundle(bundle).manifest
    for line in lines(out):
        with np.load(maps / (line["path"].rsplit("/", 1)[1].rsplit(".", 1)[0] + ".npz")) as saved:
            assert saved["image_score"].shape == ()
            assert float(saved["image_score"]) == line["score"]
            assert saved["anomaly_map"].shape == manifest.preprocessing.size_px
            assert saved["anomaly_map"].dtype == np.float32
            # The threshold lies below everything: one region whose peak is the map's.
            assert line["regions"][0]["peak"] == pytest.approx(float(saved["anomaly_map"].max()))


def test_two_pictures_of_one_name_are_refused_before_any_work(bundle, adclip, pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    path = other / "part_1.jpg"
    Image.new("L", (9, 9)).save(path)
    code, out, err = adclip("infer", bundle, pictures, path, "--json", "--save-maps", tmp_path / "maps")
    assert (code, out) == (2, "")
    assert "part_1.npz" in err


def test_table_for_people(bundle, adclip, pictures):
    code, out, _ = adclip("infer", bundle, pictures, COLUMNS="200")
    assert code == 0
    assert "RECHECK" in out
    assert "uncalibrated" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--roi", "1,2,3"], "X,Y,WIDTH,HEIGHT"),
        (["--roi", "0,0,0,5"], "no region"),
        (["--calibration", "none.yaml"], "does not exist"),
        (["--calibration", "none.yaml", "--score-threshold", "0.5"], "one of the two"),
    ],
)
def test_wrong_options(arguments, message, bundle, adclip, pictures):
    code, _, err = adclip("infer", bundle, pictures, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_no_bundle(adclip, pictures, tmp_path):
    code, _, err = adclip("infer", tmp_path, pictures)
    assert code == 2
    assert "not a bundle" in err


@pytest.fixture
def with_limits(bundle, tmp_path):
    """The demo bundle as if it had come with limits of a library; the graph is the same."""
    copy = tmp_path / "limits"
    shutil.copytree(bundle, copy)
    manifest = yaml.safe_load((copy / "bundle.yaml").read_text())
    manifest["reference"] = {"source": "some library", "score": {"threshold": 0.25, "span": 2.0}}
    (copy / "bundle.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return copy


def test_the_librarys_own_score_and_label_stand_beside_ours(with_limits, adclip, pictures):
    code, out, err = adclip("infer", with_limits, pictures, "--json", "--score-threshold", "0.99")
    assert code == 0, err
    for line in lines(out):
        reference = line["reference"]
        assert reference["source"] == "some library"
        assert reference["score"] == pytest.approx((line["score"] - 0.25) / 2.0 + 0.5)
        assert reference["bad"] is (reference["score"] > 0.5)
    code, out, _ = adclip("infer", with_limits, pictures, COLUMNS="200")
    assert code == 0
    assert "some library" in out


def test_without_limits_there_is_no_reference(bundle, adclip, pictures):
    code, out, err = adclip("infer", bundle, pictures, "--json")
    assert code == 0, err
    assert {line["reference"] for line in lines(out)} == {None}


def test_a_precision_that_the_bundle_has_not_is_refused(bundle, adclip, pictures, tmp_path):
    copy = tmp_path / "fp32"
    shutil.copytree(bundle, copy)
    manifest = yaml.safe_load((copy / "bundle.yaml").read_text())
    manifest["fp16"], manifest["tolerances"]["fp16"] = None, None
    manifest["files"].pop("model.fp16.onnx", None)
    (copy / "bundle.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    code, out, err = adclip("infer", copy, pictures, "--precision", "fp16")
    assert (code, out) == (2, "")
    assert "has no FP16 graph" in err
