"""The runtimes behind `xseg.deploy.backends`, each as a function from images to outputs.

Images are float32 (N, 3, H, W) of any size. Outputs are those of the file or network, float32, on the images' device.
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
    """Start OpenVINO. The precision is set explicitly, as OpenVINO otherwise uses bfloat16 on CPUs that support it."""
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
        outputs = request.infer([images.float().contiguous().numpy()], share_inputs=True)
        return [torch.from_numpy(outputs[index]) for index in range(len(outputs))]

    return run


def onnxruntime(path: Path, dtype: torch.dtype) -> Run:
    """Start ONNX Runtime. Its threads sleep between images; spinning threads would slow PyTorch down."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        outputs = session.run(None, {"images": images.float().contiguous().numpy()})
        return [torch.from_numpy(array) for array in outputs]

    return run


# Optimization profiles of TensorRT, as shapes of images: smallest, tuned for, largest (which sets the memory).
TENSORRT_SHAPES = (
    ((1, 3, 32, 32), (1, 3, 512, 512), (4, 3, 2080, 2080)),  # up to Cityscapes' images in both orientations
    ((1, 3, 32, 32), (16, 3, 512, 512), (32, 3, 544, 544)),
)


class TensorRT:
    """TensorRT, in the types of the file. It reads and writes PyTorch's memory. Not yet run on a GPU.

    Raises:
        ValueError: TensorRT does not support an operator of the file, or cannot build it.
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
        outputs = [images.new_empty(tuple(context.get_tensor_shape(name))) for name in self.outputs]
        for name, tensor in zip(("images", *self.outputs), (images, *outputs), strict=True):
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream(images.device).cuda_stream):
            raise RuntimeError("TensorRT has failed; its messages above say why")
        return outputs

    def _build(self, trt, path: Path):
        logger = trt.Logger(trt.Logger.WARNING)
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(path)):
            faults = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise ValueError(f"TensorRT cannot read the exported model: {faults}; use backend torch or cudagraphs")
        config = builder.create_builder_config()
        for shapes in TENSORRT_SHAPES:
            profile = builder.create_optimization_profile()
            profile.set_shape("images", *shapes)
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ValueError("TensorRT cannot build the exported model; its messages above say why; use backend torch")
        self.runtime = trt.Runtime(logger)  # must live as long as its engine
        return self.runtime.deserialize_cuda_engine(plan)


def profile_of(shape: Sequence[int]) -> int:
    """Index of the first of TENSORRT_SHAPES that includes a shape; ValueError if none does."""
    for index, (low, _, high) in enumerate(TENSORRT_SHAPES):
        if all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            return index
    ranges = " or ".join(f"from {low} to {high}" for low, _, high in TENSORRT_SHAPES)
    raise ValueError(
        f"TensorRT takes images {ranges}, got {tuple(shape)}: predict in windows or smaller "
        "batches, or use backend torch"
    )


class CudaGraphs:
    """PyTorch's own kernels, launched together: one CUDA graph for each recent shape. Not yet run on a GPU.

    For a few small images, launching kernels one by one takes the CPU longer than computing takes the GPU. A new shape
    costs four passes.
    """

    MOST = 8  # shapes kept
    WARMING = 3  # passes before the capture, in which kernels are compiled and chosen

    def __init__(self, net: nn.Module):
        self.net = net
        self.graphs: OrderedDict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]] = OrderedDict()
        self.pool = torch.cuda.graph_pool_handle()  # shared, as no graph's own outputs outlive a call

    @torch.inference_mode(False)  # tensors created in inference mode cannot be written to outside of it
    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        if images.shape not in self.graphs:
            self.graphs[images.shape] = self._capture(images)
            if len(self.graphs) > self.MOST:
                self.graphs.popitem(last=False)
        self.graphs.move_to_end(images.shape)
        graph, inputs, outputs = self.graphs[images.shape]
        inputs.copy_(images)
        graph.replay()
        return [output.clone() for output in outputs]

    def _capture(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]:
        inputs = images.clone()
        current, aside = torch.cuda.current_stream(images.device), torch.cuda.Stream(images.device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(self.WARMING):
                self.net(inputs)
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            outputs = self.net(inputs)
        return graph, inputs, outputs


def runtime_of(backend: str) -> Callable[[Path, torch.dtype], Run] | Callable[[nn.Module], Run]:
    """The function that starts a backend: from an ONNX file and a dtype if it has packages, else from a network."""
    return globals()[BACKENDS[backend].runtime]
