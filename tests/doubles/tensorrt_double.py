"""A double of tensorrt, pycuda.driver and libcuda, for the order of calls and for failures only.

It models: which CUDA context is current in which thread and that nothing works without one; that memory is
freed once and inside a context; that every tensor needs an address before a run; that a stream records while
it is captured; None and False where TensorRT returns them. It does not model: numerics of a GPU, time,
asynchrony, alignment, memory limits, the builder's choices, or whether a real engine fits a device. What
"the engine" computes is a Python function that the test gives, so a green test here says nothing about
TensorRT itself.
"""

import json
import threading
from types import SimpleNamespace

import numpy as np

ENGINE = b"an engine of the double"


class Error(Exception):
    """Stands for pycuda.driver.Error."""


class Gpu:
    """One GPU with one engine. `faults` names what shall go wrong; `calls` tells what was called, in order."""

    def __init__(self, network, tensors, *, integrated=True, version="10.3.0", faults=()):
        self.network = network
        self.tensors = tensors
        self.integrated = integrated
        self.version = version
        self.faults = set(faults)
        self.calls = []
        self.live = []
        self.memory = {}
        self.retained = 0
        self.recording = None
        self.graphs = {}
        self.layers = ["_gemm_mha_v2_myl0_3", "other"]
        self.built_with = SimpleNamespace(flags=[], cleared=[], limits={}, parsed=None)
        self._stacks = threading.local()
        self.libraries = SimpleNamespace(trt=_tensorrt(self), cuda=_Pycuda(self), driver=_Libcuda(self))

    @property
    def stack(self):
        if not hasattr(self._stacks, "contexts"):
            self._stacks.contexts = []
        return self._stacks.contexts

    def need_context(self):
        if not self.stack:
            raise Error("no currently active context?")

    def start(self, execution):
        self.need_context()
        self.calls.append("execute")
        assert set(execution.addresses) == set(self.tensors), "a tensor has no address"
        if "execute" in self.faults:
            execution.log.log(execution.log.ERROR, "a kernel could not be launched.")
            return False
        if self.recording is not None:
            self.recording.append(execution)
            return True
        self._compute(execution)
        return True

    def _compute(self, execution):
        memory = {
            name: self.memory[address].reshape(self.tensors[name][1])
            for name, address in execution.addresses.items()
        }
        inputs = {name: values for name, values in memory.items() if self.tensors[name][0] == "input"}
        for name, values in self.network(**inputs).items():
            memory[name][...] = values

    def replay(self, recorded):
        for execution in recorded:
            self._compute(execution)


class _Allocation(bytearray):
    """Pinned host memory: the base of the array that is handed out."""

    gpu = None

    def get_device_pointer(self):
        self.gpu.need_context()
        assert self.mapped, "only mapped memory has an address on the GPU"
        return id(self)

    def free(self):
        self.gpu.need_context()
        self.gpu.calls.append("free")
        self.gpu.live.remove(self)


