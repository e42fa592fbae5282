"""The doctor of the camera's host, on trees of files made by the test."""

import os

import pytest

from edge.camera.usb_devices import Holder, holders, usb_cameras
from edge.camera_config import (
    AravisCameraConfig,
    SpinnakerCameraConfig,
    SyntheticCameraConfig,
)
from edge.commands.camera_doctor import examine_host
from edge.errors import OpenError

RULE = 'SUBSYSTEM=="usb", ATTRS{idVendor}=="1e10", GROUP="flirimaging"\n'


class Host:
    """A host on which everything is right, until a test changes something."""

    def __init__(self, root):
        self.root = root
        self.write("sys/module/usbcore/parameters/usbfs_memory_mb", "1000")
        self.write("sys/module/usbcore/parameters/autosuspend", "2")
        self.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "arch_sys_counter")
        self.write("etc/udev/rules.d/40-flir-spinnaker.rules", RULE)
        self.write("etc/group", "root:x:0:\nflirimaging:x:1001:someone,adclip\nadclip:x:999:\n")
        self.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nadclip:x:998:999::/var/lib/adclip:/bin/false\n")
        self.camera()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def camera(self, **changes):
        content = {
            "idVendor": "1e10",
            "busnum": "2",
            "devnum": "7",
            "speed": "5000",
            "serial": "0165D2A5",
            "product": "Blackfly S BFS-U3-89S6C",
            "power/control": "on",
        }
        for name, text in (content | changes).items():
            self.write(f"sys/bus/usb/devices/2-1/{name}", text)

    def process(self, pid, name, target):
        self.write(f"proc/{pid}/comm", name)
        folder = self.root / f"proc/{pid}/fd"
        folder.mkdir(parents=True)
        (folder / "12").symlink_to(self.root / target)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def config(**changes):
    content = {"backend": "spinnaker", "serial": "23456789", "exposure_us": 200.0}
    return SpinnakerCameraConfig.model_validate(content | changes)


def examine(host, camera=None, **changes):
    options = {"user": "adclip", "load": lambda: None} | changes
    return {finding.name: finding for finding in examine_host(camera or config(), host.root, **options)}


def test_a_host_that_is_set_up_passes(host):
    findings = examine(host)
    assert [name for name, finding in findings.items() if not finding.passed] == []
    assert set(findings) == {
        *("camera trigger", "clock source", "USB memory", "camera rights", "USB camera"),
        *("USB autosuspend", "camera holders", "PySpin"),
    }


def test_a_camera_without_a_device_is_not_examined(host):
    assert examine(host, SyntheticCameraConfig(backend="synthetic")) == {}


def failed(host, name, words, camera=None, **changes):
    findings = examine(host, camera, **changes)
    assert [other for other, finding in findings.items() if not finding.passed] == [name]
    assert words in findings[name].text
    return findings[name].text


def test_too_little_usb_memory_is_told_with_what_the_buffers_take(host):
    host.write("sys/module/usbcore/parameters/usbfs_memory_mb", "16")
    assert "usbfs_memory_mb=1000" in failed(host, "USB memory", "is 16, and 10 buffers take 85 MB")


def test_a_small_region_needs_less_usb_memory(host):
    host.write("sys/module/usbcore/parameters/usbfs_memory_mb", "16")
    assert examine(host, config(region_px=(0, 0, 1024, 1024)))["USB memory"].passed
    assert not examine(host, config(region_px=(0, 0, 1024, 1024), pixel_format="RGB8"))["USB memory"].passed


def test_unlimited_usb_memory_is_enough(host):
    host.write("sys/module/usbcore/parameters/usbfs_memory_mb", "0")
    assert examine(host)["USB memory"].passed


def test_a_camera_that_may_be_suspended_is_told(host):
    host.camera(**{"power/control": "auto"})
    failed(host, "USB autosuspend", "may suspend the camera 0165D2A5")
    host.write("sys/module/usbcore/parameters/autosuspend", "-1")
    assert examine(host)["USB autosuspend"].passed


def test_a_slow_link_is_told_unless_it_is_allowed(host):
    host.camera(speed="480")
    failed(host, "USB camera", "linked at 480 Mbit/s")
    assert examine(host, config(allow_slow_link=True))["USB camera"].passed


def test_an_absent_camera_is_told(host):
    host.camera(idVendor="abcd")
    failed(host, "USB camera", "lsusb -d 1e10:")


def test_a_user_outside_the_rules_group_is_told_the_command(host):
    failed(host, "camera rights", "sudo usermod -aG flirimaging operator", user="operator")


@pytest.mark.parametrize(
    ("file", "content", "user"),
    [
        ("etc/group", "flirimaging:x:999:\n", "adclip"),  # the user's own group
        ("etc/udev/rules.d/99-cameras.rules", 'ATTRS{idVendor}=="1e10", MODE="0666"\n', "anyone"),
        ("etc/group", "", "root"),
    ],
)
def test_other_ways_of_having_the_right_are_known(host, file, content, user):
    host.write(file, content)
    assert examine(host, user=user)["camera rights"].passed


def test_a_host_without_the_rule_is_told(host):
    (host.root / "etc/udev/rules.d/40-flir-spinnaker.rules").unlink()
    failed(host, "camera rights", "No udev rule")


def test_another_holder_of_the_camera_is_named(host):
    host.process(100, "bash", "dev/null")
    host.process(4242, "SpinView_QT", "dev/bus/usb/002/007")
    failed(host, "camera holders", "SpinView_QT (process 4242)")


def test_this_process_is_no_other_holder(host):
    host.process(os.getpid(), "adclip", "dev/bus/usb/002/007")
    (camera,) = usb_cameras(host.root)
    assert holders(camera.node, host.root) == []


def test_a_process_that_ends_meanwhile_is_left_out(host):
    host.write("proc/77/comm", "gone")
    host.process(78, "there", "dev/bus/usb/002/007")
    (camera,) = usb_cameras(host.root)
    assert holders(camera.node, host.root) == [Holder(78, "there")]


def test_a_free_running_camera_is_told(host):
    failed(host, "camera trigger", "belong to no part", config(trigger={"mode": "free_run"}))
    assert (
        "whether or not a part is there"
        in examine(host, config(trigger={"mode": "software"}))["camera trigger"].text
    )


@pytest.mark.parametrize("name", ["jiffies", "hpet", "acpi_pm"])
def test_a_coarse_clock_is_told(host, name):
    host.write("sys/devices/system/clocksource/clocksource0/current_clocksource", name)
    failed(host, "clock source", f"keeps time by {name}")


def test_a_module_that_cannot_be_used_is_told_in_its_own_words(host):
    def load():
        raise OpenError("PySpin was built for another NumPy.", do="Install numpy<2.")

    failed(host, "PySpin", "Install numpy<2.", load=load)


def test_for_aravis_the_makers_module_is_not_asked_for(host):
    camera = AravisCameraConfig(backend="aravis", serial="X1", exposure_us=100)
    assert "PySpin" not in examine(host, camera, load=pytest.fail)
    host.camera(idVendor="abcd")  # on Ethernet there is nothing of USB to look at
    assert set(examine(host, camera)) == {"camera trigger", "clock source"}


def test_on_a_kernel_that_tells_nothing_it_says_so(tmp_path):
    findings = {finding.name: finding for finding in examine_host(config(), tmp_path, "u", lambda: None)}
    assert findings["clock source"].text == "not told by this kernel"
    assert "does not tell usbfs_memory_mb" in findings["USB memory"].text
