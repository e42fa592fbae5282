"""`adclip export anomalyclip` as a user meets it: every mistake is one paragraph and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from edge.bundle import open_bundle
from edge.cli import main
from edge.manifest import HalfPrecision

if TYPE_CHECKING:
    from conftest import ModelFiles

USAGE = ["export", "anomalyclip"]


@pytest.fixture
def export(model_files: ModelFiles, tmp_path: Path) -> Callable[..., int]:
    """Run the command on the small model, with options replaced by name; None drops one, True is a flag."""

    def run(**changed: object) -> int:
        options: dict[str, object] = {
            "clip": model_files.clip,
            "checkpoint": model_files.checkpoint,
            "image-size": 36,
            "dpam": 3,
            "features": "2,4",
            "out": tmp_path / "bundle",
        }
        options |= {name.replace("_", "-"): value for name, value in changed.items()}
        given = (
            (f"--{name}",) if value is True else (f"--{name}", str(value))
            for name, value in options.items()
            if value is not None
        )
        return main([*USAGE, *(word for option in given for word in option)])

    return run


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_export_writes_a_bundle_and_says_what_it_is(
    export: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        Image.new("RGB", (50, 40), (90, 60 * number, 30)).save(pictures / f"{number}.png")
    assert export(features="2, 4 24", sigma=2, probe_images=pictures) == 0
    bundle = open_bundle(tmp_path / "bundle")
    manifest = bundle.manifest
    assert (manifest.map.grid, manifest.map.layers, manifest.map.sigma_px) == ((4, 4), 2, 2.0)
    head = manifest.head
    assert (head.features, head.layers_used, head.legacy_features) == ((2, 4, 24), (2, 4), False)
    printed, complaints = capfd.readouterr()
    assert complaints == ""
    steps = ("Reading the CLIP file", "Exporting to ONNX", "Probing for overflow on 5 pictures")
    figures = ("GFLOP for one picture", "FP16 score error", "FP16 as stored", "5 pictures)")
    for expected in (*steps, *figures, "ViT 128x4", "4 x 4 patches", "2, 4"):
        assert expected in printed
    assert bundle.bundle_id[:40] in printed
    assert sorted(tmp_path.iterdir()) == [tmp_path / "bundle", pictures]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_softmax_in_single_precision_can_be_asked_for(export: Callable[..., int], tmp_path: Path) -> None:
    assert export(fp32_softmax=True) == 0
    assert open_bundle(tmp_path / "bundle").manifest.fp16 == HalfPrecision(fp32_softmax=True)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_fp16_graph_can_be_left_out(
    export: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert export(fp32_only=True) == 0
    assert open_bundle(tmp_path / "bundle").manifest.precisions == ("fp32",)
    printed = capfd.readouterr().out
    assert "FP16 graph" in printed
    assert "Probing" not in printed


def test_an_existing_bundle_is_kept_without_force(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.yaml").touch()
    assert export() == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dpam": 1}, "A dpam of 1 does not fit ViT 128x4"),
        ({"dpam": 20}, "it can be 2 to 5"),
        ({"features": "6,12"}, "Features 6,12 do not fit"),
        ({"features": "0"}, "Features 0 do not fit"),
        ({"image_size": 4}, "image size of 4 px does not suit"),
        ({"sigma": -1}, "sigma of -1.0 px is not possible"),
        ({"probe_images": Path(__file__).parent / "absent"}, "absent"),
        ({"clip": "absent.pt"}, "absent.pt cannot be read"),
        ({"clip": __file__}, "is truncated, damaged or of another kind"),
        ({"checkpoint": __file__}, "is truncated, damaged or of another kind"),
        # click's own usage errors
        ({"features": "six"}, "Invalid value for '--features': 'six' is not a list of block numbers"),
        ({"features": ","}, "',' is not a list of block numbers"),
        ({"features": None}, "Missing option '--features'"),
        ({"dpam": None}, "Missing option '--dpam'"),
        ({"dpam": "x"}, "'x' is not a valid integer"),
    ],
)
def test_wrong_arguments(
    changed: dict[str, object],
    message: str,
    export: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export(**changed) == 2
    complaint = capsys.readouterr().err
    assert message in " ".join(complaint.split())
    assert "Traceback" not in complaint
    assert list(tmp_path.iterdir()) == []


def test_swapped_files(
    export: Callable[..., int], model_files: ModelFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(clip=model_files.checkpoint) == 2
    assert "not tensors, for example 'prompt_learner'" in capsys.readouterr().err
    assert export(checkpoint=model_files.clip) == 2
    assert "is not an AnomalyCLIP checkpoint" in capsys.readouterr().err


def test_checkpoint_of_another_clip_file(
    export: Callable[..., int],
    torch: Any,
    architecture: Any,
    random_entries: Callable[..., dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(random_entries(architecture, seed=9), tmp_path / "other.pt")
    assert export(clip=tmp_path / "other.pt") == 2
    assert "was trained with another CLIP file than" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_without_torch_the_help_works_and_the_command_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
        "from edge.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *USAGE, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )

    shown = run("--help")
    assert shown.returncode == 0
    assert "--legacy-features" in shown.stdout
    refused = run("--clip", "a", "--checkpoint", "b", "--dpam", "3", "--features", "1", "--out", "c")
    assert refused.returncode == 2
    assert "which is not installed here. Install the export extra" in refused.stderr
    assert "Traceback" not in refused.stderr
