"""AA-CLIP written down a second time, straight from its formulas, against the bundle that we ship.

The reference shares no code with the exporter or the line: its own sentences, tokens and loops, torch's own
attention, Pillow called directly, a Gaussian by convolution, and min-max over the whole set of pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

RELATIVE = 1e-5
"""Of the range of the outputs, which min-max makes 0 to 1. At most 1.1e-6 was found."""

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Case:
    """One way in which a user may have trained."""

    name: str
    size: int = 44
    levels: tuple[int, ...] = (1, 3, 4)
    adapters: int = 2
    relu: bool = False
    text_adapters: int | None = 2
    domain: str = "industrial"
    weights: tuple[float, float] = (0.1, 0.1)
    product: str = "object"


CASES = (
    Case("as upstream trains by default"),
    # the last block of the tower is a level, as in upstream's own setting, and all levels have adapters
    Case("projections with activation", relu=True, levels=(2, 4, 5), adapters=5, size=47),
    # a grid of 9 patches, wider than the native one of 7; the others but the last are narrower
    Case("without a text adapter", text_adapters=None, product="Metal Ring", size=75),
    Case("medical", domain="medical", size=41, levels=(5,), adapters=0, text_adapters=0),
    Case("other weights at the native grid", weights=(0.7, 0.35), size=56, levels=(1, 2)),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scores_and_maps_of_the_set_are_the_references(
    case: Case,
    torch: Any,
    aaclip_files: Any,
    image_adapter: Callable[..., dict[str, Any]],
    text_adapter: Callable[..., dict[str, Any]],
    save_adapter: Callable[..., Path],
    naive_encode: Callable[[str], list[int]],
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")
    image = image_adapter(adapters=case.adapters, levels=len(case.levels), relu=case.relu)
    text = None if case.text_adapters is None else text_adapter(adapters=case.text_adapters)
    arguments = [
        *("--clip", aaclip_files.clip, "--vocabulary", aaclip_files.vocabulary),
        *("--image-adapter", save_adapter("image_adapter", image, tmp_path / "image.pth")),
        *("--product", case.product, "--image-size", case.size, "--domain", case.domain),
        *("--levels", ",".join(map(str, case.levels)), "--calibration-images", aaclip_files.pictures),
        *("--image-adapt-weight", case.weights[0], "--text-adapt-weight", case.weights[1]),
        *("--out", tmp_path / "bundle", "--fp32-only"),
    ]
    if text is not None:
        arguments += ["--text-adapter", save_adapter("text_adapter", text, tmp_path / "text.pth")]
    _export(arguments)
    found = _infer(tmp_path / "bundle", aaclip_files.pictures, tmp_path / "maps")

    entries = {name: tensor.float() for name, tensor in torch.load(aaclip_files.clip).items()}
    reference = Reference(torch, case, entries, image, text, naive_encode)
    wanted = reference.of_set(sorted(aaclip_files.pictures.iterdir()))
    assert found.keys() == wanted.keys()
    for name, (score, anomaly_map) in wanted.items():
        assert found[name][0] == pytest.approx(score, abs=RELATIVE)
        assert np.abs(found[name][1] - anomaly_map).max() <= RELATIVE
    scores = [score for score, _ in wanted.values()]
    assert max(scores) - min(scores) > 0.05  # else the tolerance would prove nothing


class Reference:
    """AA-CLIP's inference over a set of pictures, one at a time."""

    def __init__(
        self,
        torch: Any,
        case: Case,
        entries: dict[str, Any],
        image: dict[str, Any],
        text: dict[str, Any] | None,
        encode: Callable[[str], list[int]],
    ) -> None:
        self.torch, self.functional = torch, torch.nn.functional
        self.case, self.entries, self.image, self.text, self.encode = case, entries, image, text, encode

    def of_set(self, paths: list[Path]) -> dict[str, tuple[float, Any]]:
        """Image score and anomaly map of every picture, scaled over all of them."""
        with self.torch.no_grad():
            states = self.states()
            raw = [self.raw(path, states) for path in paths]
        scores = np.array([score for score, _ in raw])
        maps = np.stack([anomaly_map for _, anomaly_map in raw])
        scores = (scores - scores.min()) / (scores.max() - scores.min())
        maps = (maps - maps.min()) / (maps.max() - maps.min())
        peaks = maps.reshape(len(maps), -1).max(axis=1)
        blended = peaks if self.case.domain == "medical" else 0.5 * peaks + 0.5 * scores
        return {path.stem: (blended[i], maps[i]) for i, path in enumerate(paths)}

    def raw(self, path: Path, states: Any) -> tuple[float, Any]:
        """Before any scale."""
        detection, levels = self.vision(path)
        score = float((detection @ states[:, 1] + 1) / 2)
        total = sum(self.upsampled(100 * features @ states) for features in levels)
        return score, total.numpy()

    def upsampled(self, similarity: Any) -> Any:
        """(patches, 2) → (size, size)."""
        grid = self.case.size // 8
        values = ((similarity[:, 1] + 1 - similarity[:, 0]) / 2).reshape(1, 1, grid, grid)
        side, sigma = (9, 1.5) if self.case.domain == "medical" else (7, 1.0)
        steps = self.torch.arange(side).double() - side // 2
        taps = self.torch.exp(-(steps**2) / (2 * sigma**2))
        kernel = (taps[:, None] * taps[None, :] / taps.sum() ** 2).float()[None, None]
        margin = [side // 2] * 4
        blurred = self.functional.conv2d(self.functional.pad(values, margin, mode="reflect"), kernel)
        size = (self.case.size, self.case.size)
        return self.functional.interpolate(blurred, size=size, mode="bilinear", align_corners=True)[0, 0]

    def vision(self, path: Path) -> tuple[Any, list[Any]]:
        torch, functional, entries = self.torch, self.functional, self.entries
        with Image.open(path) as file:
            picture = file.convert("RGB").resize((self.case.size, self.case.size), Image.Resampling.BICUBIC)
        pixels = torch.tensor(np.array(picture)).permute(2, 0, 1).float() / 255
        pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        patches = functional.conv2d(pixels[None], entries["visual.conv1.weight"], stride=8)
        grid = patches.shape[-1]
        positions = entries["visual.positional_embedding"]
        spread = positions[1:].T.reshape(1, -1, 7, 7)
        spread = functional.interpolate(
            spread, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False
        )
        rows = [entries["visual.class_embedding"] + positions[0]]
        rows += [patches[0, :, y, x] + spread[0, :, y, x] for y in range(grid) for x in range(grid)]
        tokens = self.norm(torch.stack(rows), "visual.ln_pre")
        levels: list[Any] = []
        last = None
        for number in range(1, 6):
            tokens = self.block(tokens, f"visual.transformer.resblocks.{number - 1}.")
            matrix = self.image.get(f"layer_adapters.{number - 1}.fc.0.weight")
            if matrix is not None:
                tokens = self.adapted(tokens, matrix, self.case.weights[0])
            if number in self.case.levels:
                last = self.norm(tokens[1:], "visual.ln_post")
                levels.append(self.projected(last, f"seg_proj.{len(levels)}"))
        return self.projected(last, "det_proj").mean(dim=0), levels

    def projected(self, tokens: Any, name: str) -> Any:
        if self.case.relu:
            values = self.functional.leaky_relu(tokens @ self.image[f"{name}.fc.0.weight"].T, 0.01)
        else:
            values = tokens @ self.image[f"{name}.fc.weight"].T
        return self.functional.normalize(values, dim=-1)

    def states(self) -> Any:
        """(D, 2), column 0 normal, column 1 abnormal."""
        product = self.case.product
        normal = [product, "a " + product, "the " + product]
        abnormal = ["a damaged " + product, "a broken " + product]
        abnormal += [f"a {product} with {what}" for what in ("flaw", "defect", "damage")]
        columns = []
        for phrases in (normal, abnormal):
            features = []
            for phrase in phrases:
                for sentence in (phrase + ".", "a photo of " + phrase + "."):
                    feature = self.sentence(sentence)
                    features.append(feature / feature.norm())
            mean = sum(features) / len(features)
            columns.append(mean / mean.norm())
        return self.torch.stack(columns, dim=1)

    def sentence(self, sentence: str) -> Any:
        torch, entries = self.torch, self.entries
        words = len(entries["token_embedding.weight"])
        length = len(entries["positional_embedding"])
        ids = [words - 2, *self.encode(sentence), words - 1]
        end = len(ids) - 1
        ids += [0] * (length - len(ids))
        tokens = entries["token_embedding.weight"][torch.tensor(ids)] + entries["positional_embedding"]
        mask = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        for number in range(3):
            tokens = self.block(tokens, f"transformer.resblocks.{number}.", mask)
            if self.text is not None and number < len(self.text) - 1:
                tokens = self.adapted(tokens, self.text[f"{number}.fc.0.weight"], self.case.weights[1])
        row = self.norm(tokens, "ln_final")[end]
        if self.text is None:
            return row @ entries["text_projection"]
        return self.functional.leaky_relu(self.text[f"{len(self.text) - 1}.fc.0.weight"] @ row, 0.01)

    def adapted(self, tokens: Any, matrix: Any, weight: float) -> Any:
        rows = []
        for row in tokens:
            adapted = self.functional.leaky_relu(matrix @ row, 0.01)
            adapted = adapted * row.norm() / adapted.norm()
            rows.append(weight * adapted + (1 - weight) * row)
        return self.torch.stack(rows)

    def block(self, tokens: Any, name: str, mask: Any = None) -> Any:
        entries, functional = self.entries, self.functional
        width = tokens.shape[-1]
        normed = self.norm(tokens, name + "ln_1")[:, None]
        attended, _ = functional.multi_head_attention_forward(
            normed, normed, normed, width, width // 64,
            entries[name + "attn.in_proj_weight"], entries[name + "attn.in_proj_bias"],
            None, None, False, 0.0,
            entries[name + "attn.out_proj.weight"], entries[name + "attn.out_proj.bias"],
            training=False, need_weights=False, attn_mask=mask,
        )  # fmt: skip
        tokens = tokens + attended[:, 0]
        hidden = self.norm(tokens, name + "ln_2") @ entries[name + "mlp.c_fc.weight"].T
        hidden = functional.gelu(hidden + entries[name + "mlp.c_fc.bias"])
        return tokens + hidden @ entries[name + "mlp.c_proj.weight"].T + entries[name + "mlp.c_proj.bias"]

    def norm(self, tokens: Any, name: str) -> Any:
        weight, bias = self.entries[name + ".weight"], self.entries[name + ".bias"]
        return self.functional.layer_norm(tokens, tokens.shape[-1:], weight, bias, 1e-5)


def _export(arguments: list[object]) -> None:
    from export.aaclip.command import aaclip_command

    result = CliRunner().invoke(aaclip_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)


def _infer(bundle: Path, pictures: Path, maps: Path) -> dict[str, tuple[float, Any]]:
    from edge.commands.infer import infer

    arguments = [str(bundle), str(pictures), "--json", "--save-maps", str(maps)]
    result = CliRunner().invoke(infer, arguments, standalone_mode=False)
    assert result.exit_code == 0, (result.output, result.exception)
    scores = {Path(line["path"]).stem: line["score"] for line in map(json.loads, result.output.splitlines())}
    found = {}
    for name, score in scores.items():
        with np.load(maps / f"{name}.npz", allow_pickle=False) as arrays:
            assert float(arrays["image_score"]) == pytest.approx(score)
            found[name] = (score, arrays["anomaly_map"])
    return found
