"""The rules a graph must keep for TensorRT 10.3 to take it, to fuse it and to compute it right.

Every rule is a function of its own that raises `BundleError` naming the first node that breaks it. `lint` applies
all of them; an imported network, whose attentions nobody wrote out for fusion, must pass `check_importable`.

Sources: the operator table of onnx-tensorrt and NVIDIA's rules for fused multi-head attention. A LayerNorm split
into its parts overflows in FP16, an attention scaled after or on both sides of its first product is not fused and
was miscompiled, and a cast between its two products stops the fusion.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edge.errors import BundleError

OPSETS = (17, 18)
"""LayerNormalization is an operator from 17 on; the parser of TensorRT 10.3 is well worn up to 18."""

_OPERATOR_NAMES = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace Div Einsum Elu Equal Erf Exp
    Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool Greater GreaterOrEqual
    GridSample HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual
    Log LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mod Mul Neg Not OneHot Or PRelu Pad Pow Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile
    TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATOR_NAMES.split())
"""What the ONNX parser of TensorRT 10.3 takes, as far as an inspection network may need it. Left out although it
takes them: control flow, recurrence, random numbers and outputs whose size depends on the data."""

RESIZE_MODES = ("nearest", "linear")
TOP_K_LIMIT = 3840

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Split", "Slice"})
"""Operators that move values without computing."""

_BETWEEN_PRODUCT_AND_SOFTMAX = frozenset({"Cast", "Mul", "Div", "Add", "Where"})
_SCALES = frozenset({"Mul", "Div"})


def lint(model: ir.Model, attentions: int, *, fp32_softmax: bool = False) -> None:
    """Every rule, for a graph of ours with as many `attentions`.

    `fp32_softmax` allows the casts that it needs. Raises `BundleError` naming the node.
    """
    check_opset(model)
    check_importable(model)
    if attentions:
        check_layer_norm(model)
        check_attentions(model, attentions, fp32_softmax=fp32_softmax)


def check_importable(model: ir.Model) -> None:
    """What every graph must keep, whoever wrote it: operators, static shapes, finite constants.

    Shapes must have been inferred. Raises `BundleError` naming the node.
    """
    check_operators(model)
    check_static_shapes(model)
    check_constants_finite(model)


def check_opset(model: ir.Model) -> None:
    """The standard domain is at one of `OPSETS`."""
    version = model.opset_imports.get("")
    if version not in OPSETS:
        raise _broken("The model", f"has opset {version}; {OPSETS[0]} or {OPSETS[1]} is needed")


def check_operators(model: ir.Model) -> None:
    """Only operators of `OPERATORS`, within the limits that TensorRT sets to some of them."""
    if model.functions:
        raise _broken("The model", "has functions of its own; they must be inlined")
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise _broken(_told(node), f"is {node.op_type}, which is not on the list for TensorRT 10.3")
        if node.op_type == "Resize":
            _check_resize(node)
        elif node.op_type == "TopK":
            _check_top_k(node)


def check_static_shapes(model: ir.Model) -> None:
    """Every value has a shape of fixed, positive sizes."""
    for value in model.graph.inputs:
        _check_shape(f"The input {value.name}", value)
    for node in model.graph:
        for value in node.outputs:
            if value.name:  # an optional output that is not used has none
                _check_shape(_told(node), value)


def check_constants_finite(model: ir.Model) -> None:
    """No constant is NaN or infinite in its own type; one of FP16 overflowed when it was rounded."""
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            _check_finite(f"The constant {value.name}", value.const_value)
    for node in model.graph:
        constant = node.attributes.get("value")
        if node.op_type == "Constant" and constant is not None:
            _check_finite(_told(node), constant.as_tensor())


def check_layer_norm(model: ir.Model) -> None:
    """There is a LayerNormalization, each computes in FP32, and none is split into its parts."""
    norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
    if not norms:
        raise _broken("The model", "has attentions and no LayerNormalization, which must be one operator")
    for node in norms:
        if any(value is not None and value.dtype != ir.DataType.FLOAT for value in node.inputs):
            raise _broken(_told(node), "is a LayerNormalization that is not computed in FP32")
    for node in model.graph:
        if _is_deviation_of_split_norm(node):
            raise _broken(_told(node), "belongs to a LayerNorm in parts, which must be one operator")


def check_attentions(model: ir.Model, attentions: int, *, fp32_softmax: bool = False) -> None:
    """As many attentions as the network has, each written out, scaled once and on q, without a cast inside."""
    found = attention_softmaxes(model)
    for softmax in found:
        if not fp32_softmax:
            check_no_cast_inside(softmax)
        check_scaled_on_query(softmax)
    if len(found) != attentions:
        raise _broken("The model", f"has {len(found)} attentions in place of {attentions}")


def attention_softmaxes(model: ir.Model) -> list[ir.Node]:
    """The softmax of every attention: over the product of two computed tensors, multiplied by a third.

    The similarity to a constant text is none.
    """
    return [node for node in model.graph if _is_attention(node)]


def check_no_cast_inside(softmax: ir.Node) -> None:
    """No cast between the two products and the softmax, and none that widens q, k or v before a product."""
    product, between = _scores(softmax)
    users = [use.node for use in softmax.outputs[0].uses()]
    products = [node for node in (product, *users) if node is not None and node.op_type == "MatMul"]
    entering = (_moved_by(value) for node in products for value in node.inputs)
    for node in (*between, *users, *(node for node in entering if _widens(node))):
        if node is not None and node.op_type == "Cast":
            raise _broken(_told(node), "is a cast inside an attention, which then is not fused")


def check_scaled_on_query(softmax: ir.Node) -> None:
    """One multiply, on q, before the first product: not on k, not on the scores, not twice."""
    product, between = _scores(softmax)
    late = [node for node in between if node.op_type in _SCALES]
    if late or product is None:
        raise _broken(
            _told((late or [softmax])[0]), "scales the scores of an attention; only q may be scaled"
        )
    query, key = (_scales(value) for value in product.inputs)
    if key:
        raise _broken(_told(key[0]), "scales k; of an attention only q may be scaled")
    if len(query) != 1:
        raise _broken(
            _told(product), f"is an attention whose q is scaled {len(query)} times in place of once"
        )


def _check_resize(node: ir.Node) -> None:
    mode = node.attributes.get_string("mode", "nearest")
    if mode not in RESIZE_MODES:
        raise _broken(_told(node), f"resizes by {mode}; TensorRT has {' and '.join(RESIZE_MODES)}")


def _check_top_k(node: ir.Node) -> None:
    value = node.inputs[1]
    count = None if value is None else ir.convenience.get_const_tensor(value)
    if count is None:
        raise _broken(_told(node), "is a TopK whose K is computed; TensorRT needs a constant")
    if int(count.numpy().max()) > TOP_K_LIMIT:
        raise _broken(_told(node), f"is a TopK with K above {TOP_K_LIMIT}, which TensorRT does not take")


def _check_shape(what: str, value: ir.Value) -> None:
    if value.shape is None:
        raise _broken(what, f"has no known shape at {value.name}; every size must be fixed")
    if not all(isinstance(size, int) and size > 0 for size in value.shape):
        raise _broken(what, f"has the shape {value.shape} at {value.name}; every size must be fixed")


def _check_finite(what: str, tensor: ir.TensorProtocol) -> None:
    array = tensor.numpy()
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        half = array.dtype == np.float16
        raise _broken(what, "is beyond the range of FP16" if half else "is not finite")


def _is_attention(softmax: ir.Node) -> bool:
    if softmax.op_type != "Softmax":
        return False
    product, _between = _scores(softmax)
    if product is None or not all(_is_computed(value) for value in product.inputs):
        return False
    users = (use.node for use in softmax.outputs[0].uses())
    return any(user.op_type == "MatMul" or _feeds_product(user) for user in users)


def _feeds_product(node: ir.Node) -> bool:
    """Whether a cast of the probabilities enters a product."""
    return node.op_type == "Cast" and any(user.op_type == "MatMul" for user in node.successors())


def _scores(softmax: ir.Node) -> tuple[ir.Node | None, list[ir.Node]]:
    """The product that a softmax is taken of, None if it is of none, and the nodes between the two."""
    between: list[ir.Node] = []
    node = _producer(softmax.inputs[0])
    while node is not None and node.op_type in _BETWEEN_PRODUCT_AND_SOFTMAX:
        between.append(node)
        node = next((found for value in node.inputs if (found := _producer(value)) is not None), None)
    return (node if node is not None and node.op_type == "MatMul" else None), between


def _scales(value: ir.Value | None) -> list[ir.Node]:
    """The multiplications and divisions that a tensor of heads went through since it was projected."""
    found: list[ir.Node] = []
    node = _producer(value)
    while node is not None and node.op_type in _MOVES | _SCALES | {"Cast"}:
        if node.op_type in _SCALES:
            found.append(node)
        node = _producer(node.inputs[0])
    return found


def _moved_by(value: ir.Value | None) -> ir.Node | None:
    """The node that computed a value, seen through what only moves it."""
    node = _producer(value)
    while node is not None and node.op_type in _MOVES:
        node = _producer(node.inputs[0])
    return node


def _widens(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "Cast" and node.outputs[0].dtype != ir.DataType.FLOAT16


def _is_deviation_of_split_norm(node: ir.Node) -> bool:
    """√(mean of squares + ε), which only a LayerNorm in parts computes."""
    if node.op_type != "Sqrt":
        return False
    guarded = _producer(node.inputs[0])
    if guarded is None or guarded.op_type != "Add":
        return False
    mean = _producer(guarded.inputs[0])
    return mean is not None and mean.op_type == "ReduceMean"


def _is_computed(value: ir.Value | None) -> bool:
    """Whether a value depends on the picture; a constant, seen through what moves it, does not."""
    node = _producer(value)
    while node is not None and node.op_type in _MOVES | {"Cast"}:
        value = node.inputs[0]
        node = _producer(value)
    return node is not None or (value is not None and value.is_graph_input())


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _told(node: ir.Node) -> str:
    return f"The node {node.name or node.op_type}"


def _broken(what: str, how: str) -> BundleError:
    return BundleError(
        f"The graph does not have the form that TensorRT needs. {what} {how}.",
        do="Export with the torch and onnxscript that requirements/export.txt pins; an imported network must be "
        "exported again without that operator.",
    )
