"""Every backbone and every setting that AnomalyCLIP allows.

Small models run all settings against a computation in float64 that is written down here step by step and
shares nothing with the package. Models of the four backbones' real shapes, with random weights, go all the way
from files to an inspection; at 518 px that takes minutes and gigabytes, so those ask to be enabled.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import numpy as np
import onnx_ir
import torch
from torch import Tensor
from torch.nn import functional

from edge.bundle import open_bundle
from edge.config import OnnxRuntimeConfig
from edge.golden import check_golden
from edge.inspection import Inspector
from edge.manifest import MODEL_FP32
from edge.messages import Frame, PixelFormat
from edge.runner import open_runner
from export.anomalyclip import AnomalyClipSettings, build_graph
from export.bundle_from_anomalyclip import export_anomalyclip
from export.clip_file import ClipArchitecture, ClipWeights, read_clip_file
from export.graph_cost import graph_cost
from export.prompt_checkpoint import PromptCheckpoint, read_prompt_checkpoint

Entries = dict[str, Tensor]

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Model:
    """A small model: what its files hold, and what the package reads from them."""

    entries: Entries
    learner: Entries
    clip: ClipWeights
    checkpoint: PromptCheckpoint


@pytest.fixture(scope="module")
def make_model(
    random_entries: Callable[..., Entries],
    random_prompts: Callable[..., Entries],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Model]:
    """Write a model's two files and read them; keywords are those of `random_prompts`."""

    def make(architecture: ClipArchitecture, **prompts: int) -> Model:
        folder = tmp_path_factory.mktemp("small")
        entries = random_entries(architecture)
        learner = random_prompts(entries, **prompts)
        torch.save(entries, folder / "clip.pt")
        torch.save({"prompt_learner": learner}, folder / "epoch_1.pth")
        return Model(
            {name: tensor.double() for name, tensor in entries.items()},
            learner,
            read_clip_file(folder / "clip.pt"),
            read_prompt_checkpoint(folder / "epoch_1.pth"),
        )

    return make


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Model], architecture: ClipArchitecture) -> Model:
    return make_model(architecture)


# The computation, step by step, of one picture (3, S, S). w: entries of CLIP, p: of the prompt learner.


