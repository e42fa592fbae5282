"""An AnomalyCLIP checkpoint `epoch_N.pth` → learned prompts, checked.

The file holds one entry, `prompt_learner`, with the learned context, the embeddings of the fixed words around
it, the token ids and the deep prompts. It holds nothing of CLIP; whether it fits a CLIP file is seen from the
embedding of the start token, which both carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge.errors import ModelFileError
from export.clip_file import BACKBONES_OF_TEXT_WIDTH, ClipWeights
from export.stored_weights import without_prefixes
from export.weights_file import (
    Container,
    check_finite,
    check_stored,
    container_of,
    read_saved,
    sha256_of,
    tensor_entries,
)

LEARNER = "prompt_learner"
DEEP = "compound_prompts_text."
IDS = "tokenized_prompts_"
NEVER_USED = "compound_prompt_projections."
STATES = ("pos", "neg")
"""Upstream's tags of the normal and the abnormal prompt, in the order of our rows."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptCheckpoint:
    """Learned prompts; row 0 is the normal prompt, row 1 the abnormal one. c = `n_ctx`, t = text width.

    `prefix` (2, 1, t), `context` (2, c, t) and `suffix` (2, n - 1 - c, t) are float32 and together the
    embedded sequence of n tokens; `token_ids` is (2, n) int64; `deep_prompts` is (depth - 1, t_n_ctx, t)
    float32.
    """

    path: Path
    sha256: str
    prefix: Tensor
    context: Tensor
    suffix: Tensor
    token_ids: Tensor
    deep_prompts: Tensor

    @property
    def n_ctx(self) -> int:
        """Number of learned context tokens."""
        return self.context.shape[1]

    @property
    def t_n_ctx(self) -> int:
        """Number of tokens that a deep prompt overwrites; 0 when there are no deep prompts."""
        return self.deep_prompts.shape[1]

    @property
    def depth(self) -> int:
        """Number of text blocks with prompts of their own, the first included."""
        return len(self.deep_prompts) + 1

    def embeddings(self) -> Tensor:
        """(2, n, t): prefix, context and suffix in a row, without positions."""
        return torch.cat([self.prefix, self.context, self.suffix], dim=1)

    def end_of_text(self) -> Tensor:
        """(2,) int64: the row of the end-of-text token, which has the largest id."""
        return self.token_ids.argmax(dim=1)

    def check_against(self, clip: ClipWeights) -> None:
        """Raise `ModelFileError` unless the prompts were learned with this CLIP file.

        The embedding of the start token must be the same on both sides, bit by bit; a copy of either file in
        16 bits counts as the same when rounding one side gives exactly the other. A tolerance would be wider:
        ViT-L/14@336px was trained on from ViT-L/14, so the two may differ by little.
        """
        architecture = clip.architecture
        text_width, length = self.context.shape[2], self.token_ids.shape[1]
        if text_width != architecture.text_width:
            raise self._mismatch(
                clip, f"its prompts are {text_width} wide and the text tower {architecture.text_width}"
            )
        if length != architecture.context_length:
            raise self._mismatch(
                clip, f"its prompts have {length} tokens and the text tower {architecture.context_length}"
            )
        start = int(self.token_ids[0, 0])
        if not 0 <= start < architecture.vocab_size:
            raise self._mismatch(clip, f"token {start} is not in the vocabulary")
        if not equal_but_for_rounding(self.prefix[0, 0], clip.entries["token_embedding.weight"][start]):
            raise self._mismatch(clip, "the embedding of the start token differs")

    def _mismatch(self, clip: ClipWeights, how: str) -> ModelFileError:
        given, fitting = clip.architecture.name, BACKBONES_OF_TEXT_WIDTH.get(self.context.shape[2], ())
        others = [f"that of {name}" for name in fitting if name != given]
        if given in fitting:
            others.append(f"other weights of {given}")
        hint = f"; by the width of its prompts it can be {' or '.join(others)}" if others else ""
        return ModelFileError(
            f"The checkpoint {self.path} was trained with another CLIP file than {clip.path} "
            f"({given}): {how}.",
            do=f"Give the CLIP file that the training used{hint}.",
        )


def read_prompt_checkpoint(path: Path) -> PromptCheckpoint:
    """Read `epoch_N.pth`.

    Raises `ModelFileError` when the file is unreadable, damaged, no such checkpoint, asks for code to be run,
    or when a shape in it is wrong.
    """
    sha256 = sha256_of(path)
    entries = _learner_entries(path)
    deep = _deep_prompts(entries, path)
    n_ctx, width = _entry(entries, "ctx_pos", (1, 1, None, None), path).shape[2:]
    length = _entry(entries, "tokenized_prompts_pos", (1, 1, None), path).shape[2]
    checkpoint = PromptCheckpoint(
        path,
        sha256,
        prefix=_both(entries, "token_prefix", (1, 1, 1, width), path).float(),
        context=_both(entries, "ctx", (1, 1, n_ctx, width), path).float(),
        suffix=_both(entries, "token_suffix", (1, 1, length - 1 - n_ctx, width), path).float(),
        token_ids=_both(entries, "tokenized_prompts", (1, 1, length), path).long(),
        deep_prompts=_stacked(deep, (width,), path),
    )
    _check_deep_fit(checkpoint, length)
    check_finite(entries, path)
    _check_deep_range(checkpoint)
    return checkpoint


def equal_but_for_rounding(a: Tensor, b: Tensor) -> bool:
    """Whether one of two float32 tensors is the other, or the other once stored in 16 bits of either kind."""
    return any(torch.equal(rounded, b) for rounded in _roundings(a)) or any(
        torch.equal(a, rounded) for rounded in _roundings(b)
    )


