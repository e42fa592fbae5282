"""Every name of TensorRT and pycuda that the code uses exists in the real bindings.

The bindings are NVIDIA's own wheels, fetched by the test. They need TensorRT's libraries, which no package
index has; three placeholders with the symbols they link to are compiled here, whose functions return nothing.
So misspelt and removed names are found, and nothing at all is shown about execution. pycuda is not built: its
names are looked up in its source.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "test-bindings"
SOURCES = sorted([*(ROOT / "edge" / "runner").glob("*.py"), *(ROOT / "export" / "engine").glob("*.py")])

BINDINGS = {
    "10.3.0": ("tensorrt-cu12-bindings", 10),
    "10.16.1.11": ("tensorrt-cu12-bindings", 10),
    "11.4.0.106": ("tensorrt-cu13-bindings", 11),
}
PYCUDA = "pycuda==2026.1"

# In the code, an object of TensorRT always has this name, with or without an underscore before it.
CLASSES = {
    "builder": "Builder",
    "builder_config": "IBuilderConfig",
    "cuda_engine": "ICudaEngine",
    "execution": "IExecutionContext",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "layer_output": "ITensor",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "runtime": "Runtime",
    "timing_cache": "ITimingCache",
}
# Likewise for pycuda, and only in the modules that touch it.
PYCUDA_OBJECTS = {"cuda", "gpu", "attribute", "stream", "base", "device"}
PYCUDA_SOURCES = {"cuda_context.py", "cuda_memory.py", "gpu.py", "tensorrt_session.py"}

PLACEHOLDERS = """
void *createInferBuilder_INTERNAL(void *l, int v) { return 0; }
void *createInferRefitter_INTERNAL(void *e, void *l, int v) { return 0; }
void *createInferRuntime_INTERNAL(void *l, int v) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void *r, void *l, int v) { return 0; }
void *createNvOnnxParser_INTERNAL(void *n, void *l, int v) { return 0; }
void *getBuilderPluginRegistry(int c) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
void *getPluginRegistry(void) { return 0; }
int initLibNvInferPlugins(void *l, const char *n) { return 0; }
"""

LOOK_UP = """
import json, sys
import tensorrt_bindings as trt
asked = json.load(sys.stdin)

def has(path):
    found = trt
    for name in path.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True

missing = [path for path in asked["names"] if not has(path)]
for path in asked["set"]:
    kind, name = path.rsplit(".", 1)
    if has(kind) and getattr(getattr(trt, kind).__dict__.get(name), "fset", None) is None:
        missing.append(f"{path} (to set)")
json.dump({"version": trt.__version__, "missing": missing}, sys.stdout)
"""

USE = """
import sys
import tensorrt_bindings as trt
from edge.errors import OpenError
from edge.runner.cuda_libraries import LastErrors, tensorrt_log
from edge.runner.vendor_faults import translated
from export.engine.engine_from_onnx import _strongly_typed
from export.engine.progress import Lines, progress_monitor

errors = LastErrors()
log = tensorrt_log(trt, errors)
log.log(trt.ILogger.ERROR, "one")
log.log(trt.ILogger.WARNING, "two")
assert errors.text() == "one", errors.text()
monitor = progress_monitor(trt, Lines(lambda line: None), lambda: False)
assert isinstance(monitor, trt.IProgressMonitor)
monitor.phase_start("a", None, 1)
assert monitor.step_complete("a", 0) is False
assert _strongly_typed(trt) == (2 if trt.__version__.startswith("10.") else 1)  # the flag has moved
for kind in (trt.Runtime, trt.Builder):
    try:
        with translated("No GPU", do="Get one."):
            kind(log)
    except OpenError as error:
        assert "nullptr" in error.what, error
    else:
        raise SystemExit("the placeholders make nothing")
assert tuple(trt.Dims((1, 3))) == (1, 3)
"""


def chains(tree):
    """(names from the root on, whether it is assigned) of every dotted name: self._trt.DataType.FLOAT."""
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in inner:
            stored, names = isinstance(node.ctx, ast.Store), []
            while isinstance(node, ast.Attribute):
                names.append(node.attr)
                node = node.value
            if isinstance(
                node, ast.Call
            ):  # cuda.Device(n).method: what the call is made on has a chain of its own
                names.append("()")
            elif isinstance(node, ast.Name):
                names.append(node.id)
            yield names[::-1], stored


def after(names, root):
    """What follows `root` in a chain, None when it is not in it."""
    plain = [name.lstrip("_") if not name.startswith("__") else name for name in names]
    return names[plain.index(root) + 1 :] if root in plain[:-1] else None


def names_of_tensorrt():
    """Every name used: paths from the module on; and those among them that are assigned to."""
    used, assigned = set(), set()
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for names, stored in chains(tree):
            if rest := after(names, "trt"):
                used.add(".".join(rest))
            for variable, kind in CLASSES.items():
                if rest := after(names, variable):
                    used.add(f"{kind}.{rest[0]}")
                    if stored:
                        assigned.add(f"{kind}.{rest[0]}")
        used |= set(overridden(tree))
    return used, assigned


def overridden(tree):
    """Methods of our subclasses of TensorRT's classes: the base must have them, or TensorRT never calls them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if (
                    isinstance(base, ast.Attribute)
                    and isinstance(base.value, ast.Name)
                    and base.value.id == "trt"
                ):
                    methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
                    yield from (f"{base.attr}.{method}" for method in methods)


