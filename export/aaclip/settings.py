"""What AA-CLIP's files do not hold and the user must know from the training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edge.errors import ConfigError, ModelFileError
from edge.manifest import GridBlur, Preprocessing
from export.aaclip.adapter_checkpoint import ImageAdapter, TextAdapter
from export.clip_file import ClipArchitecture
from export.clip_input import Resample, clip_preprocessing, patch_grid

Domain = Literal["industrial", "medical"]

BLURS: dict[Domain, GridBlur] = {
    "industrial": GridBlur(kernel=7, sigma=1.0),
    "medical": GridBlur(kernel=9, sigma=1.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AaClipSettings:
    """`product` are the words for the class, `image_size` the side of the square input in pixels.

    `levels` are the blocks, counted from 1 and ascending, after which patches are compared with the text, in the
    order of the adapter's projections; the detection vector is made of the last. The weights say how much of an
    adapter is mixed in, in [0, 1]; they are arguments of upstream's programs. `resample` chooses the resampler of
    the line: `pillow` is that of the training. Raises `ConfigError` for a value that is possible with no model.
    """

    product: str
    image_size: int = 518
    levels: tuple[int, ...] = (6, 12, 18, 24)
    domain: Domain = "industrial"
    image_adapt_weight: float = 0.1
    text_adapt_weight: float = 0.1
    resample: Resample = "pillow"

    def __post_init__(self) -> None:
        if not self.product.strip():
            raise ConfigError(
                "No words for the product were given.",
                do="Give --product the words of the training for this class; 'object' is allowed as it is.",
            )
        rising = all(before < after for before, after in pairwise(self.levels))
        if not self.levels or self.levels[0] < 1 or not rising:
            raise ConfigError(
                f"Levels {_listed(self.levels)} are not block numbers in ascending order, from 1.",
                do="Give the --levels of the training; upstream's are 6,12,18,24.",
            )
        for side, weight in (("image", self.image_adapt_weight), ("text", self.text_adapt_weight)):
            if not 0 <= weight <= 1:  # NaN is neither
                raise ConfigError(
                    f"An adapt weight of {weight} for the {side} side is not possible.",
                    do=f"Give --{side}-adapt-weight 0 to 1; upstream's is 0.1.",
                )

    def grid(self, architecture: ClipArchitecture) -> int:
        """Side of the patch grid. Raises `ConfigError` when no patch fits, or far too many do."""
        return patch_grid(self.image_size, architecture)

    def preprocessing(self) -> Preprocessing:
        """CLIP's preprocessing at this size, as the bundle carries it."""
        return clip_preprocessing(self.image_size, self.resample)

    def check_image_side(self, architecture: ClipArchitecture, adapter: ImageAdapter) -> None:
        """Raise `ConfigError` or `ModelFileError` unless levels, adapter and vision tower fit each other."""
        layers = architecture.vision_layers
        if self.levels[-1] > layers:
            raise ConfigError(
                f"Levels {_listed(self.levels)} do not fit {architecture.name}, which has {layers} blocks.",
                do="Give the --levels and the --clip file of the training.",
            )
        if len(adapter.level_projections) != len(self.levels):
            raise ConfigError(
                f"{adapter.path} has {len(adapter.level_projections)} level projections (seg_proj), and "
                f"{len(self.levels)} levels were given: {_listed(self.levels)}.",
                do="Give as many --levels as the training had.",
            )
        if adapter.vision_width != architecture.vision_width:
            raise ModelFileError(
                f"{adapter.path} is for a vision tower of {adapter.vision_width} channels, and "
                f"{architecture.name} has {architecture.vision_width}.",
                do="Give the CLIP file that the adapters were trained with.",
            )
        _check_count(len(adapter.adapters), layers, "vision", adapter)


def check_text_side(architecture: ClipArchitecture, image: ImageAdapter, text: TextAdapter | None) -> None:
    """Raise `ModelFileError` unless the text adapter, if there is one, fits the text tower, and what comes out
    of the text side is as wide as what comes out of the image side."""
    embed_dim, maker = architecture.embed_dim, architecture.name
    if text is not None:
        if text.text_width != architecture.text_width:
            raise ModelFileError(
                f"{text.path} is for a text tower of {text.text_width} channels, and {architecture.name} has "
                f"{architecture.text_width}.",
                do="Give the CLIP file that the adapters were trained with.",
            )
        _check_count(len(text.adapters), architecture.text_layers, "text", text)
        embed_dim, maker = text.embed_dim, str(text.path)
    if image.embed_dim != embed_dim:
        raise ModelFileError(
            f"{image.path} compares in {image.embed_dim} dimensions, and the text of {maker} has {embed_dim}.",
            do="Give the image adapter, the text adapter and the CLIP file of one training.",
        )


def _check_count(adapters: int, layers: int, tower: str, adapter: ImageAdapter | TextAdapter) -> None:
    if adapters > layers:
        raise ModelFileError(
            f"{adapter.path} has adapters for {adapters} blocks, and the {tower} tower has {layers}.",
            do="Give the CLIP file that the adapters were trained with.",
        )


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(str(number) for number in numbers)
