"""First part of `make demo-model`: render parts, train, export. Everything seeded; no clock decides.

Writes `models/demo-source` (CLIP file and prompt checkpoint) and `models/demo` (the bundle). Pictures are
kept under `build/demo-model`, so a second run does not render again. `calibration.demo_thresholds` is the
second part.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge.errors import EdgeError
from export.bundle_from_anomalyclip import export_anomalyclip
from training.demo_clip import SETTINGS, save_checkpoint, save_clip_file
from training.fit import Recipe, fit
from training.rendered import Rendered, render, training_lots

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build" / "demo-model"
MODELS = REPOSITORY / "models"

TRAINING_PARTS, TRAINING_SEED, TRAINING_DEFECTS = 9_100, 1_000_001, 0.6
"""Seeds from 1 000 000 on belong to this recipe; a demo takes others."""


def main() -> int:
    """Run the whole recipe. Returns 0, or 2 after an error that a person can mend."""
    console = Console()
    try:
        make_demo_model(console)
    except EdgeError as error:
        console.print(f"[red]{error.what}[/red] {error.do}")
        return 2
    return 0


def make_demo_model(console: Console) -> None:
    """All steps of the recipe, in order."""
    recipe = Recipe()
    with _progress(console) as progress:
        training_parts(progress)
    with _progress(console) as progress:
        task = progress.add_task("training", total=recipe.steps)

        def report(step: int, losses: dict[str, float]) -> None:
            text = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            progress.update(task, completed=step, description=f"training  {text}")
            if not console.is_terminal and step % 100 == 0:
                console.print(f"step {step} of {recipe.steps}  {text}")

        model = fit(recipe, partial(training_parts, None), report)
    source = MODELS / "demo-source"
    source.mkdir(parents=True, exist_ok=True)
    clip, checkpoint = source / "demo.clip.pt", source / "epoch_1.pth"
    save_clip_file(model, clip)
    save_checkpoint(model, checkpoint, torch.Generator().manual_seed(recipe.seed))
    bundle = MODELS / "demo"
    export_anomalyclip(clip, checkpoint, SETTINGS, bundle, force=True, report=console.print)


def training_parts(progress: Progress | None) -> Rendered:
    """The rendered training parts; a call without a progress bar finds them rendered."""
    lots = training_lots(TRAINING_PARTS, TRAINING_SEED, TRAINING_DEFECTS)
    return render(lots, BUILD / "train", progress)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


if __name__ == "__main__":
    sys.exit(main())
