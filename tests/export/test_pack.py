"""Bundle folders appear whole or not at all, and nothing else is ever overwritten."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.errors import BundleError
from edge.manifest import GOLDEN, MANIFEST, MODEL_FP32
from export.pack import file_hashes, staging_folder, write_arrays


def fill(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    (folder / MODEL_FP32).write_text(content)


def existing_bundle(out: Path) -> Path:
    out.mkdir()
    fill(out, "old")
    return out


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "models" / "bundle"
    with staging_folder(out, force=False) as folder:
        fill(folder, "new")
        assert not out.exists()
    assert (out / MODEL_FP32).read_text() == "new"
    assert out.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in out.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("force", [False, True])
def test_failure_leaves_nothing_behind(tmp_path: Path, force: bool) -> None:
    out = tmp_path / "bundle"
    if force:
        existing_bundle(out)
    before = sorted(tmp_path.rglob("*"))

    def fail_half_way() -> None:
        with staging_folder(out, force=force) as folder:
            fill(folder, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert sorted(tmp_path.rglob("*")) == before
    assert not force or (out / MODEL_FP32).read_text() == "old"


def test_force_replaces_a_bundle_whole(tmp_path: Path) -> None:
    out = existing_bundle(tmp_path / "bundle")
    (out / GOLDEN).write_text("old")
    with staging_folder(out, force=True) as folder:
        fill(folder, "new")
    assert sorted(entry.name for entry in out.iterdir()) == [MANIFEST, MODEL_FP32]
    assert (out / MODEL_FP32).read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_old_bundle_comes_back_when_the_name_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = existing_bundle(tmp_path / "bundle")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with (
        pytest.raises(BundleError, match="cannot be written: No space left"),
        staging_folder(out, force=True),
    ):
        pass
    assert (out / MODEL_FP32).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def make_file(out: Path) -> None:
    out.write_text("mine")


def make_other_folder(out: Path) -> None:
    out.mkdir()
    (out / "mine").touch()


def make_bundle_with_more(out: Path) -> None:
    (existing_bundle(out) / "thresholds.yaml").touch()


def make_link(out: Path) -> None:
    out.symlink_to(existing_bundle(out.with_name("elsewhere")))


@pytest.mark.parametrize(
    ("make", "force", "message"),
    [
        (make_file, True, "exists and is not a bundle"),
        (make_other_folder, True, "exists and is not a bundle"),
        (make_link, True, "exists and is not a bundle"),
        (make_bundle_with_more, True, "holds thresholds.yaml, which is not part of a bundle"),
        (existing_bundle, False, "exists already"),
    ],
)
def test_what_is_not_replaced(
    make: Callable[[Path], object], force: bool, message: str, tmp_path: Path
) -> None:
    make(tmp_path / "bundle")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=message), staging_folder(tmp_path / "bundle", force=force):
        pytest.fail("nothing may be computed for a target that cannot be written")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BundleError, match=r"cannot be written: .* Check the permissions"),
        staging_folder(tmp_path / "file" / "bundle", force=False),
    ):
        pytest.fail("nothing may be computed for a target that cannot be written")


def test_arrays_are_stored_without_pickles_and_reproducibly(tmp_path: Path) -> None:
    arrays = {
        "image_0": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "image_score": np.ones(3, np.float32),
    }
    write_arrays(tmp_path / "a.npz", arrays)
    write_arrays(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored.files == list(arrays)
        np.testing.assert_array_equal(stored["image_0"], arrays["image_0"])
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "c.npz", {"image_0": np.array([object()])})


def test_hashes_are_of_everything_but_the_manifest(tmp_path: Path) -> None:
    fill(tmp_path, "content")
    assert file_hashes(tmp_path) == {MODEL_FP32: hashlib.sha256(b"content").hexdigest()}
