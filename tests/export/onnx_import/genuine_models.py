"""Runs inside an environment that holds anomalib: fits small models with random weights and exports them.

    python genuine_models.py OUT [MODEL ...]

Each model becomes OUT/MODEL/weights/onnx/model.onnx, with OUT/MODEL/expected.json: what anomalib's own engine
says about the pictures of OUT/pictures, and about the same pictures in OUT/MODEL/ready, which are of the
network's own size, so that no resampler is between the two. Weights are random where anomalib would download
them; everything else is anomalib's own code. Written for anomalib 2.x, run by `genuine.py`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

SIZE_PX = (200, 150)
"""Width and height of the pictures: not square, and larger than most of the networks' inputs, so that a resize
without antialiasing would show."""
NETWORK_PX = (64, 64)


def declare_torchvision_operators() -> torch.library.Library:
    """torchvision imports against a CPU torch once the operators of its native part have been declared."""
    library = torch.library.Library("torchvision", "DEF")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        library.define(schema)
    return library


def picture(seed: int, *, defect: bool) -> np.ndarray:
    """A fine weave with noise, and a blot on the bad ones; (150, 200, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE_PX[1], : SIZE_PX[0]]
    weave = 120 + 45 * np.sin(x * 2.1 + random.uniform(0, 6)) * np.cos(y * 1.7 + random.uniform(0, 6))
    image = weave[..., None] * (1.0, 0.9, 0.8) + random.normal(0, 6, (*weave.shape, 3))
    if defect:
        centre = random.uniform(40, 110, 2)
        image[np.hypot(y - centre[0], x - centre[1]) < random.uniform(8, 20)] = random.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_pictures(folder: Path) -> None:
    """Good ones to fit on, good and bad ones to validate on, and four more of each to be judged."""
    plan = {"good": (range(12), False), "bad": (range(100, 106), True)}
    for name, (seeds, defect) in plan.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            Image.fromarray(picture(seed, defect=defect)).save(folder / name / f"{seed:03}.png")
    judged = folder.parent / "pictures"
    judged.mkdir(exist_ok=True)
    for seed in range(4):
        Image.fromarray(picture(200 + seed, defect=False)).save(judged / f"good_{seed}.png")
        Image.fromarray(picture(300 + seed, defect=True)).save(judged / f"bad_{seed}.png")


def forbid_downloads() -> None:
    """Random weights in place of every pretrained file."""
    import timm

    create = timm.create_model

    def create_untrained(name: str, pretrained: bool = False, **options: Any) -> Any:
        torch.manual_seed(3)
        return create(name, pretrained=False, **options)

    timm.create_model = create_untrained
    try:
        from anomalib.models.components.dinov2 import DinoV2Loader
    except ImportError:  # before Dinomaly, and after 2.6, which asks timm
        return
    DinoV2Loader._load_weights = lambda *_arguments: None


def efficient_ad(folder: Path) -> tuple[Any, int]:
    from anomalib.models import EfficientAd

    class Untrained(EfficientAd):
        """The teacher keeps its random weights; ImageNet's place is taken by the good pictures."""

        def prepare_pretrained_model(self) -> None:
            torch.manual_seed(5)

    return Untrained(imagenet_dir=folder), 1


def dinomaly(_folder: Path) -> tuple[Any, int]:
    from anomalib.models import Dinomaly

    pre_processor = Dinomaly.configure_pre_processor(image_size=(126, 126), crop_size=112)
    name = "dinov2reg_vit_small_14"
    from anomalib.models.image.dinomaly import torch_model

    if hasattr(torch_model, "TimmFeatureExtractor"):
        name = "vit_small_patch14_reg4_dinov2"
    return Dinomaly(encoder_name=name, decoder_depth=8, pre_processor=pre_processor), 2


def small(name: str, **options: Any) -> Callable[[Path], tuple[Any, int]]:
    def make(_folder: Path) -> tuple[Any, int]:
        import anomalib.models as models

        model = getattr(models, name)
        return model(pre_processor=model.configure_pre_processor(NETWORK_PX), **options), 4

    return make


