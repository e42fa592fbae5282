"""Training loop: two single-threaded workers that average their gradients every step.

On two cores that is faster than one worker with two threads, and it stays so when the machine is busy. The
schedule counts steps, never minutes, and every draw is seeded.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.nn import functional

from export.anomalyclip import similarity_logits
from export.clip_input import CLIP_MEAN, CLIP_STD
from training.demo_clip import ARCHITECTURE, DemoClip, patches_of, start_from_patches
from training.losses import image_loss, patch_loss
from training.rendered import Rendered

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that the weights depend on, besides the rendered parts."""

    steps: int = 2600
    batch: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    seed: int = 1
    averaging: float = 0.995
    early_layer_weight: float = 0.3


Report = Callable[[int, dict[str, float]], None]


def fit(recipe: Recipe, load: Callable[[], Rendered], report: Report) -> DemoClip:
    """Train on the parts that `load` opens (called once in each worker). Returns the averaged model.

    `report` gets step and mean losses every 20 steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        other = multiprocessing.get_context("spawn").Process(
            target=_worker, args=(1, meeting, recipe, load), daemon=True
        )
        other.start()
        try:
            model = _train(0, meeting, recipe, load(), report)
        finally:
            other.join(timeout=60)
    return model


def _worker(rank: int, meeting: str, recipe: Recipe, load: Callable[[], Rendered]) -> None:
    _train(rank, meeting, recipe, load(), lambda step, losses: None)


def _train(rank: int, meeting: str, recipe: Recipe, parts: Rendered, report: Report) -> DemoClip:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORKERS)
    model = DemoClip(torch.Generator().manual_seed(recipe.seed))
    shared = np.random.default_rng([recipe.seed, WORKERS])  # the same in both workers
    some = np.sort(shared.choice(len(parts.images), min(400, len(parts.images)), replace=False))
    start_from_patches(model.visual, patches_of(to_tensor(parts.images[some])))
    average = copy.deepcopy(model)
    optimiser = _optimiser(model, recipe)
    draws = _batches(parts, recipe.batch // WORKERS, np.random.default_rng([recipe.seed, rank]))
    sums: dict[str, float] = {}
    for step in range(1, recipe.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        images, coverage, defective = next(draws)
        losses = _losses(model, images, coverage, defective, recipe)
        optimiser.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        _average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        _move_average(average, model, min(recipe.averaging, step / (step + 40)))
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        if step % 20 == 0:
            report(step, {name: total / 20 for name, total in sums.items()})
            sums = {}
    distributed.destroy_process_group()
    return average


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.learning_rate * min(1.0, step / recipe.warmup_steps) * (0.02 + 0.98 * cosine)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(b, S, S, 3) uint8 RGB → (b, 3, S, S) float32, normalised as `edge.preprocess` does."""
    scaled = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (scaled - mean) / std


def _losses(
    model: DemoClip, images: Tensor, coverage: Tensor, defective: Tensor, recipe: Recipe
) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        features, text = model(images)
    text = functional.normalize(text.float(), dim=-1)
    last = max(model.plan.taps)
    losses = {"image": image_loss(similarity_logits(features.class_feature.float(), text), defective)}
    for tap, patches in features.patch_features.items():
        weight = 1.0 if tap == last else recipe.early_layer_weight
        losses[f"map {tap}"] = weight * patch_loss(similarity_logits(patches.float(), text), coverage)
    return losses


def _batches(parts: Rendered, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches in shuffled passes, with turns, flips and a change of brightness."""
    defective = parts.defective
    while True:
        order = rng.permutation(len(parts.images))
        for begin in range(0, len(order) - size + 1, size):
            chosen = np.sort(order[begin : begin + size])
            turn = int(rng.integers(4))
            images = np.rot90(parts.images[chosen], turn, axes=(1, 2))
            masks = np.rot90(parts.masks[chosen], turn, axes=(1, 2))
            if rng.random() < 0.5:
                images, masks = images[:, :, ::-1], masks[:, :, ::-1]
            gain = rng.uniform(0.88, 1.12, (size, 1, 1, 1)).astype(np.float32)
            bright = np.clip(images * gain + np.float32(0.5), 0, 255).astype(np.uint8)
            covered = torch.from_numpy(np.ascontiguousarray(masks)).float()[:, None]
            coverage = functional.avg_pool2d(covered, ARCHITECTURE.patch).flatten(1)
            yield to_tensor(bright), coverage, torch.from_numpy(defective[chosen])


def _optimiser(model: DemoClip, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _average_gradients(model: DemoClip) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= WORKERS
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def _move_average(average: DemoClip, model: DemoClip, keep: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
