"""Compile the GPU's resampler for the GPU at hand, beside the engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edge.engine_directory import write_whole
from edge.errors import OpenError
from edge.runner.cuda_resample import SOURCE, program_path

NVCC = Path("/usr/local/cuda/bin/nvcc")
"""Where JetPack and NVIDIA's packages put it, which is on no PATH by itself."""


def find_nvcc() -> Path | None:
    """CUDA's compiler: from CUDA_HOME, from PATH, or where NVIDIA installs it."""
    home = os.environ.get("CUDA_HOME")
    candidates = [Path(home) / "bin" / "nvcc"] if home else []
    on_path = shutil.which("nvcc")
    candidates += [Path(on_path)] if on_path else []
    return next((path for path in (*candidates, NVCC) if path.is_file()), None)


def build_resample_program(directory: Path, compute_capability: str, nvcc: Path | None) -> Path | None:
    """Compile into the engine directory, unless it is there already. None without a compiler: the CPU resamples.

    Raises `OpenError` when the compiler fails.
    """
    program = program_path(directory, compute_capability)
    if program.is_file():
        return program
    if nvcc is None:
        return None
    write_whole(program, compile_program(nvcc, compute_capability))
    return program


def compile_program(nvcc: Path, compute_capability: str) -> bytes:
    """The machine code for a GPU ("8.7"). Raises `OpenError` when the compiler fails."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program.cubin"
        architecture = f"-arch=sm_{compute_capability.replace('.', '')}"
        command = [str(nvcc), "-cubin", architecture, "-O3", "-o", str(made), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OpenError(
                f"{nvcc} cannot compile {SOURCE.name}: {' '.join(done.stderr.split())[:400]}.",
                do="Check that CUDA's compiler and its host compiler fit each other.",
            )
        return made.read_bytes()