class _DeviceAllocation:
    def __init__(self, gpu, size):
        self._gpu = gpu
        self.values = np.zeros(size // 4, np.float32)
        gpu.memory[id(self)] = self.values

    def __int__(self):
        return id(self)

    def free(self):
        self._gpu.need_context()
        self._gpu.calls.append("free device")
        self._gpu.live.remove(self)


class _Context:
    def __init__(self, gpu):
        self._gpu = gpu

    def push(self):
        if "push" in self._gpu.faults:
            raise Error("cuCtxPushCurrent failed")
        self._gpu.calls.append("push")
        self._gpu.stack.append(self)

    def detach(self):
        self._gpu.calls.append("detach")
        assert self._gpu.stack[-1] is self, "detached where it is not current"
        self._gpu.stack.pop()
        self._gpu.retained -= 1


class _Contexts:
    """Stands for the class Context, whose `pop` is static."""

    def __init__(self, gpu):
        self._gpu = gpu

    def pop(self):
        self._gpu.calls.append("pop")
        self._gpu.stack.pop()


class _Devices:
    """Stands for the class Device and for its one object."""

    def __init__(self, gpu):
        self._gpu = gpu

    def __call__(self, _number):
        return self

    def count(self):
        return 1

    def name(self):
        return "Orin"

    def compute_capability(self):
        return (8, 7)

    def get_attribute(self, _attribute):
        return int(self._gpu.integrated)

    def retain_primary_context(self):
        if "context" in self._gpu.faults:
            raise Error("cuDevicePrimaryCtxRetain failed: out of memory")
        self._gpu.retained += 1
        return _Context(self._gpu)


class _Stream:
    handle = 77

    def __init__(self, gpu):
        gpu.need_context()
        self._gpu = gpu

    def synchronize(self):
        self._gpu.need_context()
        self._gpu.calls.append("synchronize")
        if "synchronise" in self._gpu.faults:
            raise Error("cuStreamSynchronize failed: an illegal memory access was encountered")


class _Pycuda:
    """Stands for the module pycuda.driver."""

    Error = Error
    device_attribute = SimpleNamespace(INTEGRATED=1, CAN_MAP_HOST_MEMORY=2)
    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)

    def __init__(self, gpu):
        self._gpu = gpu
        self.Context, self.Device = _Contexts(gpu), _Devices(gpu)

    def init(self):
        if "driver" in self._gpu.faults:
            raise Error("cuInit failed: no CUDA-capable device is detected")

    def get_driver_version(self):
        return 12060

    def Stream(self):
        return _Stream(self._gpu)

    def pagelocked_empty(self, shape, dtype, mem_flags=0):
        gpu = self._gpu
        gpu.need_context()
        if "host memory" in gpu.faults:
            raise Error("cuMemHostAlloc failed: out of memory")
        allocation = _Allocation(int(np.prod(shape)) * 4)
        allocation.gpu, allocation.mapped = gpu, mem_flags == 2
        array = np.ndarray(shape, dtype, buffer=allocation)
        gpu.live.append(allocation)
        gpu.memory[id(allocation)] = array
        return array

    def mem_alloc(self, size):
        gpu = self._gpu
        gpu.need_context()
        if "device memory" in gpu.faults:
            raise Error("cuMemAlloc failed: out of memory")
        allocation = _DeviceAllocation(gpu, size)
        gpu.live.append(allocation)
        return allocation

    def memcpy_htod_async(self, device, host, _stream):
        self._gpu.calls.append("upload")
        device.values[:] = host.ravel()

    def memcpy_dtoh_async(self, host, device, _stream):
        self._gpu.calls.append("download")
        host.ravel()[:] = device.values


class _Libcuda:
    """Called as ctypes functions are: error codes come back, results through references."""

    def __init__(self, gpu):
        self._gpu = gpu

    def cuStreamBeginCapture_v2(self, _stream, mode):
        self._gpu.calls.append("begin capture")
        assert mode.value == 1
        if "capture" in self._gpu.faults:
            return 900
        self._gpu.recording = []
        return 0

    def cuStreamEndCapture(self, _stream, graph):
        self._gpu.calls.append("end capture")
        recorded, self._gpu.recording = self._gpu.recording, None
        if "end capture" in self._gpu.faults:
            return 901
        graph._obj.value = 5
        self._gpu.graphs[5] = recorded
        return 0

    def cuGraphInstantiateWithFlags(self, executable, graph, flags):
        assert flags.value == 0
        if "instantiate" in self._gpu.faults:
            return 2
        executable._obj.value = 6
        self._gpu.graphs[6] = self._gpu.graphs[graph.value]
        return 0

    def cuGraphDestroy(self, graph):
        self._gpu.calls.append("destroy graph")
        del self._gpu.graphs[graph.value]
        return 0

    def cuGraphLaunch(self, executable, _stream):
        self._gpu.need_context()
        self._gpu.calls.append("launch graph")
        self._gpu.replay(self._gpu.graphs[executable.value])
        return 0

    def cuGraphExecDestroy(self, executable):
        self._gpu.need_context()
        self._gpu.calls.append("destroy executable")
        del self._gpu.graphs[executable.value]
        return 0


class _Logger:
    """Stands for tensorrt.ILogger."""

    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

    def __init__(self):
        self.ready = True


class _ProgressMonitor:
    """Stands for tensorrt.IProgressMonitor."""

    def __init__(self):
        self.ready = True


