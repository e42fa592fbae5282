"""One random model in every layout and container that is accepted, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("safetensors", reason="the exporter needs safetensors, which is not installed here")

import torch
from safetensors.torch import save_file

from edge.errors import ModelFileError
from export.anomalyclip import AnomalyClipSettings, build_graph
from export.clip_file import ClipArchitecture, read_clip_file
from export.clip_layouts import Layout
from export.prompt_checkpoint import PromptCheckpoint

Entries = dict[str, torch.Tensor]

SETTINGS = AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4))


def as_custom_text(entries: Entries) -> Entries:
    """The names of open_clip's CustomTextCLIP: its text tower is a module called `text`."""
    visual = {name: tensor for name, tensor in entries.items() if name.startswith("visual.")}
    text = {f"text.{name}": tensor for name, tensor in entries.items() if name not in visual}
    return {"logit_scale": torch.tensor(4.6), **visual, **text}


def as_hugging_face(entries: Entries) -> Entries:
    """The names of CLIPModel in Hugging Face transformers, as version 5.23 writes them, with old buffers."""
    named = {
        "logit_scale": torch.tensor(4.6),
        "text_model.embeddings.position_ids": torch.arange(12)[None],
        "vision_model.embeddings.position_ids": torch.arange(10)[None],
        "visual_projection.weight": entries["visual.proj"].T.contiguous(),
        "text_projection.weight": entries["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": entries["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": entries["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": entries["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": entries["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": entries["positional_embedding"],
    }
    for kind in ("weight", "bias"):
        named[f"vision_model.pre_layrnorm.{kind}"] = entries[f"visual.ln_pre.{kind}"]
        named[f"vision_model.post_layernorm.{kind}"] = entries[f"visual.ln_post.{kind}"]
        named[f"text_model.final_layer_norm.{kind}"] = entries[f"ln_final.{kind}"]
        for ours, theirs, layers in (
            ("visual.transformer", "vision_model", 4),
            ("transformer", "text_model", 3),
        ):
            for k in range(layers):
                source, target = f"{ours}.resblocks.{k}", f"{theirs}.encoder.layers.{k}"
                q, key, value = entries[f"{source}.attn.in_proj_{kind}"].chunk(3)
                named |= {
                    f"{target}.self_attn.k_proj.{kind}": key.clone(),
                    f"{target}.self_attn.v_proj.{kind}": value.clone(),
                    f"{target}.self_attn.q_proj.{kind}": q.clone(),
                    f"{target}.self_attn.out_proj.{kind}": entries[f"{source}.attn.out_proj.{kind}"],
                    f"{target}.layer_norm1.{kind}": entries[f"{source}.ln_1.{kind}"],
                    f"{target}.mlp.fc1.{kind}": entries[f"{source}.mlp.c_fc.{kind}"],
                    f"{target}.mlp.fc2.{kind}": entries[f"{source}.mlp.c_proj.{kind}"],
                    f"{target}.layer_norm2.{kind}": entries[f"{source}.ln_2.{kind}"],
                }
    return named


LAYOUTS: dict[Layout, Callable[[Entries], Entries]] = {
    Layout.OPENAI: lambda entries: {"logit_scale": torch.tensor(4.6), **entries},
    Layout.CUSTOM_TEXT: as_custom_text,
    Layout.HUGGING_FACE: as_hugging_face,
}


@pytest.fixture
def entries(architecture: ClipArchitecture, random_entries: Callable[..., Entries]) -> Entries:
    return random_entries(architecture)


def save_sharded(entries: Entries, folder: Path, parts: int = 3, suffix: str = "safetensors") -> Path:
    """Several files and their index, as Hugging Face transformers writes a large model."""
    weight_map = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.{suffix}"
        content = {key: entries[key] for key in sorted(entries)[part::parts]}
        weight_map |= dict.fromkeys(content, name)
        save_file(content, folder / name) if suffix == "safetensors" else torch.save(content, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("container", ["pt", "safetensors", "index", "index of bin"])
def test_every_layout_and_container_gives_the_same_model(
    layout: Layout, container: str, entries: Entries, architecture: ClipArchitecture, tmp_path: Path
) -> None:
    stored = LAYOUTS[layout](entries)
    path = tmp_path / f"clip.{container}"
    if container == "pt":
        torch.save(stored, path)
    elif container == "safetensors":
        save_file(stored, path)
    else:
        path = save_sharded(stored, tmp_path, suffix="bin" if "bin" in container else "safetensors")
    clip = read_clip_file(path)
    assert (clip.layout, clip.architecture) == (layout, architecture)
    assert clip.entries.keys() == entries.keys()
    for name, tensor in clip.entries.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, entries[name].float()), name


def test_every_layout_gives_the_same_scores(
    entries: Entries, checkpoint: PromptCheckpoint, tmp_path: Path
) -> None:
    image = torch.randn(1, 3, 36, 36, generator=torch.Generator().manual_seed(4))
    found = []
    for layout, convert in LAYOUTS.items():
        save_file(convert(entries), tmp_path / "clip.safetensors")
        clip = read_clip_file(tmp_path / "clip.safetensors")
        assert clip.layout is layout
        found.append(build_graph(clip, checkpoint, SETTINGS)(image))
    for score, anomaly_map in found[1:]:
        assert torch.equal(score, found[0][0])
        assert torch.equal(anomaly_map, found[0][1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_stored_precision(layout: Layout, dtype: torch.dtype, entries: Entries, tmp_path: Path) -> None:
    narrow = {name: tensor.to(dtype) for name, tensor in entries.items()}
    save_file(LAYOUTS[layout](narrow), tmp_path / "clip.safetensors")
    clip = read_clip_file(tmp_path / "clip.safetensors")
    for name, tensor in clip.entries.items():
        assert torch.equal(tensor, narrow[name].float()), name


def test_the_hash_covers_every_file_of_an_index(entries: Entries, tmp_path: Path) -> None:
    index = save_sharded(entries, tmp_path)
    before = read_clip_file(index)
    entries["visual.ln_post.bias"] += 1
    assert save_sharded(entries, tmp_path).read_bytes() == index.read_bytes()
    assert read_clip_file(index).sha256 != before.sha256


def named(*names: str) -> Entries:
    return {name: torch.ones(2) for name in names}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (named("visual.layer1.0.conv1.weight", "visual.conv1.weight"), "CLIP with a ResNet image tower"),
        (named("visual.trunk.attn_pool.latent", "text.ln_final.weight"), "SigLIP model of open_clip"),
        (named("vision_model.head.probe", "text_model.head.weight"), "is a SigLIP model"),
        (named("visual.conv1.weight", "text.ln_final.weight", "logit_bias"), "is a SigLIP model"),
        (named("visual.trunk.blocks.0.attn.q_proj.weight"), "EVA-CLIP model of open_clip"),
        (named("visual.blocks.0.attn.q_bias", "text.ln_final.weight"), "is an EVA-CLIP model"),
        (named("visual.trunk.stages.0.blocks.0.gamma"), "ConvNeXt image tower"),
        (named("visual.trunk.blocks.0.norm1.weight"), "image tower of timm"),
        (named("visual.attn_pool.query", "text.ln_final.weight"), "CoCa model"),
        (named("visual.conv1.weight", "text.transformer.embeddings.word"), "text tower of Hugging Face"),
        (named("vision_model.pre_layrnorm.bias", "text_model.encoder.layer.0.bias"), "BERT text tower"),
        # halves of a model
        (named("vision_model.pre_layrnorm.bias", "visual_projection.weight"), "only the image tower"),
        (named("visual.conv1.weight", "visual.proj"), "only the image tower"),
        (named("text_model.final_layer_norm.bias", "text_projection.weight"), "only the text tower"),
        # something else altogether
        (named("conv1.weight", "bn1.bias", "fc.weight", "fc.bias"), "entries are bn1.bias, conv1.weight, fc"),
        (named("logit_scale"), r"its entries are none \(0 in all\)"),
    ],
)
def test_other_models_are_refused_by_name(stored: Entries, message: str, tmp_path: Path) -> None:
    save_file(stored, tmp_path / "clip.safetensors")
    with pytest.raises(ModelFileError, match=message) as caught:
        read_clip_file(tmp_path / "clip.safetensors")
    assert "OpenAI's .pt file or its state dict" in caught.value.do
    assert "Hugging Face" in caught.value.do


Q = "vision_model.encoder.layers.1.self_attn.q_proj"
K = "vision_model.encoder.layers.1.self_attn.k_proj"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({f"{Q}.weight": None}, f"lacks {Q}.weight"),
        ({f"{K}.bias": None}, f"lacks {K}.bias"),
        (
            {f"{K}.bias": torch.ones(64)},
            r"q, k and v of .*layers.1.self_attn differ: \[128\], \[64\], \[128\]",
        ),
        ({f"{K}.weight": torch.tensor(1.0)}, r"differ: \[128, 128\], \[\], \[128, 128\]"),
        (
            {f"{part}.bias": None for part in (Q, K, Q.replace("q_proj", "v_proj"))},
            "lacks, in OpenAI's names, visual.transformer.resblocks.1.attn.in_proj_bias",
        ),
        ({"vision_model.post_layernorm.bias": None}, "lacks, in OpenAI's names, visual.ln_post.bias"),
        ({"vision_model.adapter.weight": torch.ones(1)}, "no CLIP ViT has: vision_model.adapter.weight"),
        ({"text_model.encoder.layers.0.lora.weight": torch.ones(1)}, "no CLIP ViT has: text_model.encoder"),
        ({"text_model.encoder.layers.x.q_proj": torch.ones(1)}, "no CLIP ViT has: text_model.encoder"),
        ({"visual_projection.weight": torch.ones(32)}, r"visual.proj is \[32\] .* need \[128, 32\]"),
        (
            {"visual_projection.weight": torch.ones(128, 32)},
            r"visual.proj is \[32, 128\] .* need \[128, 32\]",
        ),
        # entries under two names
        (
            {"text_projection": torch.ones(64, 32)},
            "the same entry as text_projection and as text_projection.w",
        ),
        ({"visual.ln_post.bias": torch.ones(128)}, "and as visual.ln_post.bias"),
        # weights that were quantised
        ({f"{Q}.weight": torch.ones(128, 128, dtype=torch.int8)}, "q_proj.weight is stored as int8"),
        ({f"{Q}.weight": torch.ones(128, 128).to(torch.float8_e4m3fn)}, "is stored as float8_e4m3fn"),
    ],
)
def test_incomplete_hugging_face_files(
    changed: dict[str, torch.Tensor | None], message: str, entries: Entries, tmp_path: Path
) -> None:
    stored = {**as_hugging_face(entries), **changed}
    save_file({name: t for name, t in stored.items() if t is not None}, tmp_path / "clip.safetensors")
    with pytest.raises(ModelFileError, match=message):
        read_clip_file(tmp_path / "clip.safetensors")


def test_text_entries_with_and_without_their_prefix(entries: Entries, tmp_path: Path) -> None:
    stored = as_custom_text(entries) | {"positional_embedding": torch.ones(12, 64)}
    save_file(stored, tmp_path / "clip.safetensors")
    with pytest.raises(ModelFileError, match="with and without the prefix"):
        read_clip_file(tmp_path / "clip.safetensors")
