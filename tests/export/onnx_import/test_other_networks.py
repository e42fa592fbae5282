"""ONNX files that no anomalib wrote: a declared picture and outputs that are named, or told by their shape."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.bundle import open_bundle

Export = Callable[..., tuple[int, str]]
Infer = Callable[[], dict[str, Any]]
PLAIN = ("--mean", "0,0,0", "--std", "1,1,1")


@pytest.fixture
def build(contract: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """A network for `shape` with the outputs asked for: score, map, other_map, logits, label."""

    def make(
        *names: str,
        shape: tuple[int | str, ...] = (1, 3, 32, 40),
        kind: int | None = None,
        opset: int = 18,
        before: Callable[[Any, str], str] | None = None,
        producer: str = "mine",
    ) -> Path:
        writer = contract.Writer(opset=opset)
        pixels = "picture" if before is None else before(writer, "picture")
        raw = contract.network(writer, pixels)
        shapes = {
            "score": [1],
            "map": [1, 1, 32, 40],
            "other_map": [1, 1, 32, 40],
            "logits": [1, 7],
            "label": [1],
        }
        made = {
            "score": lambda: writer.reduced("ReduceMax", raw, [1, 2, 3], 0),
            "map": lambda: raw,
            "other_map": lambda: writer.add("Mul", raw, raw),
            "logits": lambda: writer.add(
                "Reshape",
                writer.add("Resize", raw, "", "", writer.initializer([1, 1, 1, 7], np.int64), mode="linear"),
                writer.initializer([1, 7], np.int64),
            ),
            "label": lambda: writer.add(
                "Greater", writer.reduced("ReduceMax", raw, [1, 2, 3], 0), writer.initializer(1.0)
            ),
        }
        outputs = []
        for name in names:
            writer.add("Identity", made[name](), name=name)
            boolean = contract.TensorProto.BOOL if name == "label" else contract.FLOAT
            outputs.append(contract.output(name, shapes[name], boolean))
        picture = contract.helper.make_tensor_value_info("picture", kind or contract.FLOAT, list(shape))
        model = writer.model([picture], outputs)
        model.producer_name = producer
        contract.onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return make


def test_outputs_are_told_by_their_shape(build: Any, export: Export, infer: Infer, tmp_path: Path) -> None:
    assert export(build("label", "map", "logits", "score"), *PLAIN) == (0, "")
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.preprocessing.size_px == (32, 40)
    assert manifest.map.grid == (32, 40)
    assert manifest.reference is None
    assert infer()["score"] > 0


def test_a_map_alone_gives_its_largest_value_as_score(build: Any, export: Export, tmp_path: Path) -> None:
    assert export(build("map"), *PLAIN) == (0, "")
    golden = open_bundle(tmp_path / "bundle").golden()
    np.testing.assert_allclose(golden.image_score, golden.grid_map.max(axis=(1, 2)), rtol=1e-6)


def test_a_score_alone_does_not_localise(build: Any, export: Export, tmp_path: Path) -> None:
    assert export(build("score"), *PLAIN) == (0, "")
    bundle = open_bundle(tmp_path / "bundle")
    assert not bundle.manifest.map.localises
    golden = bundle.golden()
    np.testing.assert_array_equal(golden.grid_map[:, 0, 0], golden.image_score)


def test_a_choice_is_left_to_the_user(build: Any, export: Export, tmp_path: Path) -> None:
    path = build("map", "other_map")
    code, told = export(path, *PLAIN)
    assert code == 2
    assert "2 outputs that could be the map" in told
    assert "--map" in told
    assert export(path, *PLAIN, "--map", "other_map") == (0, "")
    first = open_bundle(tmp_path / "bundle").golden().grid_map
    assert export(path, *PLAIN, "--map", "map", "--force") == (0, "")
    np.testing.assert_allclose(first, open_bundle(tmp_path / "bundle").golden().grid_map ** 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--score", "logits"), "which is no score"),
        (("--map", "score"), "which is no map"),
        (("--map", "nothing"), "has no output nothing; it has score float [1], map float"),
        (("--mean", "0,0,0"), "Only one of mean and std"),
        (("--mean", "0,0", "--std", "1,1,1"), "not three numbers"),
        (("--std", "0,1,1", "--mean", "0,0,0"), "Give three numbers above 0"),
        (("--imagenet", "--mean", "0,0,0"), "Both --imagenet and a mean or std"),
        (("--input-size", "0,3"), "both are above 0"),
        (("--input-size", "64,64", *PLAIN), "takes pictures of 32 x 40 px alone"),
        ((), "--imagenet"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], message: str, build: Any, export: Export, tmp_path: Path
) -> None:
    path = build("score", "map", "logits")
    code, told = export(path, *options)
    assert (code, message in told) == (2, True), told
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("shape", [(1, 1, 32, 40), (1, 32, 40, 3), (3, 32, 40), (4, 3, 32, 40)])
def test_an_input_that_is_no_picture(
    shape: tuple[int, ...], contract: ModuleType, export: Export, tmp_path: Path
) -> None:
    writer = contract.Writer(opset=18)
    writer.add("Relu", "input", name="map")
    picture = contract.helper.make_tensor_value_info("input", contract.FLOAT, shape)
    contract.onnx.save(writer.model([picture], [contract.output("map", shape)]), tmp_path / "model.onnx")
    code, told = export(tmp_path / "model.onnx", *PLAIN)
    assert code == 2
    assert "float32 (1, 3, height, width) is needed" in told or "4 pictures at a time" in told


def test_two_inputs(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    writer = contract.Writer(opset=18)
    writer.add("Mul", "input", "other", name="map")
    inputs = [
        contract.file_input(32, 40, 1),
        contract.helper.make_tensor_value_info("other", contract.FLOAT, [1]),
    ]
    contract.onnx.save(
        writer.model(inputs, [contract.output("map", [1, 3, 32, 40])]), tmp_path / "model.onnx"
    )
    code, told = export(tmp_path / "model.onnx", *PLAIN)
    assert (code, "takes 2 inputs (input, other)" in told) == (2, True)


def test_an_operator_that_tensorrt_has_not(build: Any, export: Export, tmp_path: Path) -> None:
    path = build("map", before=lambda writer, pixels: writer.add("Mish", pixels))
    code, told = export(path, *PLAIN)
    assert (code, "is Mish" in told) == (2, True), told
    assert not (tmp_path / "bundle").exists()


def test_an_opset_that_tensorrt_does_not_read(build: Any, export: Export) -> None:
    code, told = export(build("map", opset=21), *PLAIN)
    assert (code, "opset 21" in told) == (2, True)


def test_a_constant_that_is_no_number(build: Any, export: Export) -> None:
    path = build("map", before=lambda writer, pixels: writer.add("Mul", pixels, writer.initializer(np.nan)))
    code, told = export(path, *PLAIN)
    assert (code, "is not finite" in told) == (2, True), told


def test_a_fixed_file_that_still_resizes_is_fixed_to_what_it_resizes_to(
    contract: ModuleType, build: Any, export: Export, tmp_path: Path
) -> None:
    """As anomalib writes it when input_size is not the size of the training."""

    def front(writer: Any, pixels: str) -> str:
        sizes = writer.initializer([1, 3, 32, 40], np.int64)
        resized = writer.add("Resize", pixels, "", "", sizes, mode="linear")
        return str(contract.normalised(writer, resized))

    assert export(build("map", shape=(1, 3, 96, 100), before=front)) == (0, "")
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.preprocessing.size_px == (32, 40)
    network = contract.onnx.load(tmp_path / "bundle" / "model.fp32.onnx")
    assert "Resize" not in {node.op_type for node in network.graph.node}


def test_a_resize_that_keeps_the_aspect_ratio_has_no_size_of_its_own(
    contract: ModuleType, build: Any, export: Export
) -> None:
    def front(writer: Any, pixels: str) -> str:
        scales = writer.initializer([1, 1, 0.5, 0.5])
        return str(contract.normalised(writer, writer.add("Resize", pixels, "", scales, mode="linear")))

    path = build("map", shape=(1, 3, "height", "width"), before=front)
    code, told = export(path)
    assert (code, "keeps the aspect ratio" in told) == (2, True)


def test_the_written_graph_has_the_form_of_every_bundle(
    contract: ModuleType, build: Any, export: Export, tmp_path: Path
) -> None:
    assert export(build("score", "map"), *PLAIN, "--name", "my network") == (0, "")
    graph = contract.onnx.load(tmp_path / "bundle" / "model.fp32.onnx").graph

    def told(value: Any) -> tuple[str, list[int]]:
        return value.name, [step.dim_value for step in value.type.tensor_type.shape.dim]

    assert [told(value) for value in graph.input] == [("image", [1, 3, 32, 40])]
    assert [told(value) for value in graph.output] == [("image_score", [1]), ("anomaly_map", [1, 32, 40])]
    assert open_bundle(tmp_path / "bundle").manifest.backbone == "my network"


def test_equal_files_give_equal_bundles(build: Any, export: Export, tmp_path: Path) -> None:
    path = build("score", "map")
    assert export(path, *PLAIN) == (0, "")
    first = open_bundle(tmp_path / "bundle").bundle_id
    assert export(path, *PLAIN, "--force") == (0, "")
    assert open_bundle(tmp_path / "bundle").bundle_id == first


def test_an_existing_bundle_is_kept_without_force(build: Any, export: Export) -> None:
    path = build("map")
    assert export(path, *PLAIN) == (0, "")
    code, told = export(path, *PLAIN)
    assert (code, "exists already" in told) == (2, True)


@pytest.mark.timeout(60)
def test_torch_is_not_needed(build: Any, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from edge.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["export", "onnx", str(build("map")), *PLAIN, "--out", str(tmp_path / "bundle")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.timeout(60)
def test_without_onnx_the_help_works_and_the_command_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'onnx_ir'): sys.modules[name] = None\n"
        "from edge.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, "export", "onnx", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
        )

    shown = run("--help")
    assert shown.returncode == 0
    assert "--without-limits" in shown.stdout
    refused = run("model.onnx", "--out", "bundle")
    assert refused.returncode == 2
    assert "Install the export extra" in " ".join(refused.stderr.split())
