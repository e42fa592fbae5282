"""The demo model: a small CLIP with learned prompts, in exactly AnomalyCLIP's form.

Its vocabulary holds only the words of the two prompts; everything else (names, shapes, prompt layout, deep
prompts, second path) is what a full-size checkpoint has, so it goes through the same exporter.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.anomalyclip import AnomalyClipSettings, encode_prompts
from export.clip_file import ClipArchitecture
from export.text_tower import TextTower
from export.transformer import ResidualBlock
from export.vision_tower import VisionFeatures, VisionTower

IMAGE_SIZE = 256
SETTINGS = AnomalyClipSettings(image_size=IMAGE_SIZE, dpam=3, features=(4, 6))
ARCHITECTURE = ClipArchitecture(
    vision_width=192,
    vision_layers=6,
    patch=16,
    native_grid=16,
    embed_dim=128,
    context_length=77,
    vocab_size=8,
    text_width=64,
    text_layers=2,
)
N_CTX, T_N_CTX, DEPTH = 12, 4, 2

PADDING, FULL_STOP, PLACEHOLDER, DAMAGED, OBJECT, START, END = range(7)
PROMPTS = ((OBJECT,), (DAMAGED, OBJECT))
"""Fixed words of the normal and the abnormal prompt, after the learned context."""

PROJECTION_WIDTH = 896
"""Output width of AnomalyCLIP's `compound_prompt_projections`, which it stores and never uses."""


class DemoClip(nn.Module):
    """Image tower, text tower and prompt learner, trained together from nothing."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.plan = SETTINGS.plan(ARCHITECTURE)
        self.visual = VisionTower(ARCHITECTURE)
        self.text = TextTower(ARCHITECTURE)
        width = ARCHITECTURE.text_width
        self.context = nn.Parameter(torch.empty(2, N_CTX, width))
        self.deep_prompts = nn.Parameter(torch.empty(DEPTH - 1, T_N_CTX, width))
        self.register_buffer("token_ids", token_ids())
        _initialise(self, generator)

    def text_features(self) -> Tensor:
        """Unit features (2, D) of the two prompts."""
        ids = self.token_ids
        assert isinstance(ids, Tensor)
        words = self.text.token_embedding(ids)
        embeddings = torch.cat([words[:, :1], self.context, words[:, 1 + N_CTX :]], dim=1)
        return encode_prompts(self.text, embeddings, ids.argmax(dim=1), self.deep_prompts)

    def forward(self, images: Tensor) -> tuple[VisionFeatures, Tensor]:
        """(b, 3, S, S) → image features, text features."""
        return self.visual(images, self.plan), self.text_features()


def token_ids() -> Tensor:
    """(2, 77) int64: start, placeholders for the context, the fixed words, a full stop, end, padding."""
    rows = []
    for words in PROMPTS:
        row = [START, *[PLACEHOLDER] * N_CTX, *words, FULL_STOP, END]
        rows.append(row + [PADDING] * (ARCHITECTURE.context_length - len(row)))
    return torch.tensor(rows)


def start_from_patches(tower: VisionTower, patches: Tensor, scale: float = 0.3, floor: float = 3e-3) -> None:
    """Start the patch embedding from the whitened principal components of `patches` (n, 3·p·p).

    Natural patches are mostly brightness; a random embedding keeps just that, and thin scratches drown in it
    until the embedding has been learned.
    """
    centred = patches - patches.mean(0)
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    width = tower.conv1.weight.shape[0]
    axes, variance = axes[:, -width:].flip(1), variance[-width:].flip(0)
    whitened = (axes * scale / (variance + floor).sqrt()).T
    with torch.no_grad():
        tower.conv1.weight.copy_(whitened.reshape(tower.conv1.weight.shape))


def patches_of(images: Tensor) -> Tensor:
    """(b, 3, S, S) → (n, 3·p·p): patches that hold some structure."""
    patch = ARCHITECTURE.patch
    unfolded = functional.unfold(images, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    return unfolded[unfolded.std(1) > 0.05]


def save_clip_file(model: DemoClip, path: Path) -> None:
    """Write the towers as a CLIP state dict: OpenAI's names, matrices float16, the rest float32."""
    entries = {f"visual.{name}": tensor for name, tensor in model.visual.state_dict().items()}
    entries |= dict(model.text.state_dict().items())
    torch.save({name: _stored(name, tensor) for name, tensor in entries.items()}, path)