def norm(w: Entries, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Entries, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def mlp(w: Entries, block: str, x: Tensor) -> Tensor:
    hidden = linear(w, f"{block}.mlp.c_fc", norm(w, f"{block}.ln_2", x))
    return linear(w, f"{block}.mlp.c_proj", hidden / (1 + torch.exp(-1.702 * hidden)))


def attention(
    w: Entries, block: str, x: Tensor, *, values_only: bool = False, causal: bool = False
) -> Tensor:
    width = x.shape[1]
    stacked = norm(w, f"{block}.ln_1", x) @ w[f"{block}.attn.in_proj_weight"].T
    q, k, v = (stacked + w[f"{block}.attn.in_proj_bias"]).split(width, dim=1)
    if values_only:
        q = k = v
    heads = []
    for start in range(0, width, 64):
        part = slice(start, start + 64)
        scores = q[:, part] @ k[:, part].T / math.sqrt(64)
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        weights = torch.exp(scores - scores.amax(1, keepdim=True))
        heads.append(weights / weights.sum(1, keepdim=True) @ v[:, part])
    return linear(w, f"{block}.attn.out_proj", torch.cat(heads, dim=1))


def blocks_of(w: Entries, tower: str) -> list[str]:
    count = len({n.split("resblocks.")[1].split(".")[0] for n in w if n.startswith(f"{tower}.resblocks.")})
    return [f"{tower}.resblocks.{k}" for k in range(count)]


def text_feature(w: Entries, p: Entries, state: str) -> Tensor:
    parts = (p[f"{part}_{state}"][0, 0].double() for part in ("token_prefix", "ctx", "token_suffix"))
    x = torch.cat(list(parts)) + w["positional_embedding"]
    for i, block in enumerate(blocks_of(w, "transformer")):
        deep = p.get(f"compound_prompts_text.{i - 1}")
        if deep is not None:
            x[1 : 1 + len(deep)] = deep.half().double()
        x = x + attention(w, block, x, causal=True)
        x = x + mlp(w, block, x)
    end = int(p[f"tokenized_prompts_{state}"][0, 0].argmax())
    feature = norm(w, "ln_final", x)[end] @ w["text_projection"]
    return feature / feature.norm()


def embedded(w: Entries, image: Tensor) -> Tensor:
    weight = w["visual.conv1.weight"]
    patch, grid = weight.shape[2], image.shape[1] // weight.shape[2]
    rows = [
        (weight * image[:, patch * y : patch * (y + 1), patch * x : patch * (x + 1)]).sum((1, 2, 3))
        for y in range(grid)
        for x in range(grid)
    ]
    positions = w["visual.positional_embedding"]
    native = math.isqrt(len(positions) - 1)
    plane = positions[1:].T.reshape(1, -1, native, native)
    if grid != native:
        plane = functional.interpolate(plane, (grid, grid), mode="bilinear", align_corners=False)
    resized = torch.cat([positions[:1], plane.flatten(2)[0].T])
    return norm(w, "visual.ln_pre", torch.stack([w["visual.class_embedding"], *rows]) + resized)


def naive(
    w: Entries, p: Entries, image: Tensor, *, dpam: int, features: tuple[int, ...], legacy: bool
) -> tuple[Tensor, Tensor]:
    """Image score and map (g, g). Legacy is what happens when results are handed out without a copy while the
    new path is updated in place."""
    names = blocks_of(w, "visual.transformer")
    original, new, selected = embedded(w, image), None, []
    for number, block in enumerate(names, start=1):
        if number > len(names) - (dpam - 1):
            if new is None:
                new, original = original, original.clone()
            new += attention(w, block, original, values_only=True)
        original = original + attention(w, block, original)
        original = original + mlp(w, block, original)
        if number in features:
            tokens = original if new is None else new
            selected.append(tokens if legacy else tokens.clone())
    text = torch.stack([text_feature(w, p, state) for state in ("pos", "neg")])

    def abnormal(feature: Tensor) -> Tensor:
        logits = feature / feature.norm(dim=-1, keepdim=True) @ text.T / 0.07
        return logits.softmax(-1)[..., 1]

    maps = [abnormal(norm(w, "visual.ln_post", tokens)[1:] @ w["visual.proj"]) for tokens in selected]
    grid = math.isqrt(len(maps[0]))
    return abnormal(original[0] @ w["visual.proj"]), torch.stack(maps).sum(0).reshape(grid, grid)


def assert_equal_to_naive(
    model: Model,
    *,
    size: int = 36,
    dpam: int = 3,
    features: tuple[int, ...] = (2, 4),
    legacy: bool = False,
) -> None:
    image = torch.randn(3, size, size, generator=torch.Generator().manual_seed(size))
    settings = AnomalyClipSettings(
        image_size=size, dpam=dpam, features=features, legacy_features=legacy, sigma=4
    )
    with torch.no_grad():
        score, anomaly_map = build_graph(model.clip, model.checkpoint, settings)(image[None])
        expected, expected_map = naive(
            model.entries, model.learner, image.double(), dpam=dpam, features=features, legacy=legacy
        )
    torch.testing.assert_close(score[0].double(), expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(anomaly_map[0].double(), expected_map, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("features", [(4,), (1,), (3,), (2, 4), (1, 2, 3, 4), (4, 3), (2, 6, 12, 24)])
@pytest.mark.parametrize("dpam", [2, 3, 4, 5])
def test_every_dpam_with_features_and_legacy(
    dpam: int, features: tuple[int, ...], legacy: bool, model: Model
) -> None:
    assert_equal_to_naive(model, dpam=dpam, features=features, legacy=legacy)


# t_n_ctx may be more than n_ctx: deep prompts then overwrite the fixed words too
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("n_ctx", "t_n_ctx"), [(1, 1), (1, 3), (4, 2), (4, 4), (6, 7), (8, 1), (8, 8)])
def test_every_length_and_depth_of_prompts(
    n_ctx: int,
    t_n_ctx: int,
    depth: int,
    make_model: Callable[..., Model],
    architecture: ClipArchitecture,
) -> None:
    assert_equal_to_naive(make_model(architecture, n_ctx=n_ctx, t_n_ctx=t_n_ctx, depth=depth))


# with patches of 8 px and a native grid of 3: smaller, native and larger grids, with and without leftover pixels
@pytest.mark.parametrize("size", [8, 15, 16, 23, 24, 25, 31, 40, 47, 64])
def test_every_image_size(size: int, model: Model) -> None:
    assert_equal_to_naive(model, size=size)


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        # patch and native grid of each backbone, at a size with leftover pixels
        ({"patch": 32, "native_grid": 7}, 134),
        ({"patch": 16, "native_grid": 14}, 70),
        ({"patch": 14, "native_grid": 16}, 71),
        ({"patch": 14, "native_grid": 24}, 70),
        # other depths and widths; one block alone has nothing but a dual one
        ({"vision_layers": 1, "native_grid": 1}, 36),
        ({"vision_layers": 6, "text_layers": 1}, 36),
        ({"vision_width": 64, "text_width": 128, "embed_dim": 48}, 36),
        ({"vision_width": 192, "context_length": 16}, 36),
    ],
)
def test_every_shape(
    changed: dict[str, int], size: int, make_model: Callable[..., Model], architecture: ClipArchitecture
) -> None:
    model = make_model(replace(architecture, **changed))
    layers = model.clip.architecture.vision_layers
    for dpam in {2, layers + 1}:
        assert_equal_to_naive(model, size=size, dpam=dpam, features=tuple(range(1, layers + 1)))