def _roundings(values: Tensor) -> Iterator[Tensor]:
    """The values, and what saving them in float16, in bfloat16, or in one after the other leaves of them."""
    yield values
    half, brain = values.half().float(), values.bfloat16().float()
    yield from (half, brain, half.bfloat16().float(), brain.half().float())


def _learner_entries(path: Path) -> dict[str, Tensor]:
    container = container_of(path)
    if container is not Container.STATE_DICT:
        raise ModelFileError(
            f"{path} is a {container.value}, not a prompt checkpoint.",
            do="Give epoch_N.pth of the training as --checkpoint and the CLIP file as --clip.",
        )
    saved = read_saved(path)
    if not isinstance(saved, Mapping) or LEARNER not in saved:
        raise ModelFileError(
            f"{path} is not an AnomalyCLIP checkpoint: it has no entry {LEARNER}.",
            do="Give the epoch_N.pth that the AnomalyCLIP training wrote.",
        )
    entries = without_prefixes(tensor_entries(saved[LEARNER], path))
    used = {name: tensor for name, tensor in entries.items() if not name.startswith(NEVER_USED)}
    _check_names(used, path)
    check_stored({name: tensor for name, tensor in used.items() if not name.startswith(IDS)}, path)
    _check_ids({name: tensor for name, tensor in used.items() if name.startswith(IDS)}, path)
    return used


def _check_names(entries: Mapping[str, Tensor], path: Path) -> None:
    stems = ("ctx", "token_prefix", "token_suffix", "tokenized_prompts")
    known = {f"{stem}_{state}" for stem in stems for state in STATES}
    unknown = [name for name in entries if name not in known and not name.startswith(DEEP)]
    if unknown:
        raise ModelFileError(
            f"{path} has an entry that AnomalyCLIP's prompt learner does not have: {unknown[0]}.",
            do="Give a checkpoint of AnomalyCLIP itself; what an altered learner needs cannot be guessed.",
        )


def _check_ids(entries: Mapping[str, Tensor], path: Path) -> None:
    for name, ids in entries.items():
        if ids.dtype not in (torch.int32, torch.int64):
            stored = str(ids.dtype).removeprefix("torch.")
            raise ModelFileError(
                f"In {path}, {name} is stored as {stored}, where token ids belong.",
                do="Give the epoch_N.pth as the training wrote it, not converted to another precision.",
            )


def _deep_prompts(entries: Mapping[str, Tensor], path: Path) -> list[Tensor]:
    """Deep prompts in the order of their blocks; none may be missing in between."""
    numbered = {name.removeprefix(DEEP): tensor for name, tensor in entries.items() if name.startswith(DEEP)}
    missing = [i for i in range(len(numbered)) if str(i) not in numbered]
    if missing:
        raise ModelFileError(
            f"{path} lacks the deep prompt {DEEP}{missing[0]}.", do="Copy the checkpoint again."
        )
    return [numbered[str(i)] for i in range(len(numbered))]


def _stacked(deep: list[Tensor], width: tuple[int], path: Path) -> Tensor:
    if not deep:
        return torch.empty(0, 0, *width)
    rows = deep[0].shape[0] if deep[0].ndim == 2 else 0
    wrong = [tuple(prompt.shape) for prompt in deep if tuple(prompt.shape) != (rows, *width)]
    if wrong:
        raise ModelFileError(
            f"In {path}, a deep prompt is {list(wrong[0])} where [{rows or 'm'}, {width[0]}] belongs.",
            do="Give a complete checkpoint of one training run.",
        )
    return torch.stack(deep).float()


def _both(entries: Mapping[str, Tensor], stem: str, shape: tuple[int, ...], path: Path) -> Tensor:
    """Normal and abnormal entry stacked, (2, ...), the leading dimensions of 1 dropped."""
    tensors = [_entry(entries, f"{stem}_{state}", shape, path) for state in STATES]
    return torch.stack([tensor[0, 0] for tensor in tensors])


def _entry(entries: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...], path: Path) -> Tensor:
    """The named entry. None in `shape` stands for any size above 0."""
    found = entries.get(name)
    if found is None:
        raise ModelFileError(f"{path} lacks {name}.", do="Give the complete epoch_N.pth of the training.")
    fits = found.ndim == len(shape) and all(
        size == wanted or (wanted is None and size > 0)
        for size, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits:
        wanted_text = ", ".join("any" if size is None else str(size) for size in shape)
        raise ModelFileError(
            f"In {path}, {name} is {list(found.shape)} where [{wanted_text}] belongs.",
            do="Give a complete checkpoint of one AnomalyCLIP training run.",
        )
    return found


def _check_deep_fit(checkpoint: PromptCheckpoint, length: int) -> None:
    if checkpoint.t_n_ctx >= length:
        raise ModelFileError(
            f"In {checkpoint.path}, deep prompts of {checkpoint.t_n_ctx} tokens do not fit {length} tokens.",
            do="Give a complete checkpoint of one AnomalyCLIP training run.",
        )


def _check_deep_range(checkpoint: PromptCheckpoint) -> None:
    if not bool(torch.isfinite(checkpoint.deep_prompts.half()).all()):
        raise ModelFileError(
            f"In {checkpoint.path}, a deep prompt reaches {float(checkpoint.deep_prompts.abs().max()):.3g}, "
            "which float16 does not hold; AnomalyCLIP rounds deep prompts to it.",
            do="Take an earlier epoch: the training has diverged.",
        )
