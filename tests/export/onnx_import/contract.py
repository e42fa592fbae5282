"""Small ONNX files in the forms that anomalib's exporters write, built by hand to their contract.

They are not genuine exports: the network between head and tail is one convolution. What they copy is what an
importer relies on: names, shapes, the resize and crop in the graph, the constants and forms of the tail,
metadata. Genuine exports are tested by `test_genuine.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THRESHOLD, SPAN, MAP_THRESHOLD, MAP_SPAN = 0.4, 1.6, 0.3, 2.5
FLOAT = TensorProto.FLOAT


@dataclass
class Writer:
    """A graph in the making. `opset` and `producer` are what the exporters are told apart by."""

    opset: int = 14
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)

    def add(
        self, operator: str, *inputs: str, name: str | None = None, outputs: int = 1, **attributes: Any
    ) -> str:
        """A node; the name of its first output."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"node_{name}", **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        """A Constant node, as TorchScript writes it."""
        tensor = numpy_helper.from_array(np.asarray(value, kind))
        return self.add("Constant", value=tensor)

    def initializer(self, value: Any, kind: type = np.float32) -> str:
        """A stored tensor, as torch.export writes it."""
        name = f"stored_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def reduced(self, operator: str, value: str, axes: Sequence[int], keepdims: int) -> str:
        """Axes moved from attribute to input at opset 18."""
        if self.opset >= 18:
            return self.add(operator, value, self.initializer(axes, np.int64), keepdims=keepdims)
        return self.add(operator, value, axes=list(axes), keepdims=keepdims)

    def model(self, inputs: list[Any], outputs: list[Any]) -> Any:
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="pytorch"
        )
        model.ir_version = 10 if self.opset >= 18 else 7
        return model


def resized(writer: Writer, pixels: str, size: tuple[int, int]) -> str:
    """The resize of a picture of any size to `size`, its batch and channels read from the shape."""
    shape = writer.add("Shape", pixels)
    head = writer.add(
        "Slice",
        shape,
        writer.constant([0], np.int64),
        writer.constant([2], np.int64),
        writer.constant([0], np.int64),
    )
    sizes = writer.add("Concat", head, writer.constant(size, np.int64), axis=0)
    return writer.add(
        "Resize", pixels, "", "", sizes, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    )


def cropped(writer: Writer, pixels: str, box: tuple[int, int, int, int]) -> str:
    """Two Slices, rows first; the box is x, y, width, height."""
    x, y, width, height = box
    for axis, start, length in ((2, y, height), (3, x, width)):
        bounds = [writer.constant([number], np.int64) for number in (start, start + length, axis)]
        pixels = writer.add("Slice", pixels, *bounds)
    return pixels


def normalised(writer: Writer, pixels: str) -> str:
    centred = writer.add("Sub", pixels, writer.initializer(np.reshape(MEAN, (3, 1, 1))))
    return writer.add("Div", centred, writer.initializer(np.reshape(STD, (3, 1, 1))))


def network(writer: Writer, pixels: str, seed: int = 0) -> str:
    """A stand-in with a map that depends on every pixel nearby: (b, 3, h, w) → (b, 1, h, w), above 0."""
    random = np.random.default_rng(seed)
    features = writer.add(
        "Conv", pixels, writer.initializer(random.normal(0, 0.3, (4, 3, 5, 5))), pads=[2, 2, 2, 2]
    )
    squared = writer.add("Mul", features, features)
    return writer.add("Sqrt", writer.reduced("ReduceMean", squared, [1], 1))


def file_input(
    height: int | str = "height", width: int | str = "weight", batch: int | str = "batch_size"
) -> Any:
    return helper.make_tensor_value_info("input", FLOAT, [batch, 3, height, width])


def output(name: str, shape: Sequence[int | str], kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


JUNK = ("Divoutput_dim_0", "Divoutput_dim_1", "Divoutput_dim_2", "Divoutput_dim_3")
"""TorchScript makes names up for the sizes that it does not know."""


def front(
    writer: Writer, *, size: tuple[int, int] = (48, 48), crop: tuple[int, int, int, int] | None = None
) -> str:
    """What anomalib puts before every network."""
    pixels = resized(writer, "input", size)
    return normalised(writer, pixels if crop is None else cropped(writer, pixels, crop))


def anomalib_1x(path: Path, model: str, *, fixed: tuple[int, int] | None = None, **sizes: Any) -> Path:
    """By model: padim, patchcore, efficient_ad, dfm (fre), dfm_nll; raw outputs, the first one named `output`."""
    writer = Writer(opset=14)
    pixels = normalised(writer, "input") if fixed else front(writer, **sizes)
    maps = [network(writer, pixels, seed) for seed in range(3 if model == "efficient_ad" else 1)]
    score = writer.add("Mul", writer.reduced("ReduceMax", maps[0], [1, 2, 3], 0), writer.constant(1.5))
    order = {
        "padim": maps,
        "patchcore": [maps[0], score],
        "efficient_ad": maps,
        "dfm": [score, maps[0]],
        "dfm_nll": [score],
    }[model]
    writer.add("Identity", order[0], name="output")
    named = ["output", *order[1:]]
    shapes = [["batch_size"] if value == score else list(JUNK) for value in order]
    outputs = [output(name, shape) for name, shape in zip(named, shapes, strict=True)]
    height, width = fixed or ("height", "weight")
    onnx.save(writer.model([file_input(height, width)], outputs), path)
    return path


def metadata(path: Path, **changes: Any) -> Path:
    """metadata.json of 1.x; a key set to None is left out."""
    content = {
        "task": "classification",
        "image_threshold": 0.75,
        "pixel_threshold": 0.5,
        "pred_scores.min": 0.25,
        "pred_scores.max": 2.25,
        "anomaly_maps.min": 0.125,
        "anomaly_maps.max": 1.125,
    } | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def anomalib_2x(
    path: Path,
    *,
    validated: bool = True,
    labels: bool = True,
    pre_processor: bool = True,
    sensitivity: float = 0.5,
    fixed: tuple[int, int] | None = None,
    **sizes: Any,
) -> Path:
    """2.0 to 2.6 by TorchScript: the limits are Constant nodes."""
    writer = Writer(opset=14)
    pixels = "input"
    if pre_processor:
        pixels = normalised(writer, "input") if fixed else front(writer, **sizes)
    raw_map = network(writer, pixels)
    raw_score = writer.reduced("ReduceMax", raw_map, [-2, -1], 0)
    for name, raw, threshold, span in (
        ("pred_score", raw_score, THRESHOLD, SPAN),
        ("anomaly_map", raw_map, MAP_THRESHOLD, MAP_SPAN),
    ):
        if not validated:
            writer.add("Identity", raw, name=name)
            continue
        centred = writer.add("Sub", raw, writer.constant(threshold))
        scaled = writer.add("Add", writer.add("Div", centred, writer.constant(span)), writer.constant(0.5))
        writer.add("Clip", scaled, writer.constant(0), writer.constant(1), name=name)
    outputs = [output("pred_score", ["batch_size", 1]), output("anomaly_map", JUNK)]
    if labels:
        limit = writer.constant(np.float32(1 - sensitivity))
        writer.add("Greater", "pred_score", limit, name="pred_label")
        writer.add("Greater", "anomaly_map", limit, name="pred_mask")
        outputs.insert(1, output("pred_label", ["batch_size", 1], TensorProto.BOOL))
        outputs.append(output("pred_mask", JUNK, TensorProto.BOOL))
    height, width = fixed or ("height", "width")
    onnx.save(writer.model([file_input(height, width)], outputs), path)
    return path


def anomalib_27(
    path: Path,
    *,
    validated: bool = True,
    batch: int | str = "batch_size",
    data: bool = True,
    sort: bool = False,
) -> Path:
    """2.7 by torch.export: limits are stored tensors inside Where, and the weights lie in MODEL.onnx.data.

    `sort` writes the score as Dinomaly does: the mean of the head of a whole sort.
    """
    writer = Writer(opset=18)
    pixels = front(writer)
    raw_map = network(writer, pixels)
    raw_score = _head_of_sort(writer, raw_map) if sort else writer.reduced("ReduceMax", raw_map, [-2, -1], 0)
    for name, raw, threshold, span in (
        ("pred_score", raw_score, THRESHOLD, SPAN),
        ("anomaly_map", raw_map, MAP_THRESHOLD, MAP_SPAN),
    ):
        _wrapped_tail(writer, raw, name, threshold, span if validated else np.nan, validated)
    half = writer.initializer(0.5)
    writer.add("Greater", "pred_score", half, name="pred_label")
    writer.add("Greater", "anomaly_map", half, name="pred_mask")
    shape = [batch, 1, 48, 48]
    outputs = [
        output("pred_score", [batch] if sort else [batch, 1]),
        output("pred_label", [batch] if sort else [batch, 1], TensorProto.BOOL),
        output("anomaly_map", shape),
        output("pred_mask", shape, TensorProto.BOOL),
    ]
    model = writer.model([file_input("height", "width", batch)], outputs)
    location = f"{path.name}.data"
    onnx.save(model, path, save_as_external_data=data, location=location, size_threshold=256)
    return path


def _head_of_sort(writer: Writer, raw_map: str) -> str:
    flat = writer.add("Reshape", raw_map, writer.initializer([-1, 48 * 48], np.int64))
    whole = writer.initializer([48 * 48], np.int64)
    ordered = writer.add("TopK", flat, whole, outputs=2, axis=1, largest=1, sorted=1)
    start, end, axis, step = (writer.initializer([number], np.int64) for number in (0, 23, 1, 1))
    head = writer.add("Slice", ordered, start, end, axis, step)
    return writer.reduced("ReduceMean", head, [1], 0)


def _wrapped_tail(
    writer: Writer, raw: str, name: str, threshold: float, span: float, has_range: bool
) -> None:
    limit, zero, one, half = (writer.initializer(number) for number in (threshold, 0, 1, 0.5))
    centred = writer.add("Sub", raw, limit)
    scaled = writer.add("Add", writer.add("Div", centred, writer.initializer(span)), half)
    clipped = writer.add("Clip", scaled, zero, one)
    below = writer.add("Where", writer.add("Less", raw, limit), zero, half)
    degenerate = writer.add("Where", writer.add("Greater", raw, limit), one, below)
    inner = writer.add("Where", writer.initializer(False, np.bool_), degenerate, clipped)
    writer.add("Where", writer.initializer(has_range, np.bool_), inner, raw, name=name)
