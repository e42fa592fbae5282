"""Every rule of the lint, with a graph that keeps it and one that breaks it and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="the lint needs onnx_ir, which is not installed here")

import onnx
import onnx_ir as ir
from onnx import numpy_helper

from edge.errors import BundleError
from export.graph_lint import (
    attention_softmaxes,
    check_attentions,
    check_constants_finite,
    check_importable,
    check_layer_norm,
    check_operators,
    check_opset,
    check_static_shapes,
    lint,
)

NORM = "[norm] n = LayerNormalization(x, weight, bias)"
INTO_HALF = "[into_half] h = Cast<to = 10>(n)"
SCALE = "[scale] q = Mul(h, eighth)"
TURN = "[turn] k = Transpose<perm = [0, 2, 1]>(h)"
SCORES = "[scores] a = MatMul(q, k)"
SOFTMAX = "[softmax] p = Softmax<axis = -1>(a)"
VALUES = "[values] v = MatMul(p, h)"
OUT_OF_HALF = "[out_of_half] r = Cast<to = 1>(v)"
SUM = "[sum] y = Add(x, r)"
BLOCK = (NORM, INTO_HALF, SCALE, TURN, SCORES, SOFTMAX, VALUES, OUT_OF_HALF, SUM)

CONSTANTS = {
    "weight": np.ones(2, np.float32),
    "bias": np.zeros(2, np.float32),
    "eighth": np.array(0.125, np.float16),
    "text": np.eye(2, dtype=np.float16),
    "bits": np.array(1e-5, np.float32),
    "half": np.array([0.5, 0.5, 0.5], np.float32),
    "twice": np.array([1, 1, 2], np.float32),
    "two": np.array([2], np.int64),
    "limit": np.array([3841], np.int64),
    "last": np.array([-1], np.int64),
}


def model(
    *nodes: str, opset: int = 18, x: str = "float[1,3,2]", y: str = "float[1,3,2]", **constants: np.ndarray
) -> ir.Model:
    """A graph x → y in ONNX's own notation, `[name] output = Operator(inputs)`, with shapes inferred."""
    domains = f'"" : {opset}, "own" : 1'
    text = f"<ir_version: 8, opset_import: [{domains}]> g ({x} x) => ({y} y) {{ {' '.join(nodes)} }}"
    proto = onnx.parser.parse_model(text)
    used = {name for node in proto.graph.node for name in node.input}
    for name, array in (CONSTANTS | constants).items():
        if name in used:
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def block(**changed: str) -> ir.Model:
    """The attention block with nodes replaced, by the names of the constants above in lower case."""
    names = {"NORM", "INTO_HALF", "SCALE", "TURN", "SCORES", "SOFTMAX", "VALUES", "OUT_OF_HALF", "SUM"}
    assert {name.upper() for name in changed} <= names
    order = ("norm", "into_half", "scale", "turn", "scores", "softmax", "values", "out_of_half", "sum")
    return model(*(changed.get(name, node) for name, node in zip(order, BLOCK, strict=True)))


def test_a_graph_of_our_form_is_accepted() -> None:
    sound = block()
    onnx.checker.check_model(ir.to_proto(sound), full_check=True)
    lint(sound, attentions=1)
    assert [node.name for node in attention_softmaxes(sound)] == ["softmax"]