def detected():
    """What is looked for with getattr, because not every version has it."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                where, name = node.args[0], node.args[1]
                if (
                    isinstance(where, ast.Attribute)
                    and isinstance(where.value, ast.Name)
                    and where.value.id == "trt"
                ):
                    yield f"{where.attr}.{ast.literal_eval(name)}"


def names_of_pycuda():
    """Every name that follows an object of pycuda in the modules that touch it."""
    used = set()
    for path in SOURCES:
        if path.name in PYCUDA_SOURCES:
            for names, _ in chains(ast.parse(path.read_text())):
                for root in PYCUDA_OBJECTS | ({"context"} if path.name == "cuda_context.py" else set()):
                    used |= set(after(names, root) or ())
                if names[0] == "()":
                    used |= set(names[1:])
    return used


def fetch(folder, *pip_arguments):
    """Fetch with pip into `folder` once; skips the test when that cannot be done here."""
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        quiet = ["--quiet", "--no-deps", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"]
        command = [
            sys.executable,
            "-m",
            "pip",
            *[str(each).replace("{to}", str(part)) for each in pip_arguments],
        ]
        done = subprocess.run([*command, *quiet], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(part, ignore_errors=True)
            told = (done.stderr.strip() or done.stdout.strip()).splitlines()
            pytest.skip(f"needs a package index: pip said {told[-1] if told else done.returncode!r}")
        part.rename(folder)
    return folder


@pytest.fixture(scope="module")
def placeholders(tmp_path_factory):
    """Folders with the placeholder libraries, by major version."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: 'make system-deps' or your package manager installs gcc")
    folder = tmp_path_factory.mktemp("placeholders")
    (folder / "placeholders.c").write_text(PLACEHOLDERS)
    for major in {major for _, major in BINDINGS.values()}:
        (folder / str(major)).mkdir()
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            name = f"lib{library}.so.{major}"
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / str(major) / name]
            subprocess.run([*command, folder / "placeholders.c"], check=True, capture_output=True)
    return folder


@pytest.fixture(params=BINDINGS)
def in_binding(request, placeholders):
    """Runs Python code in which `tensorrt_bindings` is the real binding of a version."""
    package, major = BINDINGS[request.param]
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    folder = fetch(
        KEPT / f"tensorrt-{request.param}-{python}",
        *("install", "--only-binary", ":all:", "--target", "{to}", f"{package}=={request.param}"),
    )
    paths = {"PYTHONPATH": f"{folder}:{ROOT}", "LD_LIBRARY_PATH": str(placeholders / str(major))}

    def run(code, **asked):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | paths,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.version = request.param
    return run


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_name_is_in_the_real_binding(in_binding):
    used, assigned = names_of_tensorrt()
    found = json.loads(in_binding(LOOK_UP, names=sorted(used), set=sorted(assigned)))
    assert found["version"] == in_binding.version
    assert found["missing"] == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_look_up_finds_what_is_not_there(in_binding):
    asked = {"names": ["Builder.create_networks", "BuilderFlag.TF32"], "set": ["ICudaEngine.num_layers"]}
    missing = json.loads(in_binding(LOOK_UP, **asked))["missing"]
    assert missing == ["Builder.create_networks", "ICudaEngine.num_layers (to set)"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_names_that_may_be_missing_are_where_they_are_said_to_be(in_binding):
    missing = json.loads(in_binding(LOOK_UP, names=sorted(detected()), set=[]))["missing"]
    assert missing == (["BuilderFlag.STRICT_NANS"] if in_binding.version == "10.3.0" else [])


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_our_logger_and_monitor_are_taken_and_its_refusal_is_translated(in_binding):
    in_binding(USE)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_name_of_pycuda_is_in_its_source():
    folder = fetch(
        KEPT / "pycuda",
        *("download", "--no-binary", ":all:", "--no-build-isolation", "--dest", "{to}", PYCUDA),
    )
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        texts = [
            archive.extractfile(member).read().decode()
            for member in archive
            if member.name.endswith(("wrap_cudadrv.cpp", "pycuda/driver.py"))
        ]
    offered = set(
        re.findall(r'"(\w+)"|DEF_SIMPLE\w+\((\w+)|attr\("(\w+)"\)|DECLARE_EXC\((\w+)', "\n".join(texts))
    )
    offered = {name for names in offered for name in names if name}
    # The base of an array from pagelocked_empty is named after its allocation; `nbytes` is numpy's.
    assert names_of_pycuda() - {"host", "nbytes", "base"} - offered == set()


def test_the_walk_finds_what_is_known_to_be_used():
    used, assigned = names_of_tensorrt()
    assert used >= {
        "BuilderFlag.TF32",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_tensor_address",
        "ILogger.log",
        "IProgressMonitor.step_complete",
        "OnnxParser.parse",
        "ParserError.node_name",
        "Runtime.deserialize_cuda_engine",
        "ITimingCache.serialize",
        "ITensor.shape",
        "__version__",
    }
    assert assigned >= {"IExecutionContext.nvtx_verbosity", "IBuilderConfig.progress_monitor"}
    assert names_of_pycuda() >= {
        "retain_primary_context",
        "push",
        "pop",
        "detach",
        "get_device_pointer",
        "handle",
    }


def test_weak_typing_is_never_touched():
    used, _ = names_of_tensorrt()
    assert not {f"BuilderFlag.{name}" for name in ("FP16", "BF16", "INT8")} & (used | set(detected()))
