"""Small random CLIP models on disk, and the golden cases of the compatibility yardstick."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(os.environ.get("ADCLIP_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
START, END = 40, 41


EXPORT_TIMEOUT_S = 180
"""The first export of a process waits for torch to get going, on a busy machine for long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder the time that an export may take, unless they name their own."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(EXPORT_TIMEOUT_S))


@dataclass(frozen=True)
class ModelFiles:
    """A CLIP file and a checkpoint that belong together."""

    clip: Path
    checkpoint: Path


@pytest.fixture(scope="session")
def torch() -> Any:
    return pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")


@pytest.fixture(scope="session")
def architecture(torch: Any) -> Any:
    """4 blocks of 2 heads, patch 8, native grid 3; text 3 blocks of 1 head, 12 tokens, 42 words."""
    from export.clip_file import ClipArchitecture

    return ClipArchitecture(
        vision_width=128,
        vision_layers=4,
        patch=8,
        native_grid=3,
        embed_dim=32,
        context_length=12,
        vocab_size=42,
        text_width=64,
        text_layers=3,
    )


@pytest.fixture(scope="session")
def random_entries(torch: Any) -> Callable[..., dict[str, Any]]:
    """CLIP entries of an architecture, seeded; weights are float16 as in OpenAI's files, norms float32."""

    def make(architecture: Any, seed: int = 0) -> dict[str, Any]:
        random = torch.Generator().manual_seed(seed)
        return {
            name: _random_entry(name, torch.randn(shape, generator=random))
            for name, shape in architecture.shapes().items()
        }

    return make


@pytest.fixture(scope="session")
def random_prompts(torch: Any) -> Callable[..., dict[str, Any]]:
    """A prompt learner's state dict for CLIP entries, with upstream's names, shapes and dtypes."""

    def make(
        entries: dict[str, Any], *, n_ctx: int = 4, t_n_ctx: int = 2, depth: int = 3, seed: int = 1
    ) -> dict[str, Any]:
        random = torch.Generator().manual_seed(seed)
        length, width = entries["positional_embedding"].shape
        embedding = entries["token_embedding.weight"].float()
        learner = {}
        for state, words in (("pos", [7]), ("neg", [6, 7])):
            ids = [START, *[5] * n_ctx, *words, END]
            tokens = torch.tensor(ids + [0] * (length - len(ids)), dtype=torch.int32)
            embedded = embedding[tokens.long()][None, None]
            learner[f"ctx_{state}"] = 0.5 * torch.randn(1, 1, n_ctx, width, generator=random)
            learner[f"token_prefix_{state}"] = embedded[:, :, :1].clone()
            learner[f"token_suffix_{state}"] = embedded[:, :, 1 + n_ctx :].clone()
            learner[f"tokenized_prompts_{state}"] = tokens[None, None]
        for i in range(depth - 1):
            learner[f"compound_prompts_text.{i}"] = 0.5 * torch.randn(t_n_ctx, width, generator=random)
            learner[f"compound_prompt_projections.{i}.weight"] = torch.zeros(896, width)
            learner[f"compound_prompt_projections.{i}.bias"] = torch.zeros(896)
        return learner

    return make


@pytest.fixture(scope="session")
def save_torchscript(torch: Any) -> Callable[[dict[str, Any], Path], None]:
    """Write entries the way OpenAI publishes them: parameters of a TorchScript archive."""

    def save(entries: dict[str, Any], path: Path) -> None:
        root = torch.nn.Module()
        for name, tensor in entries.items():
            *folders, leaf = name.split(".")
            module = root
            for folder in folders:
                if folder not in module._modules:
                    module.add_module(folder, torch.nn.Module())
                module = module._modules[folder]
            if tensor.is_floating_point():
                module.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                module.register_buffer(leaf, tensor)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
            torch.jit.save(torch.jit.script(root.eval()), str(path))

    return save


@pytest.fixture(scope="session")
def model_files(
    torch: Any,
    architecture: Any,
    random_entries: Callable[..., dict[str, Any]],
    random_prompts: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> ModelFiles:
    """The small model on disk; read-only by convention."""
    folder = tmp_path_factory.mktemp("model")
    entries = random_entries(architecture)
    torch.save(entries, folder / "clip.pt")
    torch.save({"prompt_learner": random_prompts(entries)}, folder / "epoch_15.pth")
    return ModelFiles(folder / "clip.pt", folder / "epoch_15.pth")


@pytest.fixture(scope="session")
def clip(model_files: ModelFiles) -> Any:
    from export.clip_file import read_clip_file

    return read_clip_file(model_files.clip)


@pytest.fixture(scope="session")
def checkpoint(model_files: ModelFiles) -> Any:
    from export.prompt_checkpoint import read_prompt_checkpoint

    return read_prompt_checkpoint(model_files.checkpoint)


@pytest.fixture(scope="session")
def exported(model_files: ModelFiles, torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small model as a finished bundle; read-only by convention."""
    pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")
    from export.anomalyclip import AnomalyClipSettings
    from export.bundle_from_anomalyclip import export_anomalyclip

    settings = AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4), sigma=2.0)
    out = tmp_path_factory.mktemp("exported") / "bundle"
    return export_anomalyclip(model_files.clip, model_files.checkpoint, settings, out)


@pytest.fixture(scope="session")
def golden_fixtures(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The yardstick's CLIP files, checkpoints and pictures, written by its own script."""
    script = GOLDEN / "make_fixtures.py"
    if not script.is_file():
        pytest.skip(f"no golden cases at {GOLDEN}; set ADCLIP_GOLDEN to their folder")
    folder = tmp_path_factory.mktemp("golden")
    subprocess.run([sys.executable, script, "--out", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def golden_outputs() -> Callable[[str], dict[str, np.ndarray]]:
    """What upstream itself computed for a case."""

    def load(case: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / "npz" / f"{case}.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    return load


def _random_entry(name: str, noise: Any) -> Any:
    if "ln_" in name:
        return 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
    if "embedding" in name:
        return 0.5 * noise
    if noise.ndim == 1:
        return (0.1 * noise).half()
    inputs = noise.shape[0] if name in {"visual.proj", "text_projection"} else noise[0].numel()
    return (noise * inputs**-0.5).half()
