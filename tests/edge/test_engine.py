"""Engines in their directory: which one fits, and why one does not."""

import hashlib
import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engine import (
    BuildFigures,
    BuildOptions,
    EngineKey,
    EngineRecord,
    EngineTarget,
    GoldenProof,
    engine_target,
)
from edge.engine_directory import (
    StoredEngine,
    find_engine,
    list_engines,
    use_of_engines,
    write_record,
    write_whole,
)
from edge.errors import OpenError

HERE = EngineTarget(
    bundle_id="b" * 64,
    precision="fp16",
    graph_sha256="c" * 64,
    tensorrt="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    platform="L4T 36.4.3",
)
FIGURES = BuildFigures(
    seconds=300,
    engine_bytes=6,
    attentions=43,
    layers=120,
    fused_attentions=43,
    available_mb=6000,
    least_available_mb=400,
)
RIGHT = GoldenProof(
    frames=8, score_difference=1e-4, map_difference=2e-4, score_allowed=1e-3, map_allowed=5e-3, passed=True
)
WRONG = RIGHT.model_copy(update={"score_difference": None, "map_difference": 0.5, "passed": False})


@pytest.fixture
def store(tmp_path):
    """Writes a record, of a proven engine for HERE unless something is changed."""

    def make(golden=RIGHT, options=None, built_utc="2024-05-06T07:08:09+00:00", **changes):
        key = EngineKey(target=HERE.model_copy(update=changes), options=options or BuildOptions())
        record = EngineRecord(
            key=key, engine_sha256="e" * 64, built_utc=built_utc, figures=FIGURES, golden=golden
        )
        engine = StoredEngine(tmp_path, record)
        write_record(engine)
        return engine

    return make


def test_the_proven_engine_for_this_device_is_found(store, tmp_path):
    store(tensorrt="10.16.2")
    wanted = store()
    store(golden=None, options=BuildOptions(optimization_level=5))
    assert find_engine(tmp_path, HERE) == wanted


def test_of_several_the_one_built_last(store, tmp_path):
    store(built_utc="2024-05-06T09:00:00+00:00", options=BuildOptions(workspace_mb=512))
    newest = store(built_utc="2024-05-06T10:00:00+00:00")
    store(built_utc="2024-05-06T08:00:00+00:00", options=BuildOptions(workspace_mb=256))
    assert find_engine(tmp_path, HERE) == newest
    assert list_engines(tmp_path)[-1] == newest


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("bundle_id", "d" * 64, "another bundle: dddddddddddd in place of bbbbbbbbbbbb"),
        ("graph_sha256", "d" * 64, "another graph"),
        ("tensorrt", "8.6.2", "another TensorRT: 8.6.2 in place of 10.3.0"),
        ("gpu", "NVIDIA H100", "another GPU: NVIDIA H100 in place of Orin"),
        ("compute_capability", "9.0", "another compute capability: 9.0"),
        ("platform", "L4T 36.4.4", "another platform: L4T 36.4.4 in place of L4T 36.4.3"),
    ],
)
def test_an_engine_of_something_else_is_told_apart(store, tmp_path, part, value, words):
    store(**{part: value})
    with pytest.raises(OpenError, match=words) as caught:
        find_engine(tmp_path, HERE)
    assert "adclip engine build" in caught.value.do


def test_the_nearest_of_several_is_named(store, tmp_path):
    store(tensorrt="8.6.2", gpu="Xavier", compute_capability="7.2")
    near = store(platform="L4T 36.5.0")
    with pytest.raises(OpenError, match=near.name):
        find_engine(tmp_path, HERE)


def test_every_part_that_differs_is_named(store, tmp_path):
    store(tensorrt="8.6.2", gpu="Xavier")
    with pytest.raises(OpenError, match=r"TensorRT: 8\.6\.2 in place of 10\.3\.0; GPU: Xavier"):
        find_engine(tmp_path, HERE)


def test_an_engine_without_its_proof_is_not_taken(store, tmp_path):
    store(golden=None)
    with pytest.raises(OpenError, match="have not been run"):
        find_engine(tmp_path, HERE)


def test_an_engine_that_failed_its_proof_is_not_taken_and_the_differences_are_told(store, tmp_path):
    store(golden=WRONG)
    with pytest.raises(OpenError, match=r"off by no finite number and the map by 0\.5") as caught:
        find_engine(tmp_path, HERE)
    assert "Do not use it" in caught.value.do


