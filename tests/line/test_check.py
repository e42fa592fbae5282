"""`adclip check`: every fault is named with what to do, and none hides another."""

import shutil

import pytest

pytestmark = pytest.mark.timeout(120)

WIDE = {"COLUMNS": "400"}


@pytest.fixture
def good(station, pictures):
    return station.write({"backend": "replay", "source": str(pictures)})


def test_a_good_station_passes(good, adclip):
    code, out, err = adclip("check", "--config", good.file, **WIDE)
    assert code == 0, out + err
    assert "travel_ms: 1500.0" in out  # the effective configuration
    assert out.count(" ok ") == 7
    assert "without any guarantee" in out


def test_a_changed_byte_in_the_bundle(good, adclip, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(good.bundle, bundle)
    content = bytearray((bundle / "model.fp32.onnx").read_bytes())
    content[1000] ^= 1
    (bundle / "model.fp32.onnx").write_bytes(content)
    good.write(good.camera, bundle=str(bundle))
    code, out, err = adclip("check", "--config", good.file, **WIDE)
    assert code == 2
    assert "SHA-256" in out
    assert "Traceback" not in out + err
    assert out.count(" ok ") == 4  # config, camera, outputs, records


def test_thresholds_of_another_bundle(good, adclip, tmp_path):
    calibration = tmp_path / "calibration.yaml"
    calibration.write_text(
        f"bundle_id: '{'0' * 64}'\npreprocessing_id: '{'0' * 64}'\nmethod: test\nscore: 0.5\n"
    )
    good.write(good.camera, decision={"calibration": str(calibration)})
    code, out, _ = adclip("check", "--config", good.file, **WIDE)
    assert code == 2
    assert "were set for another bundle" in out


def test_a_region_outside_the_picture(good, adclip):
    good.write(good.camera, preprocess={"roi_px": [0, 0, 4000, 4000]})
    code, out, _ = adclip("check", "--config", good.file, **WIDE)
    assert code == 2
    assert "does not lie in a frame of" in out


def test_a_threshold_that_no_score_can_reach(good, adclip):
    good.write(good.camera, decision={"score": 1.5})
    code, out, _ = adclip("check", "--config", good.file, **WIDE)
    assert code == 2
    assert "every score of this bundle lies in 0 to 1" in out


def test_a_misspelt_key_names_line_and_fix(good, adclip):
    good.file.write_text(good.file.read_text().replace("travel_ms", "travle_ms"))
    code, _, err = adclip("check", "--config", good.file)
    assert code == 2
    assert "did you mean 'travel_ms'" in err
    assert "line " in err
    assert "Traceback" not in err
