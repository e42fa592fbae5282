"""The probe and the rounding of stored FP16, on small graphs whose numbers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx_ir", reason="the probe needs onnx_ir, which is not installed here")

import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edge.errors import BundleError
from export.overflow_probe import LARGEST_FP16, Peak, highest, probe, run_probed, within
from export.stored_fp16 import round_where_stored

HEAD = '<ir_version: 8, opset_import: ["" : 18]> g (float[1,3,1,2] x) => (float[1,3,1,2] y)'
THERE_AND_BACK = """
    [into] h = Cast<to = 10>(x)
    [grow] up = Mul(h, thousand)
    [turn] turned = Transpose<perm = [0, 1, 3, 2]>(up)
    [shrink] down = Mul(turned, thousandth)
    [turn_back] back = Transpose<perm = [0, 1, 3, 2]>(down)
    [out_of] y = Cast<to = 1>(back)
"""
CONSTANTS = {"thousand": np.array(1000, np.float16), "thousandth": np.array(0.001, np.float16)}


def saved(path: Path, nodes: str, **constants: NDArray[np.generic]) -> Path:
    model = onnx.parser.parse_model(f"{HEAD} {{ {nodes} }}")
    for name, array in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Multiplies by a thousand and by a thousandth, in FP16."""
    return saved(tmp_path / "model.onnx", THERE_AND_BACK, **CONSTANTS)


def pictures(*values: float) -> list[NDArray[np.float32]]:
    """One picture of each value, but for one pixel that is 1."""
    made = [np.full((1, 3, 1, 2), value, np.float32) for value in values]
    for picture in made:
        picture[0, 1, 0, 1] = 1
    return made


def test_every_float_node_is_told_in_order(graph: Path) -> None:
    peaks = probe(graph, pictures(-2))
    assert [peak.node for peak in peaks] == ["into", "grow", "turn", "shrink", "turn_back", "out_of"]
    assert [peak.largest for peak in peaks] == pytest.approx([2, 2000, 2000, 2, 2, 2], rel=1e-3)


def test_the_largest_of_all_pictures_counts(graph: Path) -> None:
    assert probe(graph, pictures(2, 7, 3), fp16_only=True)[1].largest == 7000


def test_of_fp16_alone_what_is_only_moved_or_stored_otherwise_is_left_out(graph: Path) -> None:
    peaks = probe(graph, pictures(2), fp16_only=True)
    assert [peak.node for peak in peaks] == ["into", "grow", "shrink"]


def test_onnx_runtime_by_itself_hides_an_overflow_and_the_probe_does_not(graph: Path) -> None:
    (picture,) = pictures(70)
    plain = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    assert np.isfinite(plain.run(None, {"x": picture})[0]).all()
    run = run_probed(graph, [picture], fp16_only=True)
    overflow = highest(run.peaks)
    assert (overflow.node, overflow.largest, overflow.fits) == ("grow", np.inf, False)
    found = run.outputs["y"]
    assert np.isinf(found).sum() == 5
    assert found[0, 1, 0, 1] == pytest.approx(1, rel=1e-3)


def test_a_graph_in_single_precision_foretells_it_in_figures(tmp_path: Path) -> None:
    single = THERE_AND_BACK.replace("Cast<to = 10>(x)", "Identity(x)").replace("Cast<to = 1>", "Identity")
    constants = {name: array.astype(np.float32) for name, array in CONSTANTS.items()}
    peaks = probe(saved(tmp_path / "single.onnx", single, **constants), pictures(70))
    assert {peak.node for peak in peaks if not peak.fits} == {"grow", "turn"}
    assert highest(peaks).largest == pytest.approx(70_000)


def test_every_fp16_result_is_rounded_once_and_products_sum_in_single(tmp_path: Path) -> None:
    nodes = "h = Cast<to = 10>(x) t = MatMul(h, w) s = Add(t, small) y = Cast<to = 1>(s)"
    weight = np.array([[0.1, 0.7], [2048, 0.3]], np.float16)
    small = np.array(0.4, np.float16)
    path = saved(tmp_path / "model.onnx", nodes, w=weight, small=small)
    picture = np.random.default_rng(1).uniform(-3, 3, (1, 3, 1, 2)).astype(np.float32)
    product = (picture.astype(np.float16).astype(np.float32) @ weight.astype(np.float32)).astype(np.float16)
    expected = (product.astype(np.float32) + small.astype(np.float32)).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(run_probed(path, [picture], fp16_only=True).outputs["y"], expected)


def test_outputs_of_several_pictures_stand_side_by_side(graph: Path) -> None:
    run = run_probed(graph, pictures(2, 3), fp16_only=True)
    assert run.outputs["y"].shape == (2, 3, 1, 2)
    assert run.outputs["y"][:, 0, 0, 0] == pytest.approx([2, 3], rel=1e-3)


def test_the_rewritten_graph_has_fp16_between_two_casts_alone(graph: Path) -> None:
    model = ir.load(graph)
    rounded = round_where_stored(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert len(rounded) == 3
    for node in model.graph:
        for value in (*node.inputs, *node.outputs):
            assert node.op_type == "Cast" or value is None or value.dtype == ir.DataType.FLOAT


def test_nothing_is_left_beside_the_graph(graph: Path) -> None:
    before = graph.read_bytes()
    probe(graph, pictures(2), fp16_only=True)
    assert [entry.name for entry in graph.parent.iterdir()] == [graph.name]
    assert graph.read_bytes() == before


def test_a_graph_that_does_not_run_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", "[odd] y = MatMul(x, x)")
    with pytest.raises(BundleError, match=r"model\.onnx cannot be probed for overflow"):
        probe(path, pictures(1))


@pytest.mark.parametrize(
    ("largest", "fits", "headroom"),
    [
        (1.0, True, 65504.0),
        (LARGEST_FP16, True, 1.0),
        (np.nextafter(LARGEST_FP16, np.inf), False, 0.0),
        (float("inf"), False, 0.0),
        (float("nan"), False, 0.0),
        (0.0, True, float("inf")),
    ],
)
def test_headroom(largest: float, fits: bool, headroom: float) -> None:
    peak = Peak("/a/Mul", largest)
    assert (peak.fits, peak.headroom) == (fits, headroom)


def test_peaks_of_one_module_and_the_worst_of_them() -> None:
    peaks = [Peak("/a.1/Mul", 5.0), Peak("/a.1/Add", 9.0), Peak("/a.11/Mul", float("nan"))]
    assert highest(within(peaks, "/a.1/")).node == "/a.1/Add"
    assert highest(peaks).node == "/a.11/Mul"
