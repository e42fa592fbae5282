"""Pillow's resampler against the fast one on pictures, on the small bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.decide import Thresholds
from edge.inspection import effective_preprocessing
from export.verify.climb import Setting
from export.verify.labelled import find_pictures
from export.verify.resamplers import OTHER, compare_resamplers, figures_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def setting(bundle: Any, **thresholds: float) -> Setting:
    return Setting(effective_preprocessing(bundle), Thresholds(**thresholds))


def refuse(picture: Any, fault: Exception) -> None:
    raise AssertionError(f"{picture}: {fault}")


def test_both_are_told_apart_and_close(exported: Any, labelled_pictures: Path) -> None:
    bundle, pictures = exported.bundle, find_pictures(labelled_pictures)
    found = compare_resamplers(bundle, setting(bundle, score=0.5), pictures, 1, refuse)
    assert found.pictures == len(pictures)
    assert 0 < found.score[1] <= found.score[0] < 0.1
    assert 0 < found.map[1] <= found.map[0] < 0.5
    assert found.flips is not None
    assert figures_table(bundle, found).row_count == 3


def test_a_verdict_that_differs_is_counted(exported: Any, labelled_pictures: Path) -> None:
    bundle, pictures = exported.bundle, find_pictures(labelled_pictures)[:1]
    scores = []
    for interpolation in ("pil_bicubic_antialias", "fast_bicubic_antialias"):
        spec = bundle.manifest.preprocessing.model_copy(update={"interpolation": interpolation})
        one = Setting(spec, Thresholds())
        scores.append(_score(bundle, one, pictures[0]))
    between = float(np.mean(scores))
    found = compare_resamplers(bundle, setting(bundle, score=between), pictures, 1, refuse)
    assert found.flips == 1


def test_without_a_threshold_flips_are_not_counted(exported: Any, labelled_pictures: Path) -> None:
    bundle, pictures = exported.bundle, find_pictures(labelled_pictures)[:1]
    assert compare_resamplers(bundle, setting(bundle), pictures, 1, refuse).flips is None


def test_a_picture_that_cannot_be_read_is_named_and_the_others_go_on(
    exported: Any, labelled_pictures: Path
) -> None:
    broken = next(labelled_pictures.rglob("good/*.png"))
    broken.write_bytes(b"no picture")
    named: list[str] = []
    bundle = exported.bundle
    pictures = find_pictures(labelled_pictures)
    found = compare_resamplers(
        bundle, setting(bundle), pictures, 1, lambda picture, _fault: named.append(picture.path.name)
    )
    assert named == [broken.name]
    assert (found.pictures, found.unusable) == (len(pictures) - 1, 1)


def test_every_interpolation_has_its_counterpart() -> None:
    assert all(OTHER[OTHER[name]] == name for name in OTHER)


def _score(bundle: Any, one: Setting, picture: Any) -> float:
    from edge.config import OnnxRuntimeConfig
    from edge.inspection import Inspector
    from edge.runner import open_runner
    from export.verify.labelled import read_subject

    runner = open_runner(bundle, OnnxRuntimeConfig(threads=1))
    inspector = Inspector(bundle, runner, one.preprocessing, lambda: 0)
    return inspector.inspect(read_subject(picture, 1).frame).score
