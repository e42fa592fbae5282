"""The double keeps to the rules of the SDK that it is there for."""

import gc

import numpy as np
import pytest


@pytest.fixture
def system(pyspin):
    return pyspin.System.GetInstance()


@pytest.fixture
def pointer(system):
    """A camera pointer, initialised."""
    found = system.GetCameras().GetByIndex(0)
    found.Init()
    return found


def raises(pyspin, code):
    return pytest.raises(pyspin.SpinnakerException, check=lambda fault: fault.errorcode == code)


def test_names_and_numbers_are_the_sdks(pyspin):
    assert pyspin.ExposureAuto_Off == 0
    assert pyspin.ExposureAuto_Continuous == 2
    assert pyspin.TriggerSelector_FrameStart == 1
    assert pyspin.TriggerSource_Software == 0
    assert pyspin.TriggerActivation_RisingEdge == 3
    assert pyspin.TriggerOverlap_ReadOut == 1
    assert pyspin.StreamBufferHandlingMode_NewestOnly == 2
    assert pyspin.ChunkSelector_ExposureEndLineStatusAll == 14
    assert pyspin.CounterEventSource_Line0 == 2
    assert pyspin.DeviceCurrentSpeed_SuperSpeed == 4
    assert pyspin.SPINNAKER_ERR_TIMEOUT == -1011


def test_attributes_and_node_maps_reach_the_same_node(pyspin, pointer):
    pointer.ExposureAuto.SetValue(pyspin.ExposureAuto_Off)
    node = pyspin.CEnumerationPtr(pointer.GetNodeMap().GetNode("ExposureAuto"))
    assert node.GetCurrentEntry().GetSymbolic() == "Off"
    node.SetIntValue(node.GetEntryByName("Continuous").GetValue())
    assert pointer.ExposureAuto() == pyspin.ExposureAuto_Continuous


def test_an_absent_serial_number_gives_a_pointer_that_is_not_valid(system):
    assert not system.GetCameras().GetBySerial("1").IsValid()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ExposureTime", np.float64(100)),
        ("ExposureTime", 100),
        ("Width", np.int64(64)),
        ("Width", 64.0),
        ("ChunkModeActive", 1),
        ("ExposureAuto", np.int64(0)),
    ],
)
def test_values_have_to_be_of_the_exact_type(pointer, name, value):
    pointer.ExposureAuto.SetValue(0)
    with pytest.raises(TypeError):
        getattr(pointer, name).SetValue(value)


@pytest.mark.parametrize(
    ("name", "value", "automatic"),
    [
        ("ExposureTime", 100.0, "ExposureAuto"),
        ("Gain", 1.0, "GainAuto"),
        ("BalanceRatio", 1.0, "BalanceWhiteAuto"),
    ],
)
def test_what_an_automatic_sets_is_read_only(pyspin, pointer, name, value, automatic):
    node = getattr(pointer, name)
    assert not pyspin.IsWritable(node)
    with raises(pyspin, -2006):
        node.SetValue(value)
    getattr(pointer, automatic).SetValue(0)
    node.SetValue(value)


@pytest.mark.parametrize("name", ["PixelFormat", "Width", "BinningHorizontal", "ChunkEnable", "UserSetLoad"])
def test_the_layout_of_pictures_is_locked_while_streaming(pyspin, pointer, name):
    assert pyspin.IsWritable(getattr(pointer, name))
    pointer.BeginAcquisition()
    assert not pyspin.IsWritable(getattr(pointer, name))


def test_the_trigger_source_is_locked_while_the_trigger_is_on(pyspin, pointer):
    assert not pyspin.IsAvailable(pointer.TriggerSoftware)
    pointer.TriggerMode.SetValue(pyspin.TriggerMode_On)
    assert not pyspin.IsWritable(pointer.TriggerSource)
    assert pyspin.IsWritable(pointer.TriggerSoftware)


def test_values_are_kept_per_selector(pyspin, pointer):
    pointer.BalanceWhiteAuto.SetValue(pyspin.BalanceWhiteAuto_Off)
    pointer.BalanceRatioSelector.SetValue(pyspin.BalanceRatioSelector_Red)
    pointer.BalanceRatio.SetValue(2.0)
    pointer.BalanceRatioSelector.SetValue(pyspin.BalanceRatioSelector_Blue)
    pointer.BalanceRatio.SetValue(3.0)
    pointer.BalanceRatioSelector.SetValue(pyspin.BalanceRatioSelector_Red)
    assert pointer.BalanceRatio.GetValue() == 2.0


def test_out_of_range_and_off_the_increment_are_refused(pyspin, pointer):
    for value in (8, 65):
        with raises(pyspin, -2002):
            pointer.Width.SetValue(value)


def test_only_one_of_a_counters_trigger_and_reset_is_active(pyspin, pointer):
    pointer.CounterResetSource.SetValue(pyspin.CounterResetSource_Line0)
    assert not pyspin.IsWritable(pointer.CounterTriggerSource)


def test_the_default_user_set_restores_factory_values(pyspin, pointer):
    pointer.GammaEnable.SetValue(False)
    pointer.UserSetLoad.Execute()
    assert pointer.GammaEnable.GetValue() is True
    assert pointer.ExposureAuto.GetValue() == pyspin.ExposureAuto_Continuous


def test_stopping_twice_and_streaming_on_at_the_end_are_errors(pyspin, pointer):
    pointer.BeginAcquisition()
    with raises(pyspin, -1004):
        pointer.DeInit()
    pointer.EndAcquisition()
    with raises(pyspin, -1002):
        pointer.EndAcquisition()
    pointer.DeInit()
    with raises(pyspin, -1002):
        pointer.GetNodeMap()


