"""The Aravis backend on a real GigE Vision wire: packets over the loopback interface from a camera of our own.

The camera is a simulation (see `gige_server.py`); the wire, the protocol and the library are the real ones.
"""

import functools
import tracemalloc

import numpy as np
import pytest

from edge.camera.aravis import AravisDriver
from edge.camera.scene import PRODUCTS, Line
from edge.errors import ConfigError, OpenError
from edge.messages import FrameStatus, PixelFormat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

SMALL = {"width": 1024, "height": 540}
SOFTWARE = {"mode": "software", "rate_per_min": 1200}
PICTURES = 3


@functools.cache
def scene(number, width, height):
    line = Line(PRODUCTS["turned-ring"], seed=1, width=width, height=height)
    return line.part(number + 1).image


def pulse_of(frame):
    return int(frame.image.reshape(-1)[:8].view(np.uint64)[0])


def without_number(image):
    return image.reshape(-1)[8:]


def test_full_frames_arrive_whole(start_camera, camera_config, open_line):
    camera = start_camera(pictures=PICTURES)
    line = open_line(camera_config(trigger=SOFTWARE)).start()
    assert line.wait(lambda: len(line.frames) >= PICTURES)
    for frame in line.frames[:PICTURES]:
        assert (frame.image.shape, frame.pixel_format) == ((2160, 4096), PixelFormat.BAYER_RG8)
        expected = scene(pulse_of(frame) % PICTURES, 4096, 2160)
        assert np.array_equal(without_number(frame.image), without_number(expected))
        assert (frame.exposure_us, frame.gain_db, frame.status) == (400.0, 0.0, FrameStatus.OK)
    assert camera.serial in line.camera.description


