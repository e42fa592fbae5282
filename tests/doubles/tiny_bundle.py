"""A bundle whose network is a Python function of 4 x 6 pixels; its model files are no models.

For tests of everything around an engine. The golden frames are what the function gives.
"""

import hashlib

import numpy as np

from edge.bundle import open_bundle
from edge.manifest import BundleManifest, manifest_text
from edge.messages import PixelFormat
from edge.preprocess import input_tensor

NO_HASH = "0" * 64
SHAPES = {
    "image": ("input", (1, 3, 4, 6)),
    "image_score": ("output", (1,)),
    "anomaly_map": ("output", (1, 2, 3)),
}


def network(image):
    """The score is the mean, the map the means of 2 x 2 pixels of the first channel."""
    return {"image_score": image.mean(), "anomaly_map": image[0, 0].reshape(2, 2, 3, 2).mean((1, 3))}


def write_tiny_bundle(folder, *, fp16=True):
    """Write and open it; with `fp16` it has a graph of either precision."""
    folder.mkdir()
    graphs = {"model.fp32.onnx": b"no FP32 model"} | ({"model.fp16.onnx": b"no FP16 model"} if fp16 else {})
    for name, content in graphs.items():
        (folder / name).write_bytes(content)
    content = _content(fp16)
    _write_golden(folder / "golden.npz", content)
    content["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "bundle.yaml").write_text(manifest_text(BundleManifest.model_validate(content)))
    return open_bundle(folder)


def _content(fp16):
    tolerance = {"score": 1e-5, "map": 1e-5}
    content = {
        "backbone": "a function",
        "head": {"kind": "onnx", "origin": "a test"},
        "preprocessing": {"height_px": 4, "width_px": 6, "mean": [0.5] * 3, "std": [0.2] * 3},
        "map": {"grid": [2, 3]},
        "tolerances": {"fp32": tolerance},
        "source": {"files": {"onnx": NO_HASH}, "exporter": "test"},
        "files": {"model.fp32.onnx": NO_HASH, "golden.npz": NO_HASH},
    }
    if fp16:
        content["fp16"] = {}
        content["tolerances"]["fp16"] = {"score": 1e-3, "map": 1e-3}
        content["files"]["model.fp16.onnx"] = NO_HASH
    return content


def _write_golden(path, content):
    spec = BundleManifest.model_validate(content).preprocessing
    images = [np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8) for seed in range(2)]
    found = [network(input_tensor(image, PixelFormat.RGB8, spec)) for image in images]
    np.savez(
        path,
        **{f"image_{index}": image for index, image in enumerate(images)},
        image_score=np.array([each["image_score"] for each in found], np.float32),
        grid_map=np.array([each["anomaly_map"] for each in found], np.float32),
    )
