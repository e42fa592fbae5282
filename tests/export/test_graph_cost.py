"""The cost report: every kind of product by hand, and exported networks against the closed formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, helper, numpy_helper

from edge.errors import BundleError
from export.graph_cost import GraphCost, graph_cost

Shape = tuple[int | str | None, ...]


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, Shape], weights: dict[str, np.ndarray] | None = None
) -> onnx_ir.Model:
    """A graph without any shapes but those of its inputs and weights."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    domains = {node.domain for node in nodes}
    return onnx_ir.from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, 18) for domain in domains])
    )


def one_node(kind: str, first: Shape, second: Shape, **attributes: object) -> onnx_ir.Model:
    return model_of([helper.make_node(kind, ["a", "b"], ["y"], **attributes)], {"a": first, "b": second})


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("model", "multiply_adds"),
    [
        (one_node("MatMul", (5, 7), (7, 3)), 5 * 7 * 3),
        # two attention heads of four tokens, q times k transposed
        (one_node("MatMul", (1, 2, 4, 64), (1, 2, 64, 4)), 2 * 4 * 4 * 64),
        # leading dimensions are broadcast
        (one_node("MatMul", (6, 1, 5, 7), (2, 7, 3)), 6 * 2 * 5 * 7 * 3),
        # a vector on one side or on both
        (one_node("MatMul", (7,), (7, 3)), 7 * 3),
        (one_node("MatMul", (5, 7), (7,)), 5 * 7),
        (one_node("MatMul", (7,), (7,)), 7),
        (one_node("Gemm", (5, 7), (7, 3)), 5 * 7 * 3),
        (one_node("Gemm", (7, 5), (7, 3), transA=1), 5 * 7 * 3),
        (one_node("Gemm", (5, 7), (3, 7), transB=1), 5 * 7 * 3),
        # patches of 8 px from 36: 4 by 4, four pixels left over
        (one_node("Conv", (1, 3, 36, 36), (128, 3, 8, 8), strides=[8, 8]), 16 * 128 * 3 * 64),
        (one_node("Conv", (2, 4, 9, 9), (6, 4, 3, 3), pads=[1, 1, 1, 1]), 2 * 81 * 6 * 4 * 9),
        # depthwise: every output channel sees one input channel
        (one_node("Conv", (1, 4, 9, 9), (4, 1, 3, 3), group=4), 49 * 4 * 9),
        (one_node("Conv", (1, 2, 9), (5, 2, 3), dilations=[2]), 5 * 5 * 2 * 3),
        # upsampling by 2: each of 25 positions is spread over a 2 by 2 filter
        (one_node("ConvTranspose", (1, 4, 5, 5), (4, 6, 2, 2), strides=[2, 2]), 25 * 4 * 6 * 4),
        (one_node("Add", (5, 7), (5, 7)), 0),
    ],
)
def test_one_operator(model: onnx_ir.Model, multiply_adds: int) -> None:
    cost = graph_cost(model)
    assert cost.multiply_adds == multiply_adds
    assert cost.gflop == pytest.approx(2 * multiply_adds / 1e9)
    assert cost.not_counted == ()


def test_products_and_convolutions_are_told_apart_and_added() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["patches"], strides=[8, 8]),
        helper.make_node("Flatten", ["patches"], ["rows"], axis=2),
        helper.make_node("MatMul", ["rows", "weight"], ["y"]),
    ]
    weights = {"filters": ones(128, 3, 8, 8), "weight": ones(16, 5)}
    cost = graph_cost(model_of(nodes, {"image": (1, 3, 36, 36)}, weights))
    assert (cost.convolutions, cost.matrix_products) == (16 * 128 * 192, 128 * 16 * 5)
    assert cost.multiply_adds == cost.convolutions + cost.matrix_products


def test_constants_are_counted_by_dtype_wherever_they_are_stored() -> None:
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([5, -1]))),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("MatMul", ["b", "weight"], ["y"]),
    ]
    weights = {"weight": ones(7, 3), "half": np.ones((100, 2), np.float16)}
    cost = graph_cost(model_of(nodes, {"a": (35,)}, weights))
    assert list(cost.bytes_by_dtype.items()) == [("FLOAT16", 400), ("FLOAT", 84), ("INT64", 16)]
    assert cost.parameter_bytes == 500


