"""Model: what all models share, from building to padding, prediction, deployment and upload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.contract import check_backbone
from heads.contract import check_head
from xseg.models.images import as_image
from xseg.models.preprocessor import Preprocessor, right_below

if TYPE_CHECKING:
    from xseg.deploy.form import ExportForm
    from xseg.models.images import Image


HUB_TASKS = {  # task of a model -> the same in the words of the Hugging Face Hub, its pipeline tag first
    "segmentation": ("image-segmentation", "semantic-segmentation"),
    "detection": ("object-detection",),
    "instances": ("image-segmentation", "instance-segmentation", "object-detection"),
    "joint": ("image-segmentation", "semantic-segmentation", "object-detection"),
    "panoptic": ("image-segmentation", "panoptic-segmentation", "semantic-segmentation", "object-detection"),
    "classification": ("image-classification",),
    "multilabel": ("image-classification",),
}


class Model(BaseModel):
    """A backbone and a head as one mmengine model with three modes.

    `forward(images, samples, mode)` takes normalised images (N, 3, H, W) and returns by mode:
        "loss": dict of scalar losses, one key a loss, for training.
        "predict": a list with one dict a sample, in the pixels of the original image.
        "tensor": raw outputs, for export and benchmarks.

    A subclass implements `loss`, `predict_batch`, `outputs` and `result`, and sets `task` and `head_contract`.

    Args:
        backbone: a module with `channels`, `strides` and `set_output_stride`, or its config.
        head: a head or its config; `in_channels` and `in_strides` come from the backbone.
        preprocessor: mean and std of the images, or its config; default Xception's.
        channels_last: keep weights and images in channels-last memory; faster with tensor cores, AMX and depthwise
            convolutions.
        compiled: run backbone and heads through `torch.compile`.

    Attributes:
        task: what the model does, one of `HUB_TASKS`.
        classes, palette: names and RGB colours of the classes, from the data set.
        config, card, fresh: set by `xseg.load`: the model's config, the card of its weights, and the names of tensors
            that the weights left as initialised.
        deployed: True in the copy that `deploy` returns.
    """

    task: str
    head_contract: type  # the Protocol of `head`, from `heads.contract`
    align_corners = False  # whether corners of the maps lie on corners of the image
    finds_objects = False  # whether the results contain boxes
    asked_of_head: tuple[str, ...] = ("num_classes",)  # attributes of the head that the model reads
    training_parts: tuple[str, ...] = ()  # attributes that only training needs
    export_obstacle: str | None = None  # what in the model cannot be exported as one graph

    def __init__(
        self,
        backbone: nn.Module | dict,
        head: nn.Module | dict,
        preprocessor: nn.Module | dict | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        super().__init__(data_preprocessor=build(preprocessor) or Preprocessor())
        self.channels_last, self.compiled = channels_last, compiled
        self.first_levels: dict[str, int] = {}  # name of a head -> index of the first map that it reads
        self.backbone = self._laid_out(check_backbone(build(backbone)))
        self.add_head("head", head, self.head_contract)
        self.classes: tuple[str, ...] = tuple(f"class {index}" for index in range(self.num_classes))
        self.palette: list[tuple[int, int, int]] | None = None
        self.config: dict | None = None
        self.card: dict = {}
        self.fresh: list[str] = []
        self.deployed = False

    def add_head(self, name: str, head: nn.Module | dict, contract: type, first_level: int = 0) -> None:
        """Build a head as the attribute `name`. It reads the backbone's maps from `first_level` on.

        TypeError if the head does not keep its contract, a Protocol of `heads.contract`.
        """
        features = {key: values[first_level:] for key, values in self.features.items()}
        setattr(self, name, self._laid_out(check_head(build(head, **features), contract)))
        self.first_levels[name] = first_level

    def _laid_out(self, module: nn.Module) -> nn.Module:
        """A backbone or head with the memory format and compilation that this model was asked for."""
        if self.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.compiled:
            module.compile()
        return module

    @property
    def networks(self) -> list[nn.Module]:
        """The backbone and every head."""
        heads = [getattr(self, name) for name in self.first_levels]
        return [self.backbone, *(head for head in heads if head is not None)]  # deploy() removes an auxiliary head

    @property
    def hub_tasks(self) -> tuple[str, ...]:
        """The model's task in the words of the Hugging Face Hub: its pipeline tag first."""
        return HUB_TASKS[self.task]

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    @property
    def features(self) -> dict[str, Sequence[int]]:
        """Channels and strides of the backbone's maps, under the names of a head's arguments."""
        return {"in_channels": self.backbone.channels, "in_strides": self.backbone.strides}

    def forward(self, images: Tensor, samples: Sequence[dict] | None = None, mode: str = "tensor"):
        if mode == "loss":
            return self.loss(images, samples)
        if mode == "predict":
            return self.predict_batch(images, samples)
        if mode == "tensor":
            return self.outputs(images)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, images: Tensor, samples: Sequence[dict]) -> dict[str, Tensor]:
        """Losses by name: what mode "loss" returns."""
        raise NotImplementedError

    def predict_batch(self, images: Tensor, samples: Sequence[dict]) -> list[dict]:
        """One prediction a sample: what mode "predict" returns."""
        raise NotImplementedError

    def outputs(self, images: Tensor):
        """Raw outputs: what mode "tensor" returns."""
        raise NotImplementedError

    def maps(self, images: Tensor) -> list[Tensor]:
        """The backbone's maps of normalised images (N, 3, H, W)."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.backbone(images)

    def padded(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) padded right and below with 0, the mean colour, to `padded_hw`."""
        return F.pad(images, right_below(images, *self.padded_hw(images.shape[-2:])))

    def padded_hw(self, size_hw: Sequence[int]) -> tuple[int, int]:
        """The least size, not below `size_hw`, at which all maps cover the image exactly.

        Maps sit at k * stride. With aligned corners that is k * stride + 1 pixels (513, 769, 1025 x 2049), otherwise
        k * stride.
        """
        stride, extra = max(self.backbone.strides), int(self.align_corners)
        height, width = (size + (extra - size) % stride for size in size_hw)
        return height, width

    def set_output_stride(self, output_stride: int) -> None:
        """Change the resolution of the features, also after training. Atrous rates follow; weights stay.

        Raises ValueError if the backbone or a head does not support this stride. The model is then unchanged.
        """
        with restored_on_error(self):
            self.backbone.set_output_stride(output_stride)
            self.set_head_strides()

    def set_windows(self, window_hw: Sequence[int], **options) -> None:
        """Predict large images in overlapping windows of (height, width) pixels from now on.

        Args:
            options: `overlap`, the minimum share of a window that overlaps the next one; for a Detector also `whole`.

        Raises ValueError for a model that predicts whole images only.
        """
        raise ValueError(f"windows are for a Segmentor and a Detector, this is a {type(self).__name__}")

    def set_head_strides(self) -> None:
        """Pass the backbone's current strides to every head."""
        for name, first_level in self.first_levels.items():
            if (head := getattr(self, name)) is not None:
                head.set_strides(self.backbone.strides[first_level:])

    def deploy(
        self,
        dtype: torch.dtype | str | None = None,
        compile: bool = False,
        size_hw: Sequence[int] = (128, 128),
        backend: str = "torch",
    ) -> Model:
        """Return a copy for fast prediction. This model is unchanged and can continue training.

        In the copy, every BatchNorm that reads a single convolution is folded into it. Losses, the auxiliary head and
        dropout are removed. Weights and maps use channels-last memory. The outputs equal this model's to 1e-9 in
        float64 and to 1e-4 of their largest value in float32; in bf16 and fp16 some pixels near edges change class.
        `set_output_stride` works as before. The copy cannot train, and its weights cannot be saved.

        Args:
            dtype: precision of the computation: "fp32", "bf16", "fp16" or a torch.dtype; None for that of the
                weights. Images and results keep their types, logits are at least float32, and a detection head keeps
                its precision.
            compile: run backbone and heads through `torch.compile` with frozen weights. The first image takes minutes,
                and so does each new size or stride. Call the copy under `torch.no_grad()`, as `predict` does.
            size_hw: size of the black image that is run once to find which convolution feeds which BatchNorm. A
                backbone with a fixed input size needs that size.
            backend: what computes backbone and head, one of `xseg.deploy.backends.BACKENDS`, or "auto" for the fastest
                that is installed. It works for images of all sizes at the current output stride. Every backend but
                "torch" is first compared with PyTorch, which takes seconds. "tensorrt" and "cudagraphs" (PyTorch's
                kernels as a CUDA graph) have not been run on a GPU yet.

        Raises:
            ModuleNotFoundError: the backend is not installed.
            ValueError: the dtype or backend is unknown, or does not support this model or device.
        """
        from xseg.deploy.fold import deployed

        return deployed(self, dtype, compile, size_hw, backend)

    def train(self, mode: bool = True) -> Model:
        """As `nn.Module.train`; ValueError for a deployed model, which cannot train."""
        if mode and self.deployed:
            from xseg.deploy.fold import REFUSAL

            raise ValueError(REFUSAL.format("train"))
        return super().train(mode)

    def predict(self, image: Image | Sequence[Image]):
        """Predict one image and return its result (see `xseg.results`), or several and return a list.

        Args:
            image: one image: a path; a PIL image of any mode; an array (H, W, 3) RGB or (H, W) grey; a tensor
                (3, H, W) or (H, W) on any device. Several images: a list or tuple, computed one by one, or a batch
                computed at once, an array (N, H, W, 3) or a tensor (N, 3, H, W). Values are uint8, or floats in 0..1,
                which are converted to uint8.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read or has another form; the message says why.
        """
        if isinstance(image, (list, tuple)):
            return [self.predict(one) for one in image]
        if getattr(image, "ndim", 0) == 4:
            return self._predict([as_image(one) for one in image], None)
        return self._predict([as_image(image)], image if isinstance(image, (str, PathLike)) else None)[0]

    @torch.inference_mode()
    def _predict(self, images: list[Tensor], path: str | PathLike | None) -> list:
        """Results of images (3, H, W) uint8 RGB of one size, in one batch."""
        if not images:
            return []
        self.eval()
        data = self.data_preprocessor({"images": [self.prepare(i) for i in images], "samples": [{} for _ in images]})
        predictions = self.forward(**data, mode="predict")
        pixels = [image.permute(1, 2, 0).cpu().numpy() for image in images]
        return [self.result(p, i, path) for p, i in zip(predictions, pixels, strict=True)]

    def prepare(self, image: Tensor) -> Tensor:
        """The part of an image (3, H, W) that the network sees."""
        return image

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        """The result for one image (H, W, 3), uint8 RGB, from its entry in the output of mode "predict"."""
        raise NotImplementedError

    def export_form(self) -> ExportForm:
        """What ONNX export needs to know of this model; NotImplementedError with an `export_obstacle`."""
        raise NotImplementedError(f"{type(self).__name__} has no form for export")

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Upload weights, config and card to the Hugging Face Hub as "ORG/NAME"; return the address."""
        from xseg.weights.safe import push_to_hub

        return push_to_hub(self, repository, private, token)


@contextmanager
def restored_on_error(model: nn.Module) -> Iterator[None]:
    """If the body raises, restore the attributes, submodules and tensors of every module in the model.

    Assignments are undone; values written into a tensor in place are not.
    """
    tables = ("_modules", "_parameters", "_buffers")
    before = {m: {**vars(m), **{name: dict(vars(m)[name]) for name in tables}} for m in model.modules()}
    try:
        yield
    except BaseException:
        for module, attributes in before.items():
            vars(module).clear()
            vars(module).update(attributes)
        raise


def build(config: nn.Module | dict | None, **arguments):
    """Build the object that a config describes, with `arguments` as defaults; return any other object unchanged."""
    return MODELS.build({**arguments, **config}) if isinstance(config, dict) else config
