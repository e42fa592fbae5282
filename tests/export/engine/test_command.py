"""`adclip engine` as its user sees it. Where a build is shown, TensorRT is the double."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from edge.engine_directory import list_engines
from edge.errors import OpenError
from export.engine.command import engine_command

SMALL = ["--workspace-mb", "64", "--tactic-dram-mb", "64"]


@pytest.fixture
def adclip_engine(monkeypatch, tensorrt_double, tiny, tmp_path):
    """Runs the command on a double that computes with `network`; the result of click."""

    def run(*arguments, network=tiny.network, version="10.3.0", faults=()):
        gpu = tensorrt_double.Gpu(network, tiny.SHAPES, version=version, faults=faults)
        monkeypatch.setattr("edge.runner.cuda_libraries.load_libraries", lambda: gpu.libraries)
        directory = ["--engine-directory", str(tmp_path / "engines")]
        return CliRunner().invoke(
            engine_command,
            [*arguments, *directory],
            standalone_mode=False,
            env={"COLUMNS": "200"},
        )

    return run


def test_build_reports_and_activates(adclip_engine, tiny_bundle, tmp_path):
    found = adclip_engine("build", str(tiny_bundle.folder), *SMALL)
    assert found.exception is None
    assert found.return_value == 0
    assert "TensorRT: Building engine, 2 steps" in found.output
    assert "Tactic selection" not in found.output
    assert "attentions fused │ 1 of 1" in found.output
    assert "right: active; 2 frames" in found.output
    (engine,) = list_engines(tmp_path / "engines")
    assert engine.record.key.options.workspace_mb == 64
    assert str(engine.path) in found.output.replace("\n", "")


def test_a_second_build_says_that_the_engine_is_there(adclip_engine, tiny_bundle):
    adclip_engine("build", str(tiny_bundle.folder), *SMALL)
    found = adclip_engine("build", str(tiny_bundle.folder), *SMALL)
    assert "was there already and is proven" in found.output
    assert "TensorRT: Building" not in found.output
    assert found.return_value == 0


def test_a_wrong_engine_is_refused_with_reports_and_next_steps(adclip_engine, tiny, tiny_bundle):
    found = adclip_engine(
        "build",
        str(tiny_bundle.folder),
        *SMALL,
        network=lambda image: {name: value + np.float32(0.25) for name, value in tiny.network(image).items()},
    )
    assert found.return_value == 1
    assert "WRONG: not active; 2 frames, score off by 2.5e-01 of 1.0e-03" in found.output
    assert "Known about TensorRT 10.3.0" in found.output
    assert "#4419" in found.output
    assert "JetPack 7.2" in found.output


def test_a_version_without_reports_says_so(adclip_engine, tiny_bundle):
    found = adclip_engine(
        "build",
        str(tiny_bundle.folder),
        *SMALL,
        version="10.16.2",
        network=lambda image: {"image_score": np.nan, "anomaly_map": np.nan},
    )
    assert "no finite number" in found.output
    assert "No report about TensorRT 10.16.2 is known here." in found.output


def test_list_tells_which_engines_are_active(adclip_engine, tiny_bundle):
    assert "No engine in" in adclip_engine("list").output
    adclip_engine("build", str(tiny_bundle.folder), *SMALL)
    adclip_engine(
        "build",
        str(tiny_bundle.folder),
        *SMALL,
        "--optimization-level",
        "5",
        network=lambda image: {"image_score": 0.0, "anomaly_map": 0.0},
    )
    output = adclip_engine("list").output
    assert output.count("right: active") == 1
    assert output.count("WRONG: not") == 1
    assert output.count("FP16") == 2


def test_a_device_without_tensorrt_is_told_the_next_step(tiny_bundle, tmp_path):
    pytest.importorskip("onnxruntime")
    if _has("tensorrt"):
        pytest.skip("for machines without TensorRT, and it is here")
    found = CliRunner().invoke(
        engine_command,
        ["build", str(tiny_bundle.folder), "--engine-directory", str(tmp_path / "engines")],
        standalone_mode=False,
    )
    assert isinstance(found.exception, OpenError)
    assert "python3-libnvinfer" in found.exception.do
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    "option", [["--optimization-level", "6"], ["--workspace-mb", "0"], ["--device", "-1"]]
)
def test_options_out_of_range_are_refused(tmp_path, option):
    found = CliRunner().invoke(engine_command, ["build", str(tmp_path), *option])
    assert found.exit_code == 2
    assert "is not in the range" in found.output


def test_help_and_list_need_neither_tensorrt_nor_torch_nor_onnx(tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'tensorrt', 'pycuda'], None));"
        "from export.engine.command import engine_command; engine_command(sys.argv[1:])"
    )
    for arguments in (["--help"], ["build", "--help"], ["list", "--engine-directory", str(tmp_path)]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def _has(module):
    import importlib.util

    return importlib.util.find_spec(module) is not None