def test_a_camera_held_by_another_process_is_denied(pyspin, system, camera):
    camera.held_by_other = True
    with raises(pyspin, -1005):
        system.GetCameras().GetByIndex(0).Init()


def armed(pyspin, pointer, overlap="Off"):
    """Triggered at Line0, rising edge, streaming."""
    pointer.TriggerActivation.SetValue(pyspin.TriggerActivation_RisingEdge)
    pointer.TriggerSource.SetValue(pyspin.TriggerSource_Line0)
    pointer.TriggerOverlap.SetValue(getattr(pyspin, f"TriggerOverlap_{overlap}"))
    pointer.CounterEventSource.SetValue(pyspin.CounterEventSource_Line0)
    pointer.CounterDuration.SetValue(65535)
    pointer.TriggerMode.SetValue(pyspin.TriggerMode_On)
    pointer.TLStream.StreamBufferCountMode.SetValue(pyspin.StreamBufferCountMode_Manual)
    pointer.TLStream.StreamBufferCountManual.SetValue(2)
    pointer.Width.SetValue(64)
    pointer.Height.SetValue(48)
    pointer.BeginAcquisition()


def test_a_trigger_during_readout_is_dropped_silently_and_still_counted(pyspin, pointer, camera):
    armed(pyspin, pointer)
    for at_ms in (0, 10, 100):
        camera.at_ms(at_ms)
        camera.pulse()
    ids = []
    for _ in range(2):
        image = pointer.GetNextImage(10)
        ids.append(image.GetFrameID())
        image.Release()
    assert ids == [0, 1]
    assert pointer.CounterValue.GetValue() == 3
    with raises(pyspin, -1011):
        pointer.GetNextImage(10)


def test_an_array_changes_once_its_image_is_released(pyspin, pointer, camera):
    armed(pyspin, pointer)
    camera.pulse()
    image = pointer.GetNextImage(10)
    array, copy = image.GetNDArray(), image.GetNDArray().copy()
    assert np.array_equal(array, copy)
    image.Release()
    assert not np.array_equal(array, copy)
    with raises(pyspin, -1013):
        image.GetNDArray()


def test_leaked_images_starve_the_pool(pyspin, pointer, camera):
    armed(pyspin, pointer)
    for number in range(4):
        camera.at_ms(100 * number)
        camera.pulse()
    for _ in range(2):
        pointer.GetNextImage(10)  # never released
    with raises(pyspin, -1011):
        pointer.GetNextImage(10)
    assert pointer.TLStream.StreamDroppedFrameCount.GetValue() == 2


def test_chunks_are_there_only_when_enabled(pyspin, pointer, camera):
    pointer.ChunkModeActive.SetValue(True)
    pointer.ChunkSelector.SetValue(pyspin.ChunkSelector_Gain)  # selected, not enabled
    pointer.ChunkSelector.SetValue(pyspin.ChunkSelector_FrameID)
    pointer.ChunkEnable.SetValue(True)
    armed(pyspin, pointer)
    camera.pulse()
    chunk = pointer.GetNextImage(10).GetChunkData()
    assert chunk.GetFrameID() == 0
    with raises(pyspin, -1008):
        chunk.GetGain()


def test_anything_that_is_held_keeps_the_camera(pyspin, system):
    cameras = system.GetCameras()
    pointer = cameras.GetByIndex(0)
    pointer.Init()
    node = pointer.ExposureTime
    del pointer
    for held in ("a node", "nothing"):
        if held == "a node":
            with raises(pyspin, -1004):
                cameras.Clear()
            with raises(pyspin, -1004):
                system.ReleaseInstance()
            del node
            gc.collect()
        else:
            cameras.Clear()
            system.ReleaseInstance()


def test_an_exceptions_traceback_holds_the_camera(pyspin, system):
    cameras = system.GetCameras()

    def fail():
        pointer = cameras.GetByIndex(0)
        pointer.Init()
        pointer.Width.SetValue(3)

    try:
        fail()
    except pyspin.SpinnakerException as fault:
        kept = fault
    with raises(pyspin, -1004):
        cameras.Clear()
    kept.__traceback__ = None
    cameras.Clear()


def test_events_come_on_a_foreign_thread_with_a_reference(pyspin, system, camera):
    import threading

    seen = []

    class Handler(pyspin.InterfaceEventHandler):
        def OnDeviceRemoval(self, gone):
            seen.append((threading.current_thread().name, gone.GetUniqueID()))

        def OnDeviceArrival(self, come):
            raise ValueError("this ends the process")

    handler = Handler()
    system.RegisterEventHandler(handler)
    camera.unplug()
    assert seen == [("spinnaker-events", "USB\\VID_1E10\\23456789")]
    with pytest.raises(AssertionError, match="left a callback"):
        camera.plug()


def test_a_handler_without_its_base_class_is_refused(pyspin, system):
    class Forgetful(pyspin.InterfaceEventHandler):
        def __init__(self):
            pass

    with raises(pyspin, -1009):
        system.RegisterEventHandler(Forgetful())


def test_after_an_unplug_the_old_handles_are_of_no_use(pyspin, pointer, camera):
    camera.unplug()
    with raises(pyspin, -1010):
        pointer.GetNodeMap()
    camera.plug()
    assert not pointer.IsValid()
    with raises(pyspin, -1006):
        pointer.Init()
