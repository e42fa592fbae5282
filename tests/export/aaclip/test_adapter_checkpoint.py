"""Reading AA-CLIP's two files: what is taken from them, and every way in which they can be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ModelFileError

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

from export.aaclip.adapter_checkpoint import read_image_adapter, read_text_adapter

Make = Callable[..., dict[str, Any]]
Save = Callable[[str, dict[str, Any], Path], Path]


@pytest.mark.parametrize("relu", [False, True])
def test_an_image_adapter_is_read_in_order_and_told_by_its_names(
    torch: Any, image_adapter: Make, save_adapter: Save, tmp_path: Path, relu: bool
) -> None:
    entries = image_adapter(adapters=11, levels=3, relu=relu)  # 11: the order is that of numbers, not of text
    adapter = read_image_adapter(save_adapter("image_adapter", entries, tmp_path / "a.pth"))
    assert adapter.activated is relu
    assert len(adapter.adapters) == 11
    assert torch.equal(adapter.adapters[10], entries["layer_adapters.10.fc.0.weight"])
    leaf = "fc.0.weight" if relu else "fc.weight"
    assert torch.equal(adapter.level_projections[2], entries[f"seg_proj.2.{leaf}"])
    assert torch.equal(adapter.detection_projection, entries[f"det_proj.{leaf}"])
    assert (adapter.vision_width, adapter.embed_dim) == (128, 32)


def test_the_last_matrix_of_a_text_adapter_is_its_projection(
    torch: Any, text_adapter: Make, save_adapter: Save, tmp_path: Path
) -> None:
    entries = text_adapter(adapters=3)
    adapter = read_text_adapter(save_adapter("text_adapter", entries, tmp_path / "a.pth"))
    assert [torch.equal(m, entries[f"{i}.fc.0.weight"]) for i, m in enumerate(adapter.adapters)] == [True] * 3
    assert torch.equal(adapter.projection, entries["3.fc.0.weight"])
    assert (adapter.text_width, adapter.embed_dim) == (64, 32)


def test_sixteen_bit_weights_are_widened(
    torch: Any, image_adapter: Make, save_adapter: Save, tmp_path: Path
) -> None:
    entries = {name: tensor.half() for name, tensor in image_adapter().items()}
    adapter = read_image_adapter(save_adapter("image_adapter", entries, tmp_path / "a.pth"))
    assert adapter.detection_projection.dtype == torch.float32


def test_the_files_may_not_be_swapped(
    image_adapter: Make, text_adapter: Make, save_adapter: Save, tmp_path: Path
) -> None:
    image = save_adapter("image_adapter", image_adapter(), tmp_path / "image.pth")
    text = save_adapter("text_adapter", text_adapter(), tmp_path / "text.pth")
    with pytest.raises(ModelFileError, match="holds the text_adapter, not the image_adapter"):
        read_image_adapter(text)
    with pytest.raises(ModelFileError, match="holds the image_adapter, not the text_adapter"):
        read_text_adapter(image)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("det_proj.fc.weight", "det_proj.fc.weight"),
        ("layer_adapters.0.fc.0.weight", "layer_adapters.1.fc.0.weight"),
        ("seg_proj.1.fc.weight", "seg_proj.2.fc.weight"),
    ],
)
def test_a_missing_matrix_is_named(
    image_adapter: Make, save_adapter: Save, tmp_path: Path, lost: str, named: str
) -> None:
    entries = image_adapter()
    del entries[lost]
    with pytest.raises(ModelFileError, match=named):
        read_image_adapter(save_adapter("image_adapter", entries, tmp_path / "a.pth"))


def test_a_mix_of_both_forms_of_projection_is_refused(
    image_adapter: Make, save_adapter: Save, tmp_path: Path
) -> None:
    entries = image_adapter()
    entries["seg_proj.0.fc.0.weight"] = entries.pop("seg_proj.0.fc.weight")
    with pytest.raises(ModelFileError, match="incomplete or mixed"):
        read_image_adapter(save_adapter("image_adapter", entries, tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layer_adapters.1.fc.0.weight", (128, 64)),
        ("seg_proj.2.fc.weight", (16, 128)),
        ("det_proj.fc.weight", (32,)),
        ("det_proj.fc.weight", (0, 128)),
    ],
)
def test_a_wrong_shape_is_named(
    torch: Any, image_adapter: Make, save_adapter: Save, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    entries = image_adapter() | {name: torch.ones(shape)}
    with pytest.raises(ModelFileError, match=name.replace(".", r"\.") if len(shape) > 1 else "no matrix"):
        read_image_adapter(save_adapter("image_adapter", entries, tmp_path / "a.pth"))


def test_an_altered_learner_is_refused_by_name(
    torch: Any, text_adapter: Make, save_adapter: Save, tmp_path: Path
) -> None:
    entries = text_adapter() | {"0.fc.0.bias": torch.zeros(64)}
    with pytest.raises(ModelFileError, match=r"0\.fc\.0\.bias"):
        read_text_adapter(save_adapter("text_adapter", entries, tmp_path / "a.pth"))


def test_not_a_number_is_refused(torch: Any, text_adapter: Make, save_adapter: Save, tmp_path: Path) -> None:
    entries = text_adapter()
    entries["1.fc.0.weight"][3, 5] = torch.nan
    with pytest.raises(ModelFileError, match=r"1\.fc\.0\.weight"):
        read_text_adapter(save_adapter("text_adapter", entries, tmp_path / "a.pth"))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_half_a_file_is_refused(
    image_adapter: Make, save_adapter: Save, tmp_path: Path, share: float
) -> None:
    path = save_adapter("image_adapter", image_adapter(), tmp_path / "a.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"a\.pth"):
        read_image_adapter(path)


def test_a_file_with_code_in_it_is_refused_and_nothing_runs(
    torch: Any, image_adapter: Make, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save({"image_adapter": image_adapter(), "extra": _Malicious(tmp_path / "ran")}, path)
    with pytest.raises(ModelFileError, match="to be run on loading; it was refused"):
        read_image_adapter(path)
    assert not (tmp_path / "ran").exists()


def test_a_clip_file_or_an_empty_adapter_is_no_adapter(torch: Any, aaclip_files: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="it has no entry image_adapter"):
        read_image_adapter(aaclip_files.clip)
    torch.save({"text_adapter": {}}, tmp_path / "empty.pth")
    with pytest.raises(ModelFileError, match="where named tensors belong"):
        read_text_adapter(tmp_path / "empty.pth")


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)
