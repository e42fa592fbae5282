"""The proof against the file finds what a wrong cut would do; without it, no bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.errors import BundleError
from edge.manifest import ReferenceLimits, ReferenceScale


@pytest.fixture
def cut(contract: ModuleType, tmp_path: Path) -> tuple[Any, Any]:
    """A checked file and the network cut from it."""
    from export.onnx_import.network import ImportSettings, network_of
    from export.onnx_import.source import read_source

    # High limits, so that the file's own score is not clipped on the golden frames.
    contract.THRESHOLD, contract.SPAN = 5.0, 20.0
    source = read_source(contract.anomalib_27(tmp_path / "model.onnx"))
    return source, network_of(source, ImportSettings())


def alter_weight(network: Any) -> None:
    import onnx_ir as ir

    weight = next(value for value in network.model.graph.initializers.values() if len(value.shape) == 4)
    array = weight.const_value.numpy().copy()
    array.flat[0] += 0.05
    weight.const_value = ir.tensor(array.astype(np.float32), name=weight.name)


def test_what_was_cut_right_agrees(cut: tuple[Any, Any]) -> None:
    from export.onnx_import.proof import prove_against_file

    agreement, golden = prove_against_file(*cut)
    assert agreement.passed
    assert agreement.normalised_score_error is not None
    assert agreement.score_scale == pytest.approx(float(np.abs(golden.image_score).max()))


def wrong_limits(network: Any) -> Any:
    wrong = ReferenceLimits(source="test", score=ReferenceScale(threshold=5.01, span=20.0))
    return replace(network, reference=wrong)


def wrong_weight(network: Any) -> Any:
    alter_weight(network)
    return network


@pytest.mark.parametrize("spoil", [wrong_limits, wrong_weight])
def test_what_was_cut_wrong_is_refused(cut: tuple[Any, Any], spoil: Callable[[Any], Any]) -> None:
    from export.onnx_import.proof import prove_against_file

    source, network = cut
    with pytest.raises(BundleError, match="does not say what the file says"):
        prove_against_file(source, spoil(network))
