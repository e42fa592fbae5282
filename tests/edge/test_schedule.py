"""The part queue: right part, right moment, exactly one outcome for every trigger."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide import Thresholds
from edge.messages import ActionKind, Outcome, Reason, Trigger, Verdict
from edge.schedule import Arrival, Gate, PartQueue, PulseTrain

MS = 1_000_000
GATE = Gate("reject", travel_ms=100.0, pulse_ms=20.0, decision_lead_ms=5.0)


def queue(gate=GATE):
    return PartQueue(gate, Thresholds(score=0.5))


def verdict(part_id, outcome=Outcome.PASS):
    reasons = () if outcome is Outcome.PASS else (Reason.SCORE,)
    return Verdict(part_id, outcome, reasons, (), 0.2, 0.5)


def test_pulse_is_timed_from_the_trigger_not_from_the_verdict():
    parts = queue()
    parts.trigger(Trigger(1, 1000 * MS))
    parts.frame(1)
    assert parts.verdict(verdict(1, Outcome.REJECT), 1080 * MS) is Arrival.EXPECTED
    assert parts.due(1094 * MS) == []
    (action,) = parts.due(1095 * MS)
    assert (action.kind, action.due_ns, action.pulse_ms) == (ActionKind.FIRE, 1100 * MS, 20.0)
    assert action.margin_ms == pytest.approx(15.0)


def test_pass_holds_the_gate():
    parts = queue()
    parts.trigger(Trigger(1, 0))
    parts.frame(1)
    parts.verdict(verdict(1), 10 * MS)
    (action,) = parts.due(95 * MS)
    assert action.kind is ActionKind.HOLD


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome.PASS, ActionKind.FIRE),
        (Outcome.REJECT, ActionKind.HOLD),
        (Outcome.RECHECK, ActionKind.HOLD),
        (Outcome.FAULT, ActionKind.HOLD),
    ],
)
def test_pulse_to_accept_fires_for_pass_alone(outcome, kind):
    parts = queue(Gate("accept", 100.0, 20.0, 5.0, fires_on_pass=True))
    parts.trigger(Trigger(1, 0))
    parts.frame(1)
    parts.verdict(verdict(1, outcome), 10 * MS)
    assert parts.due(95 * MS)[0].kind is kind


@pytest.mark.parametrize(
    ("framed", "reason"), [(False, Reason.MISSING_FRAME), (True, Reason.NO_VERDICT_IN_TIME)]
)
def test_no_verdict_by_the_deadline_is_a_fault_and_fires(framed, reason):
    parts = queue()
    parts.trigger(Trigger(1, 0))
    if framed:
        parts.frame(1)
    (action,) = parts.due(95 * MS)
    assert (action.kind, action.verdict.outcome) == (ActionKind.FIRE, Outcome.FAULT)
    assert action.verdict.reasons == (reason,)
    assert math.isnan(action.margin_ms)


def test_verdict_after_the_deadline_is_late_even_if_the_part_is_still_queued():
    parts = queue()
    parts.trigger(Trigger(1, 0))
    parts.frame(1)
    assert parts.verdict(verdict(1), 95 * MS + 1) is Arrival.LATE
    assert parts.due(96 * MS)[0].verdict.outcome is Outcome.FAULT


def test_action_that_comes_after_its_pulse_says_so():
    parts = queue()
    parts.trigger(Trigger(1, 0))
    (action,) = parts.due(120 * MS)
    assert action.kind is ActionKind.LATE


def test_what_arrives_twice_late_or_for_nobody_is_told():
    parts = queue()
    assert parts.frame(1) is Arrival.UNKNOWN
    parts.trigger(Trigger(1, 0))
    assert parts.trigger(Trigger(1, 5)) is Arrival.DUPLICATE
    assert parts.frame(1) is Arrival.EXPECTED
    assert parts.frame(1) is Arrival.DUPLICATE
    assert parts.verdict(verdict(1), 1) is Arrival.EXPECTED
    assert parts.verdict(verdict(1, Outcome.REJECT), 2) is Arrival.DUPLICATE
    parts.due(95 * MS)
    assert parts.frame(1) is Arrival.LATE
    assert parts.verdict(verdict(1), 96 * MS) is Arrival.LATE


events = st.lists(
    st.tuples(st.sampled_from(["trigger", "frame", "verdict", "time"]), st.integers(1, 12)), max_size=120
)


@given(events=events, step_ms=st.integers(1, 60))
def test_every_trigger_ends_in_exactly_one_outcome_and_pass_needs_its_own_verdict(events, step_ms):
    parts, now, triggered, passed, actions = queue(), 0, {}, set(), []
    for kind, number in events:
        if kind == "time":
            now += number * step_ms * MS
            actions += parts.due(now)
        elif kind == "trigger":
            if parts.trigger(Trigger(number, now)) is Arrival.EXPECTED:
                triggered[number] = now
        elif kind == "frame":
            parts.frame(number)
        elif parts.verdict(verdict(number), now) is Arrival.EXPECTED:
            assert now <= triggered[number] + 95 * MS
            passed.add(number)
    actions += parts.due(now + 1000 * MS)
    assert len(parts) == 0
    assert [action.part_id for action in actions] == sorted(triggered)
    for action in actions:
        assert (action.verdict.outcome is Outcome.PASS) == (action.part_id in passed)
        assert action.due_ns == triggered[action.part_id] + 100 * MS


def test_pulse_train_levels_and_changes():
    train = PulseTrain()
    train.add(100, 20 / MS)  # 20 ns
    assert train.next_change_ns(0) == 100
    assert [train.level(t) for t in (99, 100, 119, 120)] == [False, True, True, False]
    assert train.next_change_ns(120) is None


def test_overlapping_pulses_merge():
    train = PulseTrain()
    train.add(100, 20 / MS)
    train.add(110, 20 / MS)
    assert train.next_change_ns(100) == 130
    assert train.level(125)


def test_merged_pulse_is_cut_at_the_longest_on_time_and_says_so():
    train = PulseTrain(max_on_ms=25 / MS)
    train.add(100, 20 / MS)
    assert not train.overlong()
    train.add(110, 20 / MS)
    assert train.overlong()
    assert train.level(124)
    assert not train.level(125)
    assert not train.level(129)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), max_size=20))
def test_line_is_on_exactly_while_some_pulse_asks_for_it(pulses):
    train = PulseTrain()
    for start, length in pulses:
        train.add(start, length / MS)
    for now in range(0, 600, 7):
        assert train.level(now) == any(start <= now < start + length for start, length in pulses)