@pytest.mark.parametrize("opset", [16, 19, 23])
def test_opset(opset: int) -> None:
    with pytest.raises(BundleError, match=f"has opset {opset}; 17 or 18 is needed"):
        check_opset(model("[only] y = Relu(x)", opset=opset))
    for accepted in (17, 18):
        check_opset(model("[only] y = Relu(x)", opset=accepted))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("[odd] y = Det(x)", "The node odd is Det, which is not on the list"),
        ("[odd] y = IsInf(x)", "The node odd is IsInf"),
        ("[odd] y = own.Relu(x)", "The node odd is Relu"),  # a known name in a foreign domain
        ("y = NonZero(x)", "The node NonZero is NonZero"),  # unnamed: the operator stands for the name
        ('[odd] y = Resize<mode = "cubic">(x, , twice)', "The node odd resizes by cubic"),
        ("[odd] y, i = TopK(x, limit)", "The node odd is a TopK with K above 3840"),
        ("s = Shape(x) k = Slice(s, two, two) [odd] y, i = TopK(x, k)", "The node odd is a TopK whose K"),
    ],
)
def test_operators(node: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_operators(model(node))


@pytest.mark.parametrize(
    "node",
    [
        "[fine] y = Resize(x, , twice)",  # nearest, ONNX's default
        '[fine] y = Resize<mode = "linear">(x, , twice)',
        "[fine] y, i = TopK(x, two)",
    ],
)
def test_operators_within_their_limits(node: str) -> None:
    check_operators(model(node))


def test_functions_must_be_inlined() -> None:
    own = model("[only] y = Relu(x)")
    with_function = ir.Model(
        own.graph,
        ir_version=8,
        functions=[ir.Function("own", "F", graph=ir.Graph([], [], nodes=[]), attributes=[])],
    )
    with pytest.raises(BundleError, match="has functions of its own"):
        check_operators(with_function)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (model("[a] y = Relu(x)", x="float[N,3,2]", y="float[N,3,2]"), "The input x has the shape"),
        (model("[a] y = Relu(x)", x="float[0,3,2]", y="float[0,3,2]"), "The input x has the shape"),
        (model("[a] z = own.Unknown(x) [b] y = Relu(z)"), "The node a has no known shape at z"),
        (model("[a] z = NonZero(x) [b] y = Cast<to = 1>(z)", y="float[3,M]"), "The node a has the shape"),
    ],
)
def test_static_shapes(graph: ir.Model, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_static_shapes(graph)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float32("nan"), "The constant bits is not finite"),
        (np.float32("-inf"), "The constant bits is not finite"),
        (np.float16("inf"), "The constant bits is beyond the range of FP16"),
    ],
)
def test_constants(value: np.generic, message: str) -> None:
    kind = "float16" if value.dtype == np.float16 else "float"
    graph = model(
        "[only] y = Add(x, bits)", x=f"{kind}[2]", y=f"{kind}[2]", bits=np.array([1, value], value.dtype)
    )
    with pytest.raises(BundleError, match=message):
        check_constants_finite(graph)


def test_constant_nodes_count_as_constants() -> None:
    node = ir.node("Constant", [], attributes={"value": ir.tensor(np.array([np.inf], np.float32))}, name="c")
    graph = ir.Graph([], node.outputs, nodes=[node], opset_imports={"": 18})
    with pytest.raises(BundleError, match="The node c is not finite"):
        check_constants_finite(ir.Model(graph, ir_version=8))


def test_a_layer_norm_is_there() -> None:
    with pytest.raises(BundleError, match="has attentions and no LayerNormalization"):
        check_layer_norm(block(norm="[norm] n = Mul(x, weight)"))


def test_a_layer_norm_computes_in_single_precision() -> None:
    half = model(
        "[norm] y = LayerNormalization(x, weight, bias)",
        x="float16[1,3,2]",
        y="float16[1,3,2]",
        weight=np.ones(2, np.float16),
        bias=np.zeros(2, np.float16),
    )
    with pytest.raises(
        BundleError, match="The node norm is a LayerNormalization that is not computed in FP32"
    ):
        check_layer_norm(half)


