"""What a network costs: ours in ONNX Runtime, ours in torch, and a forward as the upstream evaluation does it.

Each is measured in a process of its own, so that its peak memory is its own. "Both towers" means what upstream's
test script computes for every picture: the whole image tower on both paths, and the text tower with the prompts.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir
import torch
from rich.console import Console
from torch import Tensor

from edge.bundle import open_bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import OperateError
from edge.manifest import MODEL_FP32
from edge.runner import open_runner
from export.anomalyclip import abnormal_probability, build_graph, encode_prompts
from export.bench.random_models import MODELS, Model, write_files
from export.bench.rows import Row, against
from export.bundle_from_anomalyclip import export_anomalyclip
from export.clip_file import read_clip_file
from export.graph_cost import graph_cost
from export.prompt_checkpoint import read_prompt_checkpoint
from export.text_tower import load_text_tower

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5
THREADS = 2
"""Of each run, so that the figures of two machines can be compared."""


def measure(console: Console) -> list[Row]:
    """Rows for each backbone: export, then milliseconds and peak memory of each way to run it."""
    rows: list[Row] = []
    for model in MODELS.values():
        with tempfile.TemporaryDirectory(prefix="adclip-bench-") as folder:
            with console.status(f"{model.name}: making a random model"):
                write_files(model, Path(folder))
            rows += _rows_of(model, Path(folder), console)
    return rows


def _rows_of(model: Model, folder: Path, console: Console) -> list[Row]:
    found = {}
    for step in STEPS:
        with console.status(f"{model.name}: {step}"):
            found[step] = _in_a_process(step, model, folder)
    upstream = found["both towers"]
    rows = [
        Row(f"{model.name}: export", found["export"]["seconds"], "s"),
        Row(f"{model.name}: export, peak memory", found["export"]["peak_mb"], "MB"),
        Row(f"{model.name}: one picture", found["export"]["gflop"], "GFLOP"),
        Row(f"{model.name}: FP32 graph", found["export"]["file_mb"], "MB"),
    ]
    for step, name in (("onnx", "ONNX Runtime FP32"), ("torch", "torch, text folded")):
        rows.append(against(f"{model.name}: {name}", found[step]["ms"], "ms", upstream["ms"]))
        rows.append(
            against(f"{model.name}: {name}, peak memory", found[step]["peak_mb"], "MB", upstream["peak_mb"])
        )
    rows.append(Row(f"{model.name}: torch, both towers per picture", upstream["ms"], "ms"))
    return [*rows, Row(f"{model.name}: torch, both towers, peak memory", upstream["peak_mb"], "MB")]


def _in_a_process(step: str, model: Model, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "export.bench.networks", step, model.name, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OperateError(
            f"Measuring {step} of {model.name} failed: {last}.", do="Check the free memory, then try again."
        )
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _export(model: Model, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    export_anomalyclip(folder / "clip.pt", folder / "epoch_1.pth", model.settings, folder / "bundle")
    seconds, peak = time.perf_counter() - began, _peak_mb()
    file = folder / "bundle" / MODEL_FP32
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "gflop": graph_cost(onnx_ir.load(file)).gflop,
        "file_mb": file.stat().st_size / 1e6,
    }


def _onnx(model: Model, folder: Path) -> dict[str, float]:
    runner = open_runner(open_bundle(folder / "bundle"), OnnxRuntimeConfig(threads=THREADS))
    picture = _picture(model).numpy()
    return {"ms": _median_ms(lambda: runner.infer(picture)), "peak_mb": _peak_mb()}


def _torch(model: Model, folder: Path) -> dict[str, float]:
    clip, checkpoint = read_clip_file(folder / "clip.pt"), read_prompt_checkpoint(folder / "epoch_1.pth")
    network, picture = build_graph(clip, checkpoint, model.settings), _picture(model)
    with torch.inference_mode():
        return {"ms": _median_ms(lambda: network(picture)), "peak_mb": _peak_mb()}


def _both_towers(model: Model, folder: Path) -> dict[str, float]:
    """The text tower for every picture, both paths in every dual block, and all rows of the last block."""
    clip, checkpoint = read_clip_file(folder / "clip.pt"), read_prompt_checkpoint(folder / "epoch_1.pth")
    network, tower = build_graph(clip, checkpoint, model.settings), load_text_tower(clip)
    picture, prompts = _picture(model), checkpoint.embeddings()
    vision, plan = network.vision, network.plan

    def forward() -> None:
        text = encode_prompts(tower, prompts, checkpoint.end_of_text(), checkpoint.deep_prompts)
        original: Tensor = vision.embed(picture)
        new: Tensor | None = None
        for number, block in enumerate(vision.transformer.blocks(), start=1):
            new = original if number == plan.first_dual else new
            original, new = block(original, new, class_token_only=False)
            if number in plan.taps:
                tapped = original if new is None else new
                abnormal_probability(vision.project(vision.ln_post(tapped)), text)
        abnormal_probability(vision.project(original[:, 0]), text)

    with torch.inference_mode():
        return {"ms": _median_ms(forward), "peak_mb": _peak_mb()}


STEPS: dict[str, Callable[[Model, Path], dict[str, float]]] = {
    "export": _export,
    "onnx": _onnx,
    "torch": _torch,
    "both towers": _both_towers,
}


def _picture(model: Model) -> torch.Tensor:
    size = model.settings.image_size
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))


def _median_ms(run: Callable[[], Any]) -> float:
    run()  # the first call pays for buffers
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return median(times)


def _peak_mb() -> float:
    """Of this process, resident; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(step: str, name: str, folder: str) -> int:
    """One step of one model; prints its figures as one line of JSON."""
    torch.set_num_threads(THREADS)
    np.random.default_rng(0)
    found = STEPS[step](MODELS[name], Path(folder))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
