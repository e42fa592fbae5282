"""Genuine anomalib exports for `test_genuine.py`, each version in an environment of its own (2.2 GB, minutes).

    python tests/export/onnx_import/genuine.py FOLDER [VERSION ...]

VERSION is one of those below, by default 2.7.0. FOLDER/VERSION holds the models, FOLDER/.environments what made
them. Then:

    ADCLIP_ANOMALIB=FOLDER python -m pytest tests/export/onnx_import/test_genuine.py -rA

Python 3.11 and a torch for the CPU are needed. Nothing is downloaded but packages: weights are random.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"
ALONE = ("torchvision==0.28.0", "timm")
"""Installed without what they require, which would bring another torch."""

REQUIRED = """
docstring-parser einops freia imagecodecs jsonargparse[signatures]<4.47 kornia lightning>=2.6,!=2.6.2,!=2.6.3
omegaconf opencv-python-headless platformdirs rich-argparse rich scikit-image scikit-learn tifffile
torchmetrics onnx onnxscript onnxruntime openvino safetensors huggingface_hub pyyaml python-dotenv requests
open-clip-torch>=2.23,<2.26.1
""".split()  # noqa: SIM905 - one line a package would hide the few that matter

OF_VERSION = {
    "2.7.0": ("matplotlib", "pandas"),
    "2.3.3": ("matplotlib", "pandas"),
    "1.2.0": ("matplotlib<3.10", "pandas<3"),  # its Folder and its visualiser fail with newer ones
}


def environment(folder: Path, version: str) -> Path:
    """The Python of an environment with this anomalib; made once."""
    home = folder / ".environments" / version
    python, done = home / "bin" / "python", home / "complete"
    if done.exists():
        return python
    venv.create(home, with_pip=True, clear=True)
    for packages in (
        [TORCH],
        ["--no-deps", *ALONE],
        ["--no-deps", f"anomalib=={version}"],
        [TORCH, *REQUIRED, *OF_VERSION[version]],
    ):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    done.touch()
    return python


def make(folder: Path, version: str) -> int:
    """Fit and export every model; the exit code of the script that does it."""
    script = "genuine_models_1x.py" if version.startswith("1.") else "genuine_models.py"
    out = folder / version
    out.mkdir(parents=True, exist_ok=True)
    return subprocess.run([environment(folder, version), HERE / script, out], check=False).returncode


def main(arguments: list[str]) -> int:
    if not arguments or not set(arguments[1:]) <= set(OF_VERSION):
        sys.stderr.write(f"usage: genuine.py FOLDER [{' | '.join(OF_VERSION)} ...]\n")
        return 2
    folder, versions = Path(arguments[0]).resolve(), arguments[1:] or ["2.7.0"]
    return max(make(folder, version) for version in versions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
