"""Layers of an engine, from the inspector's JSON. The texts are made up to the documented form."""

import json

import pytest

from export.engine.inspector_report import EngineLayers, read_inspector

DETAILED = {
    "Layers": [
        {"Name": "Reformatting CopyNode for Input Tensor 0", "LayerType": "Reformat", "TacticName": ""},
        {"Name": "_gemm_mha_v2_myl0_7", "LayerType": "gemm", "TacticName": "_gemm_mha_v2_0x1234"},
        {"Name": "__myl_Fc_myl0_8", "LayerType": "gemm", "TacticName": "sm80_xmma_gemm_f16f16"},
        {"Name": "attention 2", "LayerType": "kgen", "TacticName": "fused_MHA_kernel"},
    ],
    "Bindings": ["image", "image_score", "anomaly_map"],
}


def test_layers_that_are_an_attention_are_counted_once_each():
    assert read_inspector(json.dumps(DETAILED)) == EngineLayers(layers=4, fused_attentions=2)


def test_plain_names_are_understood():
    assert read_inspector('{"Layers": ["conv", "_gemm_mha_v2_myl0_7"]}') == EngineLayers(2, 1)


def test_nothing_fused():
    assert read_inspector('{"Layers": [{"Name": "softmax"}]}') == EngineLayers(1, 0)


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "{}", '{"Layers": 3}', '{"Layers": [{"Name": "x"},]}']
)
def test_text_that_is_no_report(text):
    assert read_inspector(text) is None
