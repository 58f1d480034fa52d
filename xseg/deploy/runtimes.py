"""What computes a deployed model in place of PyTorch's calls, one kernel after another: each as a function of images.

Images are float32 (N, 3, H, W) of any size; the outputs are those of the file or network, float32, where the images
lie.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xseg.deploy.backends import BACKENDS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of `backends.PRECISIONS`
Run = Callable[[Tensor], Sequence[Tensor]]


def openvino(path: Path, dtype: torch.dtype) -> Run:
    """The precision is said, as OpenVINO takes bfloat16 by itself on CPUs that have it."""
    import openvino as ov

    precision = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = ov.Core()
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()

    def run(images: Tensor) -> list[Tensor]:
        found = request.infer([images.float().contiguous().numpy()], share_inputs=True)
        return [torch.from_numpy(found[index]) for index in range(len(found))]

    return run


def onnxruntime(path: Path, dtype: torch.dtype) -> Run:
    """Its threads sleep between images, or they would take PyTorch's time."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        found = session.run(None, {"images": images.float().contiguous().numpy()})
        return [torch.from_numpy(array) for array in found]

    return run


# Images that TensorRT is made for: the smallest, those it is tuned for, and the largest, for which it keeps memory.
TENSORRT_SHAPES = (
    ((1, 3, 32, 32), (1, 3, 512, 512), (4, 3, 2080, 2080)),  # up to Cityscapes' images, upright too
    ((1, 3, 32, 32), (16, 3, 512, 512), (32, 3, 544, 544)),
)


class TensorRT:
    """TensorRT in the types of the file; it reads and writes PyTorch's memory. Not run yet on a GPU.

    Raises:
        ValueError: the file has what TensorRT lacks, or cannot be built.
    """

    def __init__(self, path: Path, dtype: torch.dtype):
        import tensorrt as trt

        self.engine = self._build(trt, path)
        self.contexts = [self.engine.create_execution_context() for _ in TENSORRT_SHAPES]
        for index, context in enumerate(self.contexts):
            context.set_optimization_profile_async(index, torch.cuda.current_stream().cuda_stream)
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self.outputs = [name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]

    def __call__(self, images: Tensor) -> list[Tensor]:
        images = images.float().contiguous()
        context = self.contexts[profile_of(images.shape)]
        context.set_input_shape("images", tuple(images.shape))
        found = [images.new_empty(tuple(context.get_tensor_shape(name))) for name in self.outputs]
        for name, tensor in zip(("images", *self.outputs), (images, *found), strict=True):
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream(images.device).cuda_stream):
            raise RuntimeError("TensorRT has failed, for what it says above")
        return found

    def _build(self, trt, path: Path):
        logger = trt.Logger(trt.Logger.WARNING)
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(path)):
            faults = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise ValueError(f"TensorRT cannot read the exported model: {faults}; take backend torch or cudagraphs")
        config = builder.create_builder_config()
        for shapes in TENSORRT_SHAPES:
            profile = builder.create_optimization_profile()
            profile.set_shape("images", *shapes)
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ValueError("TensorRT cannot build the exported model, for what it says above; take backend torch")
        self.runtime = trt.Runtime(logger)  # kept as long as its engine
        return self.runtime.deserialize_cuda_engine(plan)


def profile_of(shape: Sequence[int]) -> int:
    """Which of TENSORRT_SHAPES hold images of a shape; ValueError if none do."""
    for index, (low, _, high) in enumerate(TENSORRT_SHAPES):
        if all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            return index
    ranges = " or ".join(f"from {low} to {high}" for low, _, high in TENSORRT_SHAPES)
    raise ValueError(
        f"TensorRT takes images {ranges}, got {tuple(shape)}: predict in windows or smaller "
        "batches, or take backend torch"
    )


class CudaGraphs:
    """PyTorch's own kernels, launched all at once: one CUDA graph for each of the last shapes. Not run yet on a GPU.

    Launching one by one takes a CPU longer than a GPU takes for a few small images. A new shape costs four passes.
    """

    MOST = 8  # shapes kept
    WARMING = 3  # passes in which kernels are compiled and chosen, before they are captured

    def __init__(self, net: nn.Module):
        self.net = net
        self.graphs: OrderedDict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]] = OrderedDict()
        self.pool = torch.cuda.graph_pool_handle()  # of one memory, since no graph's outputs outlive a call

    @torch.inference_mode(False)  # a tensor made in that mode could not be written to outside of it
    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        if images.shape not in self.graphs:
            self.graphs[images.shape] = self._capture(images)
            if len(self.graphs) > self.MOST:
                self.graphs.popitem(last=False)
        self.graphs.move_to_end(images.shape)
        graph, given, found = self.graphs[images.shape]
        given.copy_(images)
        graph.replay()
        return [output.clone() for output in found]

    def _capture(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]:
        given = images.clone()
        current, aside = torch.cuda.current_stream(images.device), torch.cuda.Stream(images.device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(self.WARMING):
                self.net(given)
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            found = self.net(given)
        return graph, given, found


def runtime_of(backend: str) -> Callable[[Path, torch.dtype], Run] | Callable[[nn.Module], Run]:
    """What starts a backend: of an ONNX file and a dtype if it needs packages, else of a network."""
    return globals()[BACKENDS[backend].runtime]