class _Execution:
    def __init__(self, gpu, log):
        self._gpu, self.log, self.addresses = gpu, log, {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return "address" not in self._gpu.faults

    def execute_async_v3(self, stream):
        assert stream == _Stream.handle, "not the stream of its own"
        return self._gpu.start(self)


class _Engine:
    def __init__(self, gpu, log):
        self._gpu, self._log = gpu, log
        self.num_io_tensors = len(gpu.tensors)

    def get_tensor_name(self, index):
        return list(self._gpu.tensors)[index]

    def get_tensor_mode(self, name):
        return self._gpu.tensors[name][0]

    def get_tensor_shape(self, name):
        return list(self._gpu.tensors[name][1])

    def get_tensor_dtype(self, _name):
        return "half" if "half" in self._gpu.faults else "float32"

    def create_execution_context(self):
        if "memory" in self._gpu.faults:
            self._log.log(_Logger.ERROR, "out of memory\n while allocating activations.")
            return None
        return _Execution(self._gpu, self._log)

    def create_engine_inspector(self):
        layers = {"Layers": [{"Name": name} for name in self._gpu.layers]}
        return SimpleNamespace(get_engine_information=lambda _format: json.dumps(layers))


class _Runtime:
    def __init__(self, gpu, log):
        gpu.need_context()
        assert log.ready
        self._gpu, self._log = gpu, log

    def deserialize_cuda_engine(self, content):
        if "deserialise" in self._gpu.faults or bytes(content) != ENGINE:
            self._log.log(_Logger.ERROR, "The engine plan file is not compatible.")
            return None
        return _Engine(self._gpu, self._log)


def _tensorrt(gpu):
    """Stands for the module tensorrt."""
    return SimpleNamespace(
        __version__=gpu.version,
        ILogger=_Logger,
        IProgressMonitor=_ProgressMonitor,
        Runtime=lambda log: _Runtime(gpu, log),
        Builder=lambda log: _Builder(gpu, log),
        OnnxParser=lambda _network, _log: _Parser(gpu),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        DataType=SimpleNamespace(FLOAT="float32", HALF="half"),
        ProfilingVerbosity=SimpleNamespace(NONE="none", DETAILED="detailed"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace", TACTIC_DRAM="tactic dram"),
        BuilderFlag=_builder_flags(gpu.version),
        NetworkDefinitionCreationFlag=_network_flags(gpu.version),
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        LayerType=SimpleNamespace(SOFTMAX="softmax"),
    )


def _builder_flags(version):
    """Only what the code may use. STRICT_NANS came with 10.16."""
    return SimpleNamespace(TF32="tf32", **({} if version == "10.3.0" else {"STRICT_NANS": "strict nans"}))


def _network_flags(version):
    """ "12.0" stands for a version that has dropped the flag."""
    return SimpleNamespace() if version == "12.0" else SimpleNamespace(STRONGLY_TYPED=1)


class _Parser:
    num_errors = 1

    def __init__(self, gpu):
        self._gpu = gpu

    def parse(self, graph):
        self._gpu.built_with.parsed = graph
        return "parse" not in self._gpu.faults

    def get_error(self, _index):
        return SimpleNamespace(
            node_name=lambda: "/block.3/softmax",
            node_operator=lambda: "Attention",
            desc=lambda: "No importer registered for op: Attention.",
        )


class _Builder:
    def __init__(self, gpu, log):
        gpu.need_context()
        if "builder" in gpu.faults:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._gpu, self._log = gpu, log

    def create_network(self, flags):
        self._gpu.built_with.network_flags = flags
        shapes = {"softmax": [(1, 12, 257, 257), (1, 2)], "matmul": [(1, 257, 257)]}
        layers = [
            SimpleNamespace(
                type=kind, get_output=lambda _index, shape=shape: SimpleNamespace(shape=list(shape))
            )
            for kind, of_kind in shapes.items()
            for shape in of_kind
        ]
        return SimpleNamespace(num_layers=len(layers), get_layer=lambda index: layers[index])

    def create_builder_config(self):
        return _BuilderConfig(self._gpu)

    def build_serialized_network(self, network, config):
        gpu = self._gpu
        gpu.built_with.config = config
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Tactic selection", "Building engine", 2)
        for step in range(2):
            if not monitor.step_complete("Tactic selection", step):
                return None
        monitor.phase_finish("Tactic selection")
        monitor.phase_finish("Building engine")
        if "build" in gpu.faults:
            self._log.log(self._log.ERROR, "Could not find any implementation for node {ForeignNode[...]}.")
            return None
        return ENGINE


class _BuilderConfig:
    def __init__(self, gpu):
        self._gpu = gpu

    def set_memory_pool_limit(self, pool, size):
        self._gpu.built_with.limits[pool] = size

    def set_flag(self, flag):
        self._gpu.built_with.flags.append(flag)

    def clear_flag(self, flag):
        self._gpu.built_with.cleared.append(flag)

    def create_timing_cache(self, content):
        if content == b"damaged":
            return None
        return SimpleNamespace(content=content, serialize=lambda: b"timings of the double")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self._gpu.built_with.timings = cache.content
        return cache.content != b"of another device"