def save_checkpoint(model: DemoClip, path: Path, generator: torch.Generator) -> None:
    """Write the prompts as AnomalyCLIP writes `epoch_N.pth`."""
    ids = token_ids()
    # A CLIP file stores these embeddings; the checkpoint repeats them bit for bit.
    words = _stored("token_embedding.weight", model.text.token_embedding.weight.detach()).float()[ids]
    width = ARCHITECTURE.text_width
    learner: dict[str, Tensor] = {}
    for row, state in enumerate(("pos", "neg")):
        learner[f"ctx_{state}"] = model.context.detach()[row][None, None].clone()
        learner[f"token_prefix_{state}"] = words[row, :1][None, None].clone()
        learner[f"token_suffix_{state}"] = words[row, 1 + N_CTX :][None, None].clone()
        learner[f"tokenized_prompts_{state}"] = ids[row][None, None].int()
    for index, prompt in enumerate(model.deep_prompts.detach()):
        learner[f"compound_prompts_text.{index}"] = prompt.clone()
        learner[f"compound_prompt_projections.{index}.weight"] = _normal(
            torch.empty(PROJECTION_WIDTH, width), width**-0.5, generator
        )
        learner[f"compound_prompt_projections.{index}.bias"] = torch.zeros(PROJECTION_WIDTH)
    torch.save({"prompt_learner": learner}, path)


def _stored(name: str, tensor: Tensor) -> Tensor:
    """OpenAI's storage: matrices of the blocks, projections and the patch embedding are float16."""
    halved = tensor.ndim >= 2 and not name.endswith("positional_embedding")
    kept = tensor.detach().clone()
    return kept.half() if halved else kept.float()


def _initialise(model: DemoClip, generator: torch.Generator) -> None:
    """Normal weights scaled by width and depth (as in CLIP's own initialisation), unit norms, zero biases."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for tower in (model.visual, model.text):
        for block in tower.transformer.blocks():
            _initialise_block(block, len(tower.transformer.blocks()), generator)
    width, text_width = ARCHITECTURE.vision_width, ARCHITECTURE.text_width
    with torch.no_grad():
        _normal(model.visual.conv1.weight, 0.02, generator)
        _normal(model.visual.class_embedding, width**-0.5, generator)
        _normal(model.visual.positional_embedding, width**-0.5, generator)
        _normal(model.visual.proj, width**-0.5, generator)
        _normal(model.text.token_embedding.weight, 0.02, generator)
        _normal(model.text.positional_embedding, 0.01, generator)
        _normal(model.text.text_projection, text_width**-0.5, generator)
        _normal(model.context, 0.02, generator)
        _normal(model.deep_prompts, 0.02, generator)


def _initialise_block(block: ResidualBlock, layers: int, generator: torch.Generator) -> None:
    width = block.attn.width
    narrow = width**-0.5 * (2 * layers) ** -0.5
    c_fc, c_proj = block.mlp.get_submodule("c_fc"), block.mlp.get_submodule("c_proj")
    assert isinstance(c_fc, nn.Linear)
    assert isinstance(c_proj, nn.Linear)
    with torch.no_grad():
        _normal(block.attn.in_proj_weight, width**-0.5, generator)
        _normal(block.attn.out_proj.weight, narrow, generator)
        _normal(c_fc.weight, (2 * width) ** -0.5, generator)
        _normal(c_proj.weight, narrow, generator)
        for bias in (block.attn.in_proj_bias, block.attn.out_proj.bias, c_fc.bias, c_proj.bias):
            bias.zero_()


def _normal(tensor: Tensor, std: float, generator: torch.Generator) -> Tensor:
    with torch.no_grad():
        return tensor.normal_(0.0, std, generator=generator)
