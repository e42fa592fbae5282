"""CUDA graphs through real ctypes calls, on a library compiled here with the signatures of CUDA's driver.

The library notes what arrives; it records and runs nothing. So widths and order of the arguments are shown,
and nothing about CUDA.
"""

import ctypes
import shutil
import subprocess

import pytest

from edge.errors import OperateError
from edge.runner.cuda_graph import CudaGraph

STREAM = 0x7FAB_0123_4567_89A0  # a handle is a whole pointer

SOURCE = r"""
#include <stdio.h>
#include <string.h>
static char told[4096];
static const char *failing = "";
const char *calls(void) { return told; }
void fail(const char *name) { failing = name; told[0] = 0; }
static int tell(const char *name, void *a, void *b, long long c) {
    char line[200];
    snprintf(line, sizeof line, "%s %p %p %lld\n", name, a, b, c);
    strcat(told, line);
    return strcmp(name, failing) ? 0 : 901;
}
int cuStreamBeginCapture_v2(void *stream, int mode) { return tell("begin", stream, 0, mode); }
int cuStreamEndCapture(void *stream, void **graph) {
    *graph = (void *)0x1234567812345678;
    return tell("end", stream, 0, 0);
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    *executable = (void *)0x2345678923456789;
    return tell("instantiate", graph, 0, flags);
}
int cuGraphLaunch(void *executable, void *stream) { return tell("launch", executable, stream, 0); }
int cuGraphDestroy(void *graph) { return tell("destroy", graph, 0, 0); }
int cuGraphExecDestroy(void *executable) { return tell("free", executable, 0, 0); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: 'make system-deps' or your package manager installs gcc")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(SOURCE)
    made = folder / "libdriver.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", made, folder / "driver.c"], check=True, capture_output=True
    )
    loaded = ctypes.CDLL(str(made))
    loaded.calls.restype = ctypes.c_char_p
    return loaded


@pytest.fixture
def driver(library):
    """The library, and what it was called with since the test began."""

    def make(failing=""):
        make.name = ctypes.create_string_buffer(failing.encode())
        library.fail(make.name)
        return library

    make.calls = lambda: [line.split() for line in library.calls().decode().splitlines()]
    return make


def test_handles_arrive_whole_and_in_order(driver):
    enqueued = []
    graph = CudaGraph(driver(), STREAM, lambda: enqueued.append(len(driver.calls())))
    graph.launch()
    graph.free()
    assert enqueued == [1]
    stream, recorded, executable = "0x7fab0123456789a0", "0x1234567812345678", "0x2345678923456789"
    assert driver.calls() == [
        ["begin", stream, "(nil)", "1"],
        ["end", stream, "(nil)", "0"],
        ["instantiate", recorded, "(nil)", "0"],
        ["destroy", recorded, "(nil)", "0"],
        ["launch", executable, stream, "0"],
        ["free", executable, "(nil)", "0"],
    ]


@pytest.mark.parametrize(
    ("failing", "function"),
    [("begin", "cuStreamBeginCapture_v2"), ("instantiate", "cuGraphInstantiateWithFlags")],
)
def test_a_failure_names_the_function_and_the_code(driver, failing, function):
    with pytest.raises(OperateError, match=f"{function} failed with error 901"):
        CudaGraph(driver(failing), STREAM, lambda: None)
    assert ("destroy" in {call[0] for call in driver.calls()}) == (failing == "instantiate")


def test_a_launch_that_fails_while_recording_ends_the_recording(driver):
    def fail():
        raise OperateError("The launch failed.", do="Nothing.")

    with pytest.raises(OperateError, match="The launch failed"):
        CudaGraph(driver(), STREAM, fail)
    assert [call[0] for call in driver.calls()] == ["begin", "end", "destroy"]
