"""The parity proof: its reference, its figures, and that it refuses what does not match."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from edge.anomaly_map import full_map
from edge.bundle import Bundle, open_bundle
from edge.errors import BundleError
from edge.manifest import GOLDEN, MANIFEST, PARITY, MapSpec
from export.pack import file_hashes, write_arrays
from export.verify import GraphParity, Parity, prove_parity, reference_map

if TYPE_CHECKING:
    from export.bundle_from_anomalyclip import Exported

WITHIN = GraphParity(
    precision="fp32",
    runner="test",
    frames=3,
    score_error=1e-5,
    grid_map_error=1e-5,
    anomaly_map_error=1e-5,
    score_tolerance=2e-5,
    map_tolerance=1e-4,
    anomaly_map_tolerance=1e-4,
)


@pytest.mark.parametrize(
    ("grid", "size", "sigma"), [(4, 36, 2.0), (4, 134, 4.0), (10, 140, 4.0), (3, 9, 0.0)]
)
def test_shipped_smoothing_equals_the_reference(grid: int, size: int, sigma: float) -> None:
    grid_map = np.random.default_rng(grid).random((grid, grid), np.float32)
    spec = MapSpec(grid=(grid, grid), sigma_px=sigma)
    np.testing.assert_allclose(
        full_map(grid_map, spec, (size, size)), reference_map(grid_map, spec, (size, size)), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("name", ["score_error", "grid_map_error", "anomaly_map_error"])
@pytest.mark.parametrize("value", [2e-4, float("nan"), float("inf")])
def test_any_figure_out_of_tolerance_fails(name: str, value: float) -> None:
    assert WITHIN.passed
    assert not replace(WITHIN, **{name: value}).passed


def test_one_graph_that_fails_fails_the_bundle() -> None:
    assert Parity((WITHIN, WITHIN)).passed
    assert not Parity((WITHIN, replace(WITHIN, precision="fp16", score_error=1.0))).passed


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_figures_travel_in_the_bundle(exported: Exported) -> None:
    figures = json.loads((exported.bundle.folder / PARITY).read_text())
    assert figures["passed"] is True
    for precision, largest in (("fp32", 1e-5), ("fp16", 1e-2)):
        graph = figures["graphs"][precision]
        assert graph["frames"] == 3
        assert 0 < graph["anomaly_map_error"] < largest
        assert graph["map_tolerance"] == pytest.approx(1e-4 if precision == "fp32" else 6e-3)
    assert figures["overflow"]["pictures"] == 3
    assert figures["overflow"]["headroom"] > 1
    assert PARITY in exported.bundle.manifest.files


def altered(exported: Exported, out: Path, alter: Callable[[dict[str, NDArray[np.float32]]], None]) -> Bundle:
    """A copy of the bundle whose golden outputs were changed and sealed again."""
    folder = Path(shutil.copytree(exported.bundle.folder, out))
    with np.load(folder / GOLDEN, allow_pickle=False) as stored:
        arrays = dict(stored)
    alter(arrays)
    write_arrays(folder / GOLDEN, arrays)
    manifest = yaml.safe_load((folder / MANIFEST).read_text()) | {"files": file_hashes(folder)}
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest))
    return open_bundle(folder)


def shift_score(arrays: dict[str, NDArray[np.float32]]) -> None:
    arrays["image_score"][1] += 1e-4


def shift_map(arrays: dict[str, NDArray[np.float32]]) -> None:
    arrays["grid_map"][2, 0, 3] -= 3e-4


def lose_map(arrays: dict[str, NDArray[np.float32]]) -> None:
    arrays["grid_map"][0] = np.nan


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("alter", [shift_score, shift_map, lose_map])
def test_a_network_that_differs_is_refused(
    exported: Exported, alter: Callable[[dict[str, NDArray[np.float32]]], None], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="does not decide as the checkpoint does"):
        prove_parity(altered(exported, tmp_path / "bundle", alter))