def test_a_layer_norm_is_one_operator() -> None:
    parts = model(
        "[norm] n = LayerNormalization(x, weight, bias)",
        "m = ReduceMean(n, last)",
        "c = Sub(n, m)",
        "s = Mul(c, c)",
        "u = ReduceMean(s, last)",
        "w = Add(u, bits)",
        "[deviation] d = Sqrt(w)",
        "y = Div(c, d)",
    )
    with pytest.raises(BundleError, match="The node deviation belongs to a LayerNorm in parts"):
        check_layer_norm(parts)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        # casts on every edge of q kᵀ - softmax - v
        (
            {"softmax": "[into] a1 = Cast<to = 1>(a) p1 = Softmax(a1) [back] p = Cast<to = 10>(p1)"},
            "The node into is a cast inside an attention",
        ),
        (
            {"values": "[into] p1 = Cast<to = 1>(p) h1 = Cast<to = 1>(h) v = MatMul(p1, h1)"},
            "The node into is a cast inside an attention",
        ),
        (
            {
                "scale": "q0 = Mul(h, eighth) [into] q = Cast<to = 1>(q0)",
                "turn": "k0 = Transpose<perm = [0, 2, 1]>(h) k = Cast<to = 1>(k0)",
                "values": "h1 = Cast<to = 1>(h) v = MatMul(p, h1)",
                "out_of_half": "r = Identity(v)",
            },
            "The node into is a cast inside an attention",
        ),
        # the scale on the scores, on k, on both sides, twice, nowhere, as a division
        (
            {"scale": "q = Identity(h)", "scores": "a0 = MatMul(q, k) [late] a = Mul(a0, eighth)"},
            "The node late scales the scores",
        ),
        (
            {
                "scale": "q = Identity(h)",
                "turn": "t = Transpose<perm = [0, 2, 1]>(h) [late] k = Mul(t, eighth)",
            },
            "The node late scales k",
        ),
        (
            {"turn": "[late] t = Mul(h, eighth) k = Transpose<perm = [0, 2, 1]>(t)"},
            "The node late scales k",
        ),
        (
            {"scale": "q0 = Mul(h, eighth) q = Mul(q0, eighth)"},
            "The node scores is an attention whose q is scaled 2 times",
        ),
        ({"scale": "q = Identity(h)"}, "The node scores is an attention whose q is scaled 0 times"),
        # not an attention at all
        ({"softmax": "p = Relu(a)"}, "has 0 attentions in place of 1"),
        ({"values": "v = Add(p, p)", "sum": "y = Identity(r)"}, "has 0 attentions in place of 1"),
    ],
)
def test_attentions(changed: dict[str, str], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_attentions(block(**changed), attentions=1)


def test_an_attention_in_single_precision_may_be_asked_for() -> None:
    single = block(softmax="a1 = Cast<to = 1>(a) p1 = Softmax(a1) p = Cast<to = 10>(p1)")
    check_attentions(single, attentions=1, fp32_softmax=True)
    with pytest.raises(BundleError, match="has 1 attentions in place of 2"):
        check_attentions(single, attentions=2, fp32_softmax=True)


def test_an_attention_operator_is_refused() -> None:
    attention = model("[whole] y = Attention(x, x, x)", opset=23)
    with pytest.raises(BundleError, match="The node whole is Attention"):
        check_operators(attention)


def test_the_similarity_to_a_text_is_no_attention() -> None:
    similarity = model(
        NORM, INTO_HALF, "s = MatMul(h, text)", "p = Softmax(s)", "v = MatMul(p, text)", OUT_OF_HALF, SUM
    )
    assert attention_softmaxes(similarity) == []
    lint(similarity, attentions=0)


def test_values_attending_to_themselves_are_an_attention() -> None:
    lint(block(turn="k = Transpose<perm = [0, 2, 1]>(h)", scale=SCALE), attentions=1)


def test_a_mask_between_product_and_softmax_is_allowed() -> None:
    check_attentions(block(scores="a0 = MatMul(q, k) a = Add(a0, a0)"), attentions=1)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: model("[a] y = Det(x)"),
        lambda: model("[a] y = Relu(x)", x="float[N,3,2]", y="float[N,3,2]"),
        lambda: model("[a] y = Mul(x, weight)", weight=np.array([1, np.nan], np.float32)),
    ],
)
def test_an_imported_graph_is_held_to_operators_shapes_and_constants(broken: Callable[[], ir.Model]) -> None:
    check_importable(model("[a] y = Relu(x)", opset=14))
    with pytest.raises(BundleError):
        check_importable(broken())


@pytest.mark.parametrize(
    "broken",
    [
        lambda: model(*BLOCK, opset=19),
        lambda: block(sum="[sum] y = Mod<fmod = 1>(x, r) [odd] z = Det(y)"),
        lambda: model(*BLOCK, weight=np.array([1, np.inf], np.float32)),
        lambda: block(norm="[norm] n = Mul(x, weight)"),
        lambda: block(scale="q = Identity(h)"),
    ],
)
def test_lint_applies_every_rule(broken: Callable[[], ir.Model]) -> None:
    with pytest.raises(BundleError, match="does not have the form that TensorRT needs"):
        lint(broken(), attentions=1)