def test_operators_that_are_left_out_are_named() -> None:
    nodes = [
        helper.make_node("Einsum", ["a", "b"], ["c"], equation="ij,jk->ik"),
        helper.make_node("FusedMatMul", ["c", "c"], ["d"], domain="com.microsoft"),
        helper.make_node("Einsum", ["c", "c"], ["y"], equation="ij,ij->ij"),
    ]
    cost = graph_cost(model_of(nodes, {"a": (3, 3), "b": (3, 3)}))
    assert cost.not_counted == ("Einsum", "com.microsoft.FusedMatMul")
    assert cost.multiply_adds == 0


def test_counting_leaves_the_model_as_it_was() -> None:
    model = one_node("MatMul", (5, 7), (7, 3))
    before = onnx_ir.to_proto(model).SerializeToString()
    graph_cost(model)
    assert onnx_ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("batch", ["batch", None])
def test_shapes_that_are_not_static_are_refused(batch: str | None) -> None:
    with pytest.raises(BundleError, match=r"cost of MatMul .* its shapes are not static") as caught:
        graph_cost(one_node("MatMul", (batch, 7), (7, 3)))
    assert "one fixed input size" in caught.value.do


def closed_formula(
    *, patch: int, width: int, layers: int, grid: int, embed: int, dual_blocks: int, maps: int
) -> int:
    """Multiply-adds of AnomalyCLIP's image side: plain CLIP, the new path, less what feeds nothing, plus the
    projections and similarities of the class token and of each map's patches."""
    tokens = grid**2 + 1
    base = 3 * patch**2 * width * grid**2 + layers * (12 * width**2 * tokens + 2 * tokens**2 * width)
    new_path = dual_blocks * (2 * tokens**2 * width + width**2 * tokens)
    # in the last block only the class token has a query, an output row and an MLP
    idle = (tokens - 1) * (10 * width**2 + 2 * tokens * width)
    rows = maps * grid**2 + 1
    return base + new_path - idle + rows * embed * (width + 2)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("dpam", "features", "legacy", "dual_blocks", "maps"),
    [
        (2, (4,), False, 1, 1),
        (5, (1, 2, 3, 4), False, 4, 4),
        # the new path ends at the last block that is tapped
        (5, (2,), False, 2, 1),
        (2, (1, 2), False, 0, 2),
        # legacy: one map of the finished path, counted twice in the sum
        (4, (2, 3), True, 3, 1),
    ],
)
def test_exported_networks_cost_what_the_formula_says(
    dpam: int,
    features: tuple[int, ...],
    legacy: bool,
    dual_blocks: int,
    maps: int,
    clip: object,
    checkpoint: object,
    exported_model: Callable[..., onnx_ir.Model],
) -> None:
    cost = graph_cost(exported_model(dpam=dpam, features=features, legacy_features=legacy))
    expected = closed_formula(
        patch=8, width=128, layers=4, grid=4, embed=32, dual_blocks=dual_blocks, maps=maps
    )
    assert cost.multiply_adds == expected
    assert cost.not_counted == ()
    assert cost.parameter_bytes == cost.bytes_by_dtype["FLOAT"] + cost.bytes_by_dtype.get("INT64", 0)


@pytest.fixture(scope="module")
def exported_model(clip: object, checkpoint: object) -> Callable[..., onnx_ir.Model]:
    """The small model of `conftest.py` at 36 px, as ONNX, for settings of the training."""
    from export.anomalyclip import AnomalyClipSettings, build_graph
    from export.onnx_from_torch import onnx_from_torch

    def make(**settings: object) -> onnx_ir.Model:
        return onnx_from_torch(
            build_graph(clip, checkpoint, AnomalyClipSettings(image_size=36, **settings))  # type: ignore[arg-type]
        )

    return make


def test_a_cost_adds_up() -> None:
    cost = GraphCost(3, 4, {"FLOAT": 8, "INT64": 16}, ())
    assert (cost.multiply_adds, cost.gflop, cost.parameter_bytes) == (7, 14e-9, 24)
