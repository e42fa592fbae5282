"""What counts as escape, overkill and detection, and what each figure leaves out."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.results import SIMULATED_NOTE, run_result
from calibration.truth import Truth
from edge.messages import Outcome, Reason


def test_escapes_and_overkill_are_counted_by_what_left_the_line(result):
    assert (result.escapes.exact.errors, result.escapes.exact.trials) == (1, 4)
    # The rejected good part and the good part with a fault: both went out by the reject gate.
    assert (result.overkill.exact.errors, result.overkill.exact.trials) == (2, 8)
    assert result.defective == 4
    assert [part.part_id for part in result.parts if part.escaped] == [12]
    assert [part.part_id for part in result.parts if part.overkilled] == [7, 8]


def test_outcomes_are_counted(result):
    assert result.outcomes == {Outcome.PASS: 7, Outcome.REJECT: 4, Outcome.RECHECK: 0, Outcome.FAULT: 1}


def test_a_recheck_is_overkill_on_a_good_part_and_no_escape_on_a_bad_one(make):
    parts = [
        make["part"](1, 0.4, outcome=Outcome.RECHECK, reasons=(Reason.GREY_ZONE,)),
        make["part"](2, 0.4, "crack", outcome=Outcome.RECHECK, reasons=(Reason.GREY_ZONE,)),
    ]
    result = make["judged"](parts)
    assert result.overkill.exact.errors == 1
    assert result.escapes.exact.errors == 0


def test_detection_by_kind_tells_faults_apart(make):
    parts = [make["part"](1, 0.9, "crack"), make["part"](2, 0.1, "crack"), make["fault"](3, "crack")]
    (kind,) = make["judged"](parts).detection
    assert (kind.defect, kind.caught.errors, kind.caught.trials, kind.faults) == ("crack", 2, 3, 1)


def test_image_figures_leave_out_what_has_no_score(result):
    assert result.image.parts == 11
    assert [(out.why, out.part_ids) for out in result.image.left_out] == [("no score (fault)", (8,))]
    # Bad 0.9 0.7 0.8 0.4 against good 0.05 … 0.30 and 0.6: 27 of 28 pairs are in order.
    assert result.image.auroc == pytest.approx(27 / 28)


def test_pixel_figures_name_what_they_leave_out(make, parts):
    parts += [make["part"](20, 0.9, "crack", mask=None), make["part"](21, 0.1, truth=None)]
    broken = np.full((4, 4), np.nan, np.float32)
    parts.append(make["part"](22, 0.1, anomaly_map=broken))
    pixel = make["judged"](parts).pixel
    assert pixel.parts == 11
    assert pixel.regions == 4
    assert {out.part_ids for out in pixel.left_out} == {(8,), (20,), (21,), (22,)}
    assert pixel.auroc > 0.9


def test_a_run_of_good_parts_has_no_ranking(make):
    result = make["judged"]([make["part"](n, 0.1) for n in range(1, 5)])
    assert math.isnan(result.image.auroc)
    assert math.isnan(result.pixel.aupro_30)
    assert result.escapes.exact.trials == 0


def test_an_empty_run_is_a_result(make):
    result = make["judged"]([])
    assert result.parts == ()
    assert math.isnan(result.latency_ms.p50)


def test_parts_without_a_truth_enter_no_rate(make):
    result = make["judged"]([make["part"](1, 0.9, truth=None), make["part"](2, 0.1)])
    assert result.unknown == 1
    assert (result.escapes.exact.trials, result.overkill.exact.trials) == (0, 1)


def test_times_are_those_of_the_parts_that_have_them(result):
    assert result.latency_ms.parts == 11
    assert result.latency_ms.maximum == 32.0
    assert result.margin_ms.minimum == 88.0
    assert result.late == 1


def test_intervals_over_items_only_where_items_are_shared(make):
    alone = [make["part"](n, 0.1, group=f"item {n}") for n in range(1, 7)]
    assert make["judged"](alone).overkill.by_group is None
    shared = [make["part"](n, 0.9 if n < 3 else 0.1, group=f"item {n // 2}") for n in range(1, 9)]
    by_group = make["judged"](shared).overkill.by_group
    assert by_group is not None
    assert by_group.groups == 5


def test_parts_without_a_group_stand_for_themselves(make):
    parts = [make["part"](n, 0.1, group="item" if n < 3 else "") for n in range(1, 7)]
    assert make["judged"](parts).overkill.by_group.groups == 5


def test_a_trigger_without_a_record_is_unaccounted(make, parts, result):
    assert result.unaccounted == 0
    counts = make["counted"](parts)
    assert run_result(parts[1:], counts, result.identity).unaccounted == 1
    assert run_result(parts, replace(counts, triggers=14), result.identity).unaccounted == 2


def test_the_simulated_line_says_so(make, parts):
    assert SIMULATED_NOTE not in make["judged"](parts, notes=("other",)).identity.note
    assert make["judged"](parts, simulated=True, notes=("other",)).identity.note == f"{SIMULATED_NOTE}; other"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(st.tuples(st.sampled_from([None, False, True]), st.sampled_from(Outcome)), max_size=25))
def test_every_part_is_counted_once(make, drawn):
    def decided(number, bad, outcome):
        truth = None if bad is None else Truth(bad, "crack" if bad else "")
        return make["part"](number, 0.5, truth=truth, outcome=outcome, anomaly_map=None, mask=None)

    result = make["judged"]([decided(number, *each) for number, each in enumerate(drawn, start=1)])
    assert sum(result.outcomes.values()) == len(drawn)
    assert result.escapes.exact.trials + result.overkill.exact.trials + result.unknown == len(drawn)
    assert (
        sum(kind.caught.errors for kind in result.detection) == result.defective - result.escapes.exact.errors
    )
