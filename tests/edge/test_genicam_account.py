"""Frame ids, the device's clock and the account of triggers: pure, so tables and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.device_time import DeviceTime
from edge.camera.driver import ClockReading
from edge.camera.frame_ids import FrameIds
from edge.camera.trigger_account import ExposureAccount, FiredAccount

MS = 1_000_000
GIGE = 65535


def unwrapped(period, raw):
    ids = FrameIds(period)
    return [ids.unwrap(frame_id) for frame_id in raw]


@pytest.mark.parametrize(
    ("period", "raw", "expected"),
    [
        (GIGE, [65533, 65534, 65535, 1, 2], [65533, 65534, 65535, 65536, 65537]),  # 0 is not used
        (GIGE, [65534, 2, 3], [65534, 65537, 65538]),  # a gap over the wrap
        (GIGE, [65535, 1, 65535, 2], [65535, 65536, 65535, 65537]),  # out of order over the wrap
        (GIGE, [7, 7, 8], [7, 7, 8]),  # twice
        (GIGE, [40_000, 10, 11], [40_000, 40_001, 40_002]),  # no camera loses so many: counted anew
        (2**64, [2**64 - 1, 0, 1], [2**64 - 1, 2**64, 2**64 + 1]),
        (2**64, [900_000, 0, 1], [900_000, 900_001, 900_002]),
    ],
)
def test_frame_ids_are_unwrapped(period, raw, expected):
    assert unwrapped(period, raw) == expected


def test_frame_ids_go_on_after_a_restart():
    ids = FrameIds(GIGE)
    assert ids.unwrap(500) == 500
    ids.restart()
    assert [ids.unwrap(frame_id) for frame_id in (65400, 65402)] == [501, 503]


@given(st.integers(1, GIGE), st.lists(st.integers(1, 5000), max_size=60))
def test_any_run_of_gaps_is_kept_over_any_number_of_wraps(start, steps):
    ids, truth = FrameIds(GIGE), start
    assert ids.unwrap(start) == start
    for step in steps:
        truth += step
        assert ids.unwrap((truth - 1) % GIGE + 1) == truth


def reading(host_ns, device_ns, round_trip_ns=100_000):
    return ClockReading(host_ns - round_trip_ns // 2, device_ns, host_ns + round_trip_ns // 2)


def test_the_tightest_of_several_readings_counts():
    time = DeviceTime()
    assert time.latched([reading(5_000 * MS, 900 * MS, 20 * MS), reading(5_030 * MS, 1_000 * MS, MS)])
    assert time.host_ns(1_001 * MS) == 5_031 * MS


@given(st.floats(-80, 80), st.integers(0, 2**40))
def test_drift_is_followed_to_within_a_tenth_of_a_millisecond(ppm, start):
    time, host_ns = DeviceTime(), 10**12

    def device_ns(at_ns):
        return start + round((at_ns - 10**12) * (1 + ppm * 1e-6))

    for _ in range(40):
        assert time.latched([reading(host_ns, device_ns(host_ns))])
        host_ns += 5_000 * MS
    assert abs(time.host_ns(device_ns(host_ns)) - host_ns) < MS // 10


@pytest.mark.parametrize("device_ns", [1_000 * MS, 900 * MS, 9_000 * MS])  # still, backwards, a jump
def test_a_clock_that_does_not_run_is_noticed_and_taken_anew(device_ns):
    time = DeviceTime()
    assert time.latched([reading(5_000 * MS, 1_000 * MS)])
    assert not time.latched([reading(6_000 * MS, device_ns)])
    assert time.host_ns(device_ns + MS) == 6_001 * MS


def test_stamps_in_another_time_are_mapped_by_the_quickest_arrival():
    time, wall_ns = DeviceTime(), 1_700_000_000 * 10**9
    assert time.host_ns(wall_ns) is None
    for n, latency_ms in enumerate((30, 12, 45, 13)):
        time.arrived(wall_ns + n * 100 * MS, (7_000 + n * 100 + latency_ms) * MS)
    assert time.host_ns(wall_ns + 300 * MS) == 7_312 * MS


def test_a_stamp_that_stalls_or_runs_backwards_is_noticed():
    time = DeviceTime()
    assert [time.advanced(stamp) for stamp in (5, 6, 6, 4, 5)] == [True, True, False, False, True]


def ids_of(triggers):
    return [trigger.part_id for trigger in triggers]


def test_each_exposure_is_a_part():
    account = ExposureAccount()
    for n in range(1, 5):
        found = account.picture(n, n * 100)
        assert (ids_of(found.untold), found.trigger.part_id, found.trigger.triggered_ns) == ([n], n, n * 100)


def test_lost_pictures_come_to_light_with_the_next_one_and_are_spread_between():
    account = ExposureAccount()
    account.picture(1, 1000)
    found = account.picture(4, 4000)
    assert [(trigger.part_id, trigger.triggered_ns) for trigger in found.untold] == [
        (2, 2000),
        (3, 3000),
        (4, 4000),
    ]
    assert found.trigger.part_id == 4


def test_pictures_that_come_twice_or_out_of_order_are_their_own_parts():
    account = ExposureAccount()
    for frame_id in (1, 3):
        account.picture(frame_id, frame_id * 1000)
    again, late = account.picture(3, 3000), account.picture(2, 2000)
    assert (again.trigger.part_id, late.trigger.part_id) == (3, 2)
    assert again.untold == late.untold == ()
    assert account.picture(4, 4000).trigger.part_id == 4


def test_an_edge_that_started_no_exposure_is_told_with_the_next_picture():
    account = ExposureAccount()
    assert account.overdue(0, 0, 500 * MS) == ()
    account.picture(1, 100 * MS)
    assert account.overdue(2, 250 * MS, 500 * MS) == ()
    found = account.picture(2, 300 * MS)  # the third edge: the second, at 200 ms, was ignored
    assert ids_of(found.untold) == [2, 3]
    assert found.trigger.part_id == 3
    assert account.overdue(3, 400 * MS, 500 * MS) == ()
    assert ids_of(account.picture(3, 500 * MS).untold) == [4]


def test_an_edge_without_picture_is_told_when_nothing_comes():
    account = ExposureAccount()
    readings = ((0, 0), (100, 0), (200, 1), (300, 1))
    assert [account.overdue(edges, now_ms * MS, 150 * MS) for now_ms, edges in readings] == [()] * 4
    (missed,) = account.overdue(1, 400 * MS, 150 * MS)
    assert missed.part_id == 1
    assert 100 * MS < missed.triggered_ns <= 200 * MS
    assert account.overdue(1, 900 * MS, 150 * MS) == ()


def test_pictures_on_their_way_are_not_missing():
    account = ExposureAccount()
    account.overdue(0, 0, 500 * MS)
    told = []
    for n in range(1, 200):  # each picture arrives two edges later, and the count is read at every edge
        told += account.overdue(n, n * 20 * MS + 5 * MS, 500 * MS)
        if n > 2:
            told += account.picture(n - 2, (n - 2) * 20 * MS).untold
    assert ids_of(told) == list(range(1, 198))


def test_the_picture_of_an_edge_that_was_given_up_is_no_parts():
    account = ExposureAccount()
    account.overdue(0, 0, 100 * MS)
    account.overdue(1, 100 * MS, 100 * MS)
    assert ids_of(account.overdue(1, 200 * MS, 100 * MS)) == [1]
    late = account.picture(1, 50 * MS)
    assert (late.trigger, late.untold) == (None, ())
    assert ids_of(account.picture(2, 300 * MS).untold) == [2]


def test_the_count_at_the_exposure_says_whose_a_late_picture_is():
    account = ExposureAccount()
    account.overdue(0, 0, 100 * MS)
    account.picture(1, 10 * MS, edges=1)
    account.overdue(3, 100 * MS, 100 * MS)
    assert ids_of(account.overdue(3, 210 * MS, 100 * MS)) == [2, 3]
    assert account.picture(2, 90 * MS, edges=3).trigger.part_id == 3
    assert ids_of(account.picture(3, 300 * MS, edges=4).untold) == [4]


def test_a_count_that_goes_on_while_the_camera_is_away_tells_what_passed():
    account = ExposureAccount()
    account.overdue(10, 0, 100 * MS)
    account.picture(1, 10 * MS)
    account.interrupted()
    assert account.overdue(14, 5_000 * MS, 100 * MS) == ()
    assert ids_of(account.picture(2, 5_200 * MS).untold) == [2, 3, 4, 5]


def test_a_count_that_was_reset_is_taken_anew():
    account = ExposureAccount()
    account.overdue(10, 0, 100 * MS)
    account.picture(1, 10 * MS)
    account.interrupted()
    account.overdue(0, 5_000 * MS, 100 * MS)
    assert ids_of(account.picture(2, 5_200 * MS).untold) == [2]
    account.overdue(2, 5_300 * MS, 100 * MS)
    assert ids_of(account.picture(3, 5_400 * MS).untold) == [3, 4]


def test_a_fired_part_gets_its_picture():
    account = FiredAccount()
    for n in (1, 2, 3):
        trigger = account.fired(n * 1000 * MS)
        assert account.outstanding == trigger
        assert account.picture(100 + n, None).trigger == trigger
        assert account.outstanding is None


def test_a_late_picture_is_not_the_next_parts():
    account = FiredAccount()
    account.fired(1_000 * MS)
    account.give_up()
    second = account.fired(2_000 * MS)
    assert account.picture(7, 1_001 * MS).trigger is None  # exposed before the second was fired
    assert account.outstanding == second
    assert account.picture(8, 2_001 * MS).trigger == second


def test_a_late_picture_before_the_next_part_is_still_its_own():
    account = FiredAccount()
    first = account.fired(1_000 * MS)
    account.give_up()
    assert account.picture(7, 1_001 * MS).trigger == first
    assert account.picture(8, 1_002 * MS).trigger is None  # one too many
    assert account.picture(7, 1_001 * MS).trigger == first  # twice


def test_in_doubt_a_picture_is_nobodys():
    account = FiredAccount()
    account.fired(1_000 * MS)
    account.give_up()
    account.fired(2_000 * MS)
    assert account.picture(7, None).trigger is None