def cropped_patchcore(_folder: Path) -> tuple[Any, int]:
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

    transform = Compose(
        [
            Resize((80, 96), antialias=True),
            CenterCrop((64, 64)),
            Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    pre_processor = PreProcessor(transform=transform)
    return Patchcore(
        "resnet18", pre_trained=False, coreset_sampling_ratio=0.2, pre_processor=pre_processor
    ), 4


MODELS: dict[str, Callable[[Path], tuple[Any, int]]] = {
    "Padim": small("Padim", backbone="resnet18", pre_trained=False),
    "Patchcore": small("Patchcore", backbone="resnet18", pre_trained=False, coreset_sampling_ratio=0.2),
    "Patchcore_crop": cropped_patchcore,
    "Stfpm": small("Stfpm", backbone="resnet18"),
    "Fastflow": small("Fastflow", backbone="resnet18", pre_trained=False, flow_steps=2, evaluator=False),
    "Dfm": small("Dfm", backbone="resnet18", layer="layer3", pre_trained=False),
    "EfficientAd": efficient_ad,
    "Dinomaly": dinomaly,
}


def fit_and_export(name: str, out: Path) -> None:
    """One model: fit, judge the pictures as anomalib does, export in the forms that users meet."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    torch.manual_seed(1)
    model, batch = MODELS[name](out / "data")
    data = Folder(
        name="weave",
        root=out / "data",
        normal_dir="good",
        abnormal_dir="bad",
        train_batch_size=batch,
        eval_batch_size=4,
        num_workers=0,
    )
    engine = Engine(
        default_root_dir=out / "engine",
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        barebones=False,
    )
    engine.fit(model, datamodule=data)
    folder = out / name
    folder.mkdir(exist_ok=True)
    write_ready(out / "pictures", folder / "ready", input_size(model))
    expected = {
        "pictures": judged(engine, model, out / "pictures"),
        "ready": judged(engine, model, folder / "ready"),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    export_forms(model, folder)


def write_ready(pictures: Path, ready: Path, size: tuple[int, int]) -> None:
    """The pictures at the (height, width) of the network."""
    ready.mkdir(exist_ok=True)
    for path in pictures.iterdir():
        Image.open(path).resize(size[::-1], Image.Resampling.BILINEAR).save(ready / path.name)


def judged(engine: Any, model: Any, pictures: Path) -> dict[str, Any]:
    """anomalib's own normalised score and label of each picture."""
    from anomalib.data import PredictDataset

    batches = engine.predict(model, dataset=PredictDataset(path=pictures))
    return {
        Path(path).name: {"score": float(score), "bad": bool(label)}
        for batch in batches
        for path, score, label in zip(batch.image_path, batch.pred_score, batch.pred_label, strict=True)
    }


def export_forms(model: Any, folder: Path) -> None:
    """As `engine.export` writes it by default, and with a fixed size as one file."""
    import anomalib

    model.to_onnx(folder)
    if anomalib.__version__.startswith("2.7"):
        model.to_onnx(
            folder / "fixed",
            input_size=input_size(model),
            dynamic_axes=None,
            external_data=False,
        )
    else:
        model.to_onnx(folder / "fixed", input_size=input_size(model))
    if folder.name == "Padim":
        export_variants(model, folder)


def export_variants(model: Any, folder: Path) -> None:
    """The forms that an importer must tell apart: parts left out, and never validated."""
    from anomalib.post_processing import PostProcessor

    processors = (model.pre_processor, model.post_processor)
    variants = {
        "unvalidated": (processors[0], PostProcessor()),
        "no_post_processor": (processors[0], None),
        "no_normalization": (processors[0], PostProcessor(enable_normalization=False)),
        "no_pre_processor": (None, processors[1]),
    }
    for name, (model.pre_processor, model.post_processor) in variants.items():
        model.to_onnx(folder / name, input_size=NETWORK_PX if model.pre_processor is None else None)
    model.pre_processor, model.post_processor = processors


def input_size(model: Any) -> tuple[int, int]:
    """(height, width) that the model's own resize makes."""
    transforms = [model.pre_processor.transform, *getattr(model.pre_processor.transform, "transforms", [])]
    size = next(step.size for step in transforms if hasattr(step, "size"))
    return tuple(size) if len(size) == 2 else (size[0], size[0])


def main(arguments: SimpleNamespace) -> int:
    """Everything, one model after the other; a model that fails is named and the others still run."""
    library = declare_torchvision_operators()
    forbid_downloads()
    logging.disable(logging.WARNING)
    out = Path(arguments.out).resolve()
    write_pictures(out / "data")
    failed = []
    for name in arguments.models or MODELS:
        sys.stdout.write(f"== {name}\n")
        try:
            fit_and_export(name, out)
        except Exception as fault:  # noqa: BLE001 - one model must not take the others with it
            failed.append(name)
            import traceback

            traceback.print_exception(fault)
    del library
    sys.stdout.write(f"failed: {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(SimpleNamespace(out=sys.argv[1], models=sys.argv[2:])))