# Real shapes, from files to an inspection.

VIT_B_32 = ClipArchitecture(
    vision_width=768,
    vision_layers=12,
    patch=32,
    native_grid=7,
    embed_dim=512,
    context_length=77,
    vocab_size=42,  # the words of `random_prompts`
    text_width=512,
    text_layers=12,
)
VIT_B_16 = replace(VIT_B_32, patch=16, native_grid=14)
VIT_L_14 = replace(
    VIT_B_32,
    vision_width=1024,
    vision_layers=24,
    patch=14,
    native_grid=16,
    embed_dim=768,
    text_width=768,
)
VIT_L_14_336 = replace(VIT_L_14, native_grid=24)

REAL_SHAPES = pytest.mark.skipif(
    os.environ.get("ADCLIP_REAL_SHAPES") != "1",
    reason="takes minutes and up to 8 GB; set ADCLIP_REAL_SHAPES=1 to run it",
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    # gflop: what both paths cost when they are computed in full
    ("architecture", "name", "size", "settings", "gflop"),
    [
        (VIT_B_32, "ViT-B/32", 96, {"dpam": 13, "features": (6, 12, 18, 24)}, 1.89),
        pytest.param(VIT_B_32, "ViT-B/32", 518, {"dpam": 13, "features": (6, 12)}, 53.4, marks=REAL_SHAPES),
        pytest.param(VIT_B_16, "ViT-B/16", 518, {"dpam": 13, "features": (6, 12)}, 267, marks=REAL_SHAPES),
        pytest.param(VIT_L_14, "ViT-L/14", 518, {"dpam": 20, "features": (24,)}, 1214, marks=REAL_SHAPES),
        pytest.param(
            VIT_L_14_336,
            "ViT-L/14@336px",
            518,
            {"dpam": 20, "features": (6, 12, 18, 24), "legacy_features": True},
            1214,
            marks=REAL_SHAPES,
        ),
    ],
)
def test_real_shapes_from_files_to_an_inspection(
    architecture: ClipArchitecture,
    name: str,
    size: int,
    settings: dict[str, object],
    gflop: float,
    random_entries: Callable[..., Entries],
    random_prompts: Callable[..., Entries],
    tmp_path: Path,
) -> None:
    entries = random_entries(architecture)
    torch.save(entries, tmp_path / "clip.pt")
    prompts = random_prompts(entries, n_ctx=12, t_n_ctx=4, depth=9)
    torch.save({"prompt_learner": prompts}, tmp_path / "epoch_1.pth")
    del entries, prompts
    export_anomalyclip(
        tmp_path / "clip.pt",
        tmp_path / "epoch_1.pth",
        AnomalyClipSettings(image_size=size, **settings),  # type: ignore[arg-type]
        tmp_path / "bundle",
    )
    bundle = open_bundle(tmp_path / "bundle")
    grid = size // architecture.patch
    assert bundle.manifest.backbone == name
    assert bundle.manifest.map.grid == (grid, grid)
    cost = graph_cost(onnx_ir.load(bundle.folder / MODEL_FP32))
    # less what feeds nothing in the last block
    assert 0.93 * gflop < cost.gflop < 0.98 * gflop
    assert cost.not_counted == ()
    runner = open_runner(bundle, OnnxRuntimeConfig())
    assert check_golden(bundle, runner).passed
    frame = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    inspector = Inspector(bundle, runner, bundle.manifest.preprocessing, time.monotonic_ns)
    inspection = inspector.inspect(Frame(1, 1, 0, 0, frame, PixelFormat.BAYER_RG8))
    runner.close()
    assert inspection.anomaly_map.shape == (size, size)
    assert 0 <= inspection.score <= 1
    assert 0 <= inspection.anomaly_map.min() <= inspection.anomaly_map.max() <= bundle.manifest.map.layers
