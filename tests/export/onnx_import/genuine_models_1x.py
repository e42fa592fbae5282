"""The same as `genuine_models.py` for anomalib 1.x, whose exports keep their limits in metadata.json.

python genuine_models_1x.py OUT [MODEL ...]
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from genuine_models import (
    NETWORK_PX,
    declare_torchvision_operators,
    forbid_downloads,
    write_pictures,
    write_ready,
)

EFFICIENT_AD_PX = (256, 256)


def small(name: str, **options: Any) -> Callable[[Path], tuple[Any, int, tuple[int, int]]]:
    def make(_data: Path) -> tuple[Any, int, tuple[int, int]]:
        import anomalib.models as models

        return getattr(models, name)(**options), 4, NETWORK_PX

    return make


def efficient_ad(data: Path) -> tuple[Any, int, tuple[int, int]]:
    from anomalib.models import EfficientAd

    class Untrained(EfficientAd):
        """The teacher keeps its random weights; ImageNet's place is taken by the good pictures."""

        def prepare_pretrained_model(self) -> None:
            pass

    return Untrained(imagenet_dir=data), 1, EFFICIENT_AD_PX


MODELS: dict[str, Callable[[Path], tuple[Any, int, tuple[int, int]]]] = {
    "Padim": small("Padim", backbone="resnet18", pre_trained=False),
    "Patchcore": small("Patchcore", backbone="resnet18", pre_trained=False, coreset_sampling_ratio=0.2),
    "Stfpm": small("Stfpm", backbone="resnet18"),
    "Fastflow": small("Fastflow", backbone="resnet18", pre_trained=False, flow_steps=2),
    "Dfm": small("Dfm", backbone="resnet18", layer="layer3", pre_trained=False),
    "Dfm_nll": small("Dfm", backbone="resnet18", layer="layer3", pre_trained=False, score_type="nll"),
    "EfficientAd": efficient_ad,
}


def fit_and_export(name: str, out: Path) -> None:
    """One model: fit, judge the pictures as anomalib does, export for any size and for one."""
    import torch
    from anomalib import TaskType
    from anomalib.data import Folder
    from anomalib.engine import Engine

    torch.manual_seed(1)
    model, batch, size = MODELS[name](out / "data")
    data = Folder(
        name="weave",
        root=out / "data",
        normal_dir="good",
        abnormal_dir="bad",
        task=TaskType.CLASSIFICATION,
        image_size=size,
        train_batch_size=batch,
        eval_batch_size=4,
        num_workers=0,
    )
    engine = Engine(
        task=TaskType.CLASSIFICATION,
        default_root_dir=out / "engine",
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
    )
    engine.fit(model, datamodule=data)
    folder = out / name
    folder.mkdir(exist_ok=True)
    write_ready(out / "pictures", folder / "ready", size)
    expected = {
        "pictures": judged(engine, model, out / "pictures", size),
        "ready": judged(engine, model, folder / "ready", size),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    model.to_onnx(folder, transform=model.configure_transforms(size), task=TaskType.CLASSIFICATION)
    model.to_onnx(
        folder / "fixed",
        input_size=size,
        transform=model.configure_transforms(size),
        task=TaskType.CLASSIFICATION,
    )
    shutil.copy(folder / "weights" / "onnx" / "metadata.json", folder / "metadata.json")


def judged(engine: Any, model: Any, pictures: Path, size: tuple[int, int]) -> dict[str, Any]:
    """anomalib's own normalised score and label of each picture."""
    from anomalib.data import PredictDataset
    from torch.utils.data import DataLoader

    dataset = PredictDataset(path=pictures, transform=model.configure_transforms(size))
    batches = engine.predict(model, dataloaders=DataLoader(dataset, batch_size=4))
    return {
        Path(path).name: {"score": float(score), "bad": bool(label)}
        for batch in batches
        for path, score, label in zip(
            batch["image_path"], batch["pred_scores"], batch["pred_labels"], strict=True
        )
    }


def export_by_torchscript() -> None:
    """anomalib 1.x was written for the exporter that torch used then by default."""
    import torch

    export = torch.onnx.export

    def by_torchscript(*arguments: Any, **options: Any) -> Any:
        return export(*arguments, dynamo=False, **options)

    torch.onnx.export = by_torchscript


def leave_out_imgaug() -> None:
    """DRAEM's augmenter, which no model here uses, does not import with today's numpy."""
    package, augmenters = ModuleType("imgaug"), ModuleType("imgaug.augmenters")
    package.augmenters = augmenters  # type: ignore[attr-defined]
    augmenters.Sequential = object  # type: ignore[attr-defined]
    sys.modules |= {"imgaug": package, "imgaug.augmenters": augmenters}


def name_the_crop_as_torchvision_does() -> None:
    """torchvision has renamed the method that a transform of v2 is made of; anomalib 1.2 has the old name."""
    from anomalib.data.transforms import ExportableCenterCrop

    ExportableCenterCrop.transform = ExportableCenterCrop._transform


def main(folder: str, models: list[str]) -> int:
    leave_out_imgaug()
    library = declare_torchvision_operators()
    name_the_crop_as_torchvision_does()
    forbid_downloads()
    export_by_torchscript()
    logging.disable(logging.WARNING)
    out = Path(folder).resolve()
    write_pictures(out / "data")
    failed = []
    for name in models or MODELS:
        sys.stdout.write(f"== {name}\n")
        try:
            fit_and_export(name, out)
        except Exception as fault:  # noqa: BLE001 - one model must not take the others with it
            failed.append(name)
            traceback.print_exception(fault)
    del library
    sys.stdout.write(f"failed: {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
