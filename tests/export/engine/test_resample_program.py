"""The GPU's resampler is compiled beside the engines, once for each source and GPU."""

import stat

import pytest

from edge.errors import OpenError
from edge.runner.cuda_resample import program_path
from export.engine.resample_program import build_resample_program, compile_program, find_nvcc


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_it_compiles_for_the_orin():
    nvcc = find_nvcc()
    if nvcc is None:
        pytest.skip("nvcc is not installed; it compiles the GPU's resampler")
    program = compile_program(nvcc, "8.7")
    assert program.startswith(b"\x7fELF")
    for name in (b"across_8", b"across_16", b"down"):
        assert name in program


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_it_is_compiled_once(tmp_path):
    log = tmp_path / "log"
    compiler = script(tmp_path / "nvcc", f'echo "$@" >> {log}; for last; do :; done; printf code > "$5"')
    first = build_resample_program(tmp_path, "8.7", compiler)
    assert first == program_path(tmp_path, "8.7")
    assert build_resample_program(tmp_path, "8.7", compiler) == first
    assert log.read_text().count("-arch=sm_87") == 1


def test_without_a_compiler_the_cpu_does_it(tmp_path):
    assert build_resample_program(tmp_path, "8.7", None) is None


def test_a_compiler_that_fails_is_named(tmp_path):
    compiler = script(tmp_path / "nvcc", "echo no such architecture >&2; exit 1")
    with pytest.raises(OpenError, match=r"cannot compile fast_resample\.cu: no such architecture"):
        build_resample_program(tmp_path, "8.7", compiler)
    assert not program_path(tmp_path, "8.7").exists()