def test_a_picture_is_copied_once(start_camera, camera_config):
    camera = start_camera()
    driver = AravisDriver(camera_config())
    driver.start()
    tracemalloc.start()
    try:
        camera.do("pulse")
        grabbed = driver.grab(2000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        driver.close()
    assert grabbed.image.nbytes <= peak < 1.1 * grabbed.image.nbytes
    assert grabbed.image.base is None


@pytest.mark.parametrize(("exposure_us", "gain_db", "factor"), [(100.0, 0.0, 0.25), (200.0, 6.02, 1.0)])
def test_exposure_and_gain_act_on_the_picture(
    start_camera, camera_config, open_line, exposure_us, gain_db, factor
):
    start_camera(**SMALL)
    line = open_line(camera_config(trigger=SOFTWARE, exposure_us=exposure_us, gain_db=gain_db)).start()
    assert line.wait(lambda: line.frames)
    frame = line.frames[0]
    assert frame.image.mean() == pytest.approx(
        factor * scene(pulse_of(frame) % PICTURES, 1024, 540).mean(), rel=0.03
    )
    assert (frame.exposure_us, frame.gain_db) == (exposure_us, pytest.approx(gain_db))


@pytest.mark.parametrize("name", ["BayerRG12p", "Mono12p"])
def test_packed_pixels_and_a_region(start_camera, camera_config, open_line, name):
    start_camera(**SMALL)
    config = camera_config(trigger=SOFTWARE, pixel_format=name, region_px=(256, 100, 512, 300))
    line = open_line(config).start()
    assert line.wait(lambda: line.frames)
    frame = line.frames[0]
    assert frame.pixel_format is PixelFormat(name.removesuffix("p"))
    expected = [scene(n, 1024, 540)[100:400, 256:768].astype(np.uint16) << 4 for n in range(PICTURES)]
    assert any(np.array_equal(frame.image, image) for image in expected)


def test_each_pulse_of_the_line_is_a_part_and_missing_ones_are_told(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL, drift_ppm=100)
    line = open_line(camera_config()).start()
    edges = camera.do("pulse", count=40, period_ms=30, lose=[8, 9], swallow=[20])["edges"]
    assert line.wait(lambda: len(line.triggers) == 40)
    exposed = {edge["pulse"]: edge["host_ns"] for edge in edges if edge["fate"] == "exposed"}
    shown = {pulse_of(frame): frame for frame in line.frames}
    assert sorted(shown) == sorted(exposed)
    assert [n for n, edge in enumerate(edges, start=1) if edge["fate"] == "lost"] == [8, 9]
    assert max(abs(frame.triggered_ns - exposed[pulse]) for pulse, frame in shown.items()) < 5_000_000
    assert [trigger.part_id for trigger in line.triggers] == list(range(1, 41))
    counters = line.camera.counters()
    assert (counters.triggers, counters.delivered, counters.id_gaps) == (40, len(exposed), 2)


def test_the_last_edge_is_missed_too(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL)
    line = open_line(camera_config()).start()
    camera.do("pulse", count=3, period_ms=100, swallow=[3])
    assert line.wait(lambda: len(line.triggers) == 3)
    assert len(line.frames) == 2
    assert line.camera.counters().timeouts == 1


def test_only_the_chosen_line_triggers(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL)
    line = open_line(camera_config(trigger={"mode": "hardware", "line": "Line3", "debounce_us": 50})).start()
    camera.do("pulse", line="Line0", count=3, period_ms=10)
    edge = camera.do("pulse", line="Line3")["edges"][0]
    assert line.wait(lambda: line.frames)
    assert [pulse_of(frame) for frame in line.frames] == [edge["pulse"]]
    assert len(line.triggers) == 1


def test_a_camera_whose_clock_cannot_be_asked_is_timed_by_its_stamps(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL, latch=False, counter=False)
    line = open_line(camera_config()).start()
    edges = camera.do("pulse", count=20, period_ms=60, lose=[11])["edges"]
    exposed = {edge["pulse"]: edge["host_ns"] for edge in edges if edge["fate"] == "exposed"}
    assert line.wait(lambda: len(line.frames) == len(exposed))
    late_ms = [(frame.triggered_ns - exposed[pulse_of(frame)]) / 1e6 for frame in line.frames[5:]]
    assert min(late_ms) >= 0
    assert max(late_ms) - min(late_ms) < 5
    assert len(line.triggers) == len(exposed) + 1


def test_frame_ids_go_on_over_their_wrap(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL)
    camera.do("frame_id", value=65532)
    line = open_line(camera_config()).start()
    edges = camera.do("pulse", count=8, period_ms=60, lose=[5])["edges"]
    assert [edge["fate"] for edge in edges].count("exposed") == 7
    assert line.wait(lambda: len(line.frames) == 7)
    assert [frame.frame_id for frame in line.frames] == [65533, 65534, 65535, 65536, 65538, 65539, 65540]
    assert line.camera.counters().id_gaps == 1
    assert len(line.triggers) == 8


def test_pictures_with_lost_packets_are_incomplete(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL)
    line = open_line(camera_config(packet_size=8192)).start()
    camera.do("loss", ratio=0.01)
    edges = camera.do("pulse", count=20, period_ms=40)["edges"]
    camera.do("loss", ratio=0.0)
    edges += camera.do("pulse", count=2, period_ms=40)["edges"]
    assert line.wait(lambda: len(line.triggers) == 22)
    assert line.frames[-1].status is FrameStatus.OK
    incomplete = [frame for frame in line.frames if frame.status is FrameStatus.INCOMPLETE]
    assert len(incomplete) == line.camera.counters().incomplete > 0
    # Half of a picture would be completed with what the buffer held before: another part.
    assert all(frame.image is None for frame in incomplete)
    for frame in line.frames:
        if frame.status is FrameStatus.OK:
            assert np.array_equal(
                without_number(frame.image), without_number(scene(pulse_of(frame) % PICTURES, 1024, 540))
            )


def test_a_stalled_clock_in_the_camera_is_noticed(start_camera, camera_config, open_line):
    camera = start_camera(**SMALL)
    line = open_line(camera_config(trigger=SOFTWARE)).start()
    assert line.wait(lambda: len(line.frames) >= 2)
    assert line.frames[-1].status is FrameStatus.OK
    camera.do("stall", on=True)
    assert line.wait(lambda: line.frames[-1].status is FrameStatus.FROZEN)


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_lost_camera_is_found_again_and_the_parts_between_are_told(
    start_camera, camera_config, open_line, how
):
    camera = start_camera(**SMALL)
    line = open_line(camera_config(trigger={"mode": "software", "rate_per_min": 300})).start()
    assert line.wait(lambda: len(line.frames) >= 3)
    getattr(camera, how)()
    assert line.wait(lambda: line.camera.health() is None, 15)
    lost_at = len(line.triggers)
    assert line.wait(lambda: len(line.triggers) >= lost_at + 4)  # parts go on while it is away
    if how == "freeze":
        camera.thaw()
    else:
        start_camera(**SMALL)
    delivered = len(line.frames)
    assert line.wait(lambda: len(line.frames) >= delivered + 3, 20)
    counters = line.camera.counters()
    assert counters.reconnects == 1
    assert [trigger.part_id for trigger in line.triggers] == list(range(1, len(line.triggers) + 1))
    frame_ids = [frame.frame_id for frame in line.frames]
    assert frame_ids == sorted(set(frame_ids))
    triggered = {trigger.part_id: trigger.triggered_ns for trigger in line.triggers}
    assert all(triggered[frame.part_id] == frame.triggered_ns for frame in line.frames)
    assert counters.timeouts >= 4


def test_a_second_program_is_told_who_has_the_camera(start_camera, camera_config, open_line):
    start_camera(**SMALL)
    line = open_line(camera_config(trigger=SOFTWARE)).start()
    with pytest.raises(
        OpenError, match=r"LOOP-\d+ is there but cannot be taken over.* Close the other program"
    ):
        AravisDriver(camera_config())
    before = len(line.frames)
    assert line.wait(lambda: len(line.frames) > before)


def test_what_cannot_be_set_is_named(start_camera, camera_config):
    start_camera(**SMALL, counter=False)
    with pytest.raises(
        OpenError, match=r"No camera with serial number OTHER.*Aravis Fake with serial number LOOP-"
    ):
        AravisDriver(camera_config("OTHER"))
    for feature, changes in {
        "ExposureTime": {"exposure_us": 5.0},
        "Gain": {"gain_db": 60.0},
        "TriggerSource": {"trigger": {"mode": "hardware", "line": "Line7"}},
        "BlackLevel": {"black_level_percent": 50.0},
        "Width": {"region_px": (0, 0, 2048, 540)},
    }.items():
        with pytest.raises(ConfigError, match=feature):
            AravisDriver(camera_config(**changes))
    AravisDriver(
        camera_config(gamma=0.5, black_level_percent=2.0, white_balance={"red": 1.5, "blue": 2.0})
    ).close()


def test_every_trigger_on_the_wire_is_accounted_for(start_camera, camera_config, line_run):
    camera = start_camera(**SMALL)
    run = line_run(camera_config(packet_size=8192))
    rng = np.random.default_rng(3)
    edges = []
    for burst in range(6):
        camera.do("loss", ratio=0.0005 * (burst % 3))
        lose, swallow = (sorted(rng.choice(range(2, 50), 3, replace=False).tolist()) for _ in range(2))
        edges += camera.do("pulse", count=50, period_ms=25, lose=lose, swallow=swallow)["edges"]
    camera.do("loss", ratio=0.0)
    edges += camera.do("pulse")["edges"]
    counts = run.finish(after_triggers=len(edges))
    assert counts.triggers == counts.verdicts == counts.passed + counts.fault == len(edges)
    assert counts.unaccounted == 0
    moments = {edge["pulse"]: edge["host_ns"] for edge in edges if edge["fate"] == "exposed"}
    for part in run.parts:
        if part.frame is not None and part.frame.image is not None:
            assert abs(part.trigger.triggered_ns - moments.pop(pulse_of(part.frame))) < 5_000_000
    # What was exposed and showed up whole was decided; what is left lost packets on its way.
    incomplete = [part for part in run.parts if part.frame is not None and part.frame.image is None]
    assert len(moments) == len(incomplete)
    assert counts.fault == len(incomplete) + sum(edge["fate"] != "exposed" for edge in edges)


def test_a_stop_ends_it_without_a_picture(start_camera, camera_config, open_line):
    start_camera(**SMALL)
    line = open_line(camera_config()).start()
    line.stop()
    assert line.frames == line.triggers == []
