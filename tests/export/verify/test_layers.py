"""Where two forms of a network part: the search itself, and on graphs with one weight changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.manifest import MODEL_FP16, MODEL_FP32
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from export.verify import prove_parity
from export.verify.layers import (
    MULTIPLE,
    PASSES_IN_VAIN,
    Layer,
    relative_error,
    search,
    trace_half,
    where_it_starts,
)

C_FC = "/vision/transformer/resblocks.1/mlp/c_fc/MatMul"


def layers(sizes):
    return [Layer(f"layer {at}", "Add", size, at + 1) for at, size in enumerate(sizes)]


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    data=st.data(),
    budget=st.integers(1, 400),
)
def test_the_first_wrong_layer_is_found_within_the_budget(sizes, data, budget):
    wrong = data.draw(st.integers(0, len(sizes) - 1))
    passes = []

    def fetch(chosen):
        passes.append(sum(sizes[at] for at in chosen))
        assert passes[-1] <= budget or len(chosen) == 1
        return [1.0 if at >= wrong else 0.0 for at in chosen]

    trace = search(layers(sizes), fetch, "fp16", budget)
    assert trace.first is not None
    assert trace.first.layer.name == f"layer {wrong}"
    assert len(passes) <= len(sizes)


def test_few_passes_suffice():
    passes = []

    def fetch(chosen):
        passes.append(len(chosen))
        return [1.0 if at >= 700 else 0.0 for at in chosen]

    trace = search(layers([10] * 1000), fetch, "fp16", 500)
    assert trace.first.layer.name == "layer 700"
    assert len(passes) == 2


def test_nothing_wrong_is_said_with_how_much_was_compared():
    everything = search(layers([10] * 100), lambda chosen: [1e-5] * len(chosen), "fp16", 500)
    assert everything.first is None
    assert everything.compared == everything.layers == 100
    assert "No layer stands out of 100 layers compared" in everything.words()
    some = search(layers([10] * 100), lambda chosen: [1e-5] * len(chosen), "fp16", 100)
    assert some.compared == 10 * PASSES_IN_VAIN


def test_a_layer_wrong_in_passing_is_found_though_later_ones_are_right():
    trace = search(layers([10] * 100), lambda chosen: [float(at == 41) for at in chosen], "fp16", 500)
    assert trace.first.layer.name == "layer 41"


def test_large_is_beyond_a_multiple_of_the_roundings_so_far():
    error = MULTIPLE * 2.0**-11 * 3.0
    at_nine = search(layers([1] * 9), lambda chosen: [error * 1.01] * len(chosen), "fp16", 99)
    assert at_nine.first.layer.roundings == 1
    below = search([Layer("x", "Add", 1, 9)], lambda _chosen: [error * 0.99], "fp16", 99)
    assert below.first is None


@pytest.mark.parametrize(
    ("b", "error"),
    [
        ([3.0, 4.0], 0.0),
        ([3.0, 4.5], 0.1),
        ([3.0, math.nan], math.inf),
        ([3.0, math.inf], math.inf),
        ([3.0], math.inf),
    ],
)
def test_relative_error(b, error):
    assert relative_error(np.asarray([3.0, 4.0]), np.asarray(b)) == pytest.approx(error)


def test_relative_error_of_nothing():
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.zeros(3), np.ones(3)) == math.inf


def golden_tensor(bundle):
    return input_tensor(bundle.golden().images[0], PixelFormat.RGB8, bundle.manifest.preprocessing)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_sound_graph_has_no_layer_that_stands_out(exported: Any):
    trace = trace_half(exported.bundle, golden_tensor(exported.bundle))
    assert trace.first is None
    assert trace.compared == trace.layers > 100
    assert trace.worst.error < trace.worst.explained


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("budget", [1 << 28, 1 << 14])
def test_one_changed_weight_is_named(budget, sealed_copy, weight_changed):
    bundle = sealed_copy(
        weight_changed(MODEL_FP16, f"{C_FC}_input_1", lambda weight: weight * np.float16(1.5))
    )
    trace = trace_half(bundle, golden_tensor(bundle), budget)
    assert trace.first.layer.name == C_FC
    assert trace.first.layer.operator == "MatMul"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_export_refuses_such_a_graph_and_names_the_layer(sealed_copy, weight_changed):
    bundle = sealed_copy(
        weight_changed(MODEL_FP16, f"{C_FC}_input_1", lambda weight: weight * np.float16(1.5))
    )
    with pytest.raises(BundleError) as refused:
        prove_parity(bundle)
    assert refused.value.what.startswith("The FP16 network does not decide as the checkpoint does")
    assert "The first large error, of " in refused.value.what
    assert f"appears at {C_FC} (MatMul)" in refused.value.what


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_fp32_graph_is_compared_with_torch(sealed_copy, weight_changed, clip: Any, checkpoint: Any):
    from export.anomalyclip import AnomalyClipSettings, build_graph

    network = build_graph(
        clip, checkpoint, AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4), sigma=2.0)
    )
    bundle = sealed_copy(
        weight_changed(MODEL_FP32, f"{C_FC}_input_1", lambda weight: weight * np.float32(1.5))
    )
    with pytest.raises(BundleError, match=r"appears at vision\.transformer\.resblocks\.2\.ln_1"):
        prove_parity(bundle, network)
    tensor = golden_tensor(bundle)
    assert "only beside torch" in where_it_starts(bundle, "fp32", tensor)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_the_onnx_package_the_layer_cannot_be_told(exported: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    words = where_it_starts(exported.bundle, "fp16", golden_tensor(exported.bundle))
    assert words.startswith("The layer cannot be told. Looking into a graph needs the onnx package")