def test_an_empty_or_missing_directory(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OpenError, match="no engine"):
            find_engine(directory, HERE)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe", b'{"schema_version": 2}'])
def test_a_damaged_record_is_no_engine(store, tmp_path, content):
    engine = store()
    (tmp_path / f"{engine.name}.json").write_bytes(content)
    assert list_engines(tmp_path) == []


def test_a_record_under_another_name_is_no_engine(store, tmp_path):
    engine = store()
    (tmp_path / f"{engine.name}.json").rename(tmp_path / "0123456789abcdef.json")
    assert list_engines(tmp_path) == []


def test_a_record_is_plain_json(store, tmp_path):
    engine = store(golden=WRONG)
    content = json.loads((tmp_path / f"{engine.name}.json").read_text())
    assert content["golden"]["passed"] is False
    assert content["golden"]["score_difference"] is None
    assert content["key"]["target"]["tensorrt"] == "10.3.0"
    assert content["figures"]["fused_attentions"] == 43


def test_the_engine_file_is_checked_before_it_is_handed_out(store):
    engine = store()
    with pytest.raises(OpenError, match="cannot be read"):
        engine.read()
    write_whole(engine.path, b"engine")
    with pytest.raises(OpenError, match="not the file that was built"):
        engine.read()
    right = engine.record.model_copy(update={"engine_sha256": hashlib.sha256(b"engine").hexdigest()})
    assert StoredEngine(engine.directory, right).read() == b"engine"


@given(
    part=st.sampled_from(sorted(EngineTarget.model_fields)),
    option=st.sampled_from(sorted(BuildOptions.model_fields)),
    digit=st.sampled_from("0123456789adef"),
)
def test_every_part_and_every_option_changes_the_key(part, option, digit):
    key = EngineKey(target=HERE, options=BuildOptions())
    other = {"precision": "fp32"}.get(part, digit * 64)
    changed = EngineKey(target=HERE.model_copy(update={part: other}), options=BuildOptions())
    assert changed.identity() != key.identity()
    options = BuildOptions().model_copy(update={option: getattr(BuildOptions(), option) + 1})
    assert EngineKey(target=HERE, options=options).identity() != key.identity()


def test_the_target_takes_the_fp16_graph_when_there_is_one(tiny, tmp_path):
    device = {"tensorrt": "10.3.0", "gpu": "Orin", "compute_capability": "8.7", "platform": "L4T 36.4.3"}
    for name, fp16, precision in (("a", True, "fp16"), ("b", False, "fp32")):
        bundle = tiny.write_tiny_bundle(tmp_path / name, fp16=fp16)
        target = engine_target(bundle, **device)
        assert target.precision == precision
        assert target.graph_sha256 == bundle.manifest.files[f"model.{precision}.onnx"]
        assert target.bundle_id == bundle.bundle_id


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.engine"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["x.engine"]
    with pytest.raises(OpenError, match="cannot be written"):
        write_whole(tmp_path / "missing" / "x.engine", b"new")


def test_nothing_is_left_of_a_file_that_cannot_take_its_name(tmp_path):
    (tmp_path / "x.engine").mkdir()
    with pytest.raises(OpenError, match="cannot be written"):
        write_whole(tmp_path / "x.engine", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x.engine"]


def test_users_share_the_lock_and_a_build_has_it_alone(tmp_path):
    with use_of_engines(tmp_path, building=True):
        for building, words in ((True, "another one is being built"), (False, "being built")):
            with pytest.raises(OpenError, match=words), use_of_engines(tmp_path, building=building):
                pass
    with (
        use_of_engines(tmp_path, building=False),
        use_of_engines(tmp_path, building=False),
        pytest.raises(OpenError, match="in use"),
        use_of_engines(tmp_path, building=True),
    ):
        pass
    with use_of_engines(tmp_path, building=True):
        pass


def test_a_user_needs_no_permission_to_write(tmp_path):
    with use_of_engines(tmp_path, building=True):
        pass
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) & 0o444 == 0o444 & ~_umask()
    (tmp_path / "lock").chmod(0o444)
    with use_of_engines(tmp_path, building=False):
        pass


def test_a_user_makes_no_lock_where_nothing_was_built(tmp_path):
    with pytest.raises(OpenError, match="cannot be used"), use_of_engines(tmp_path, building=False):
        pass
    assert list(tmp_path.iterdir()) == []


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
