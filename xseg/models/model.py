"""What Segmentor and Classifier share: they are built from configs, know their classes, and can be shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.contract import check_backbone
from heads.contract import check_head
from xseg.models.images import as_image
from xseg.models.preprocessor import Preprocessor

if TYPE_CHECKING:
    from xseg.models.images import Image


class Model(BaseModel):
    """A backbone and a head, joined by what the backbone says of its features.

    Attributes: `classes` and `palette` of the data; from `xseg.load` also the model's `config`, the `card` of its
    weights, and `fresh`, the names of what they left as initialised. `deployed` in the copy that `deploy` returns.
    A subclass names the Protocol of its head in `head_contract`.
    """

    head_contract: type

    def __init__(self, backbone: nn.Module | dict, head: nn.Module | dict, preprocessor: nn.Module | dict | None):
        super().__init__(data_preprocessor=build(preprocessor) or Preprocessor())
        self.backbone = check_backbone(build(backbone))
        self.head = check_head(build(head, **self.features), self.head_contract)
        self.classes: tuple[str, ...] = tuple(f"class {index}" for index in range(self.num_classes))
        self.palette: list[tuple[int, int, int]] | None = None
        self.config: dict | None = None
        self.card: dict = {}
        self.fresh: list[str] = []
        self.deployed = False

    @property
    def hub_tasks(self) -> tuple[str, ...]:
        """What the model does, in the words of the Hugging Face Hub: its pipeline tag first."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    @property
    def features(self) -> dict[str, Sequence[int]]:
        """Channels and strides of the backbone's maps, under the names by which heads take them."""
        return {"in_channels": self.backbone.channels, "in_strides": self.backbone.strides}

    def set_output_stride(self, output_stride: int) -> None:
        """Change the resolution of the features, also after training; atrous rates follow, weights stay.

        Raises ValueError if the backbone or a head does not take this stride; the model is then as it was before.
        """
        with restored_on_error(self):
            self.backbone.set_output_stride(output_stride)
            self.set_head_strides()

    def set_head_strides(self) -> None:
        """Tell every head the strides that the backbone has now."""
        self.head.set_strides(self.backbone.strides)

    def deploy(
        self,
        dtype: torch.dtype | str | None = None,
        compile: bool = False,
        size_hw: Sequence[int] = (128, 128),
        backend: str = "torch",
    ) -> Model:
        """A copy for fast prediction; this model stays as it is and may go on training.

        In the copy every BatchNorm that only reads one convolution is folded into it; losses, auxiliary head and
        dropout are gone; weights and maps lie in channels-last memory. Its outputs are this model's to 1e-9 in float64
        and 1e-4 of their largest value in float32; in bf16 and fp16 some pixels near edges change their class.
        `set_output_stride` works as before. It cannot train, and its weights cannot be saved.

        Args:
            dtype: to compute in: "fp32", "bf16", "fp16" or the torch.dtype; None for that of the weights. Images and
                results are as before, logits float32 or wider; a detection head computes as it did.
            compile: run backbone and head through `torch.compile` with their weights frozen: minutes at the first
                image, and again for other sizes and strides. Call it under `torch.no_grad()`, as `predict` does.
            size_hw: of a black image that runs through once, by which convolutions find their BatchNorms. A backbone
                of one fixed size wants that.
            backend: what computes backbone and head, of images of all sizes, at the output stride that the model has
                now: "torch"; on a CPU "openvino" (fp32, bf16, fp16) or "onnxruntime" (fp32); on an NVIDIA GPU
                "tensorrt", or "cudagraphs", PyTorch's own kernels as a CUDA graph (neither has run on one yet); "auto",
                the fastest that is installed. All but "torch" are compared with PyTorch first, which takes seconds.

        Raises:
            ModuleNotFoundError: the backend is not installed.
            ValueError: an unknown dtype or backend, or one that this model or device does not go with.
        """
        from xseg.deploy.fold import deployed

        return deployed(self, dtype, compile, size_hw, backend)

    def train(self, mode: bool = True) -> Model:
        """As `nn.Module.train`; ValueError for a deployed model, which has nothing left to train."""
        if mode and self.deployed:
            from xseg.deploy.fold import REFUSAL

            raise ValueError(REFUSAL.format("train"))
        return super().train(mode)

    def predict(self, image: Image | Sequence[Image]):
        """The result of one image (see `xseg.results`), or of several a list.

        Args:
            image: a path; a PIL image of any mode; an array (H, W, 3) RGB or (H, W) grey; a tensor (3, H, W) or (H, W)
                on any device. Several: a list or tuple, which go through the network one after the other, or a batch,
                an array (N, H, W, 3) or a tensor (N, 3, H, W), which goes through at once. Values are uint8, or floats
                in 0..1, which become uint8.

        Raises:
            FileNotFoundError, ValueError: it is no such image; the message says why.
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
        """What of an image (3, H, W) goes through the network."""
        return image

    def result(self, prediction: dict, image: np.ndarray, path: str | PathLike | None):
        """What `predict` returns, from what mode "predict" gives for one sample; image (H, W, 3) uint8 RGB."""
        raise NotImplementedError

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Upload weights, config and card to the Hugging Face Hub as "ORG/NAME"; returns the address."""
        from xseg.weights.safe import push_to_hub

        return push_to_hub(self, repository, private, token)


@contextmanager
def restored_on_error(model: nn.Module) -> Iterator[None]:
    """If the body raises, every module of the model gets back the attributes, parts and tensors that it had.

    This undoes what was assigned, not what was written into a tensor.
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
    """The object a config describes, with `arguments` for what the config leaves open; an object passes through."""
    return MODELS.build({**arguments, **config}) if isinstance(config, dict) else config
