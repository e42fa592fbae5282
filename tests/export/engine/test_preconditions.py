"""Memory and the daemon before a build; the facts are made up here."""

import os

import pytest

from edge.errors import OpenError
from export.engine.preconditions import (
    FreeMemory,
    MemoryNeed,
    check_line_is_stopped,
    check_memory,
    daemon_is_running,
    free_memory,
)

VIT_L = MemoryNeed(graph_mb=610, tactic_dram_mb=3072, integrated=True)


def test_an_integrated_gpu_takes_its_part_of_the_same_memory():
    assert VIT_L.needed_mb == 3072 + 3 * 610 + 1024
    assert MemoryNeed(graph_mb=610, tactic_dram_mb=3072, integrated=False).needed_mb == 3 * 610 + 1024


@pytest.mark.parametrize(
    ("available_mb", "swap_mb", "enough"),
    [
        (5926, 0, True),
        (5925, 0, False),
        (5000, 1000, True),  # swap serves the host's part
        (3071, 8000, False),  # and not the GPU's
        (0, 0, False),
    ],
)
def test_memory_is_enough_or_is_not(available_mb, swap_mb, enough):
    free = FreeMemory(available_mb, swap_mb)
    if enough:
        check_memory(VIT_L, free)
        return
    with pytest.raises(OpenError) as caught:
        check_memory(VIT_L, free)
    assert "5926 MB" in caught.value.what
    assert "3072 MB for trying kernels + 3 x 610 MB" in caught.value.what
    assert f"{available_mb} MB" in caught.value.what
    assert "--tactic-dram-mb less than 3072" in caught.value.do


def test_a_card_is_not_advised_to_lower_what_is_not_counted():
    with pytest.raises(OpenError) as caught:
        check_memory(MemoryNeed(graph_mb=610, tactic_dram_mb=3072, integrated=False), FreeMemory(100, 0))
    assert "tactic" not in str(caught.value)


def test_meminfo_is_read(tmp_path):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:        7802000 kB\nMemAvailable:    5242880 kB\nSwapFree:        1048576 kB\n")
    assert free_memory(file) == FreeMemory(5120, 1024)
    file.write_text("MemAvailable:    5242880 kB\n")
    assert free_memory(file) == FreeMemory(5120, 0)


@pytest.mark.parametrize("text", [None, "", "MemTotal: 7802000 kB\n"])
def test_a_meminfo_that_does_not_tell(tmp_path, text):
    file = tmp_path / "meminfo"
    if text is not None:
        file.write_text(text)
    with pytest.raises(OpenError, match="does not tell"):
        free_memory(file)


def test_this_machine_tells_its_memory():
    assert free_memory().available_mb > 0


def test_a_running_daemon_is_named():
    check_line_is_stopped(lambda: False)
    with pytest.raises(OpenError, match="running"):
        check_line_is_stopped(lambda: True)


@pytest.mark.parametrize(
    ("answer", "running"),
    [("active", True), ("activating", True), ("inactive", False), ("failed", False), ("unknown", False)],
)
def test_systemd_is_asked(tmp_path, monkeypatch, answer, running):
    asked = tmp_path / "asked"
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {asked}\necho {answer}\ntest {answer} = active\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert daemon_is_running() == running
    assert asked.read_text().split() == ["is-active", "adclip-inspect.service"]


def test_without_systemd_no_daemon_of_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not daemon_is_running()
