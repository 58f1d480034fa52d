"""What Segmentor and Classifier share: they are built from configs, know their classes, and can be shared."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from xseg.models.preprocessor import Preprocessor


class Model(BaseModel):
    """A backbone and a head, joined by what the backbone says of its features.

    Attributes: `classes` and `palette` of the data; from `xseg.load` also the model's `config`, the `card` of its
    weights, and `fresh`, the names of what they left as initialised.
    """

    def __init__(self, backbone: nn.Module | dict, head: nn.Module | dict, preprocessor: nn.Module | dict | None):
        super().__init__(data_preprocessor=build(preprocessor) or Preprocessor())
        self.backbone = build(backbone)
        self.features = {"in_channels": self.backbone.channels, "in_strides": self.backbone.strides}
        self.head = build(head, **self.features)
        self.classes: tuple[str, ...] = tuple(f"class {index}" for index in range(self.num_classes))
        self.palette: list[tuple[int, int, int]] | None = None
        self.config: dict | None = None
        self.card: dict = {}
        self.fresh: list[str] = []

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Upload weights, config and card to the Hugging Face Hub as "ORG/NAME"; returns the address."""
        from xseg.weights.safe import push_to_hub

        return push_to_hub(self, repository, private, token)


def build(config: nn.Module | dict | None, **arguments):
    """The object a config describes, with `arguments` for what the config leaves open; an object passes through."""
    return MODELS.build({**arguments, **config}) if isinstance(config, dict) else config


def as_image(image: str | PathLike | np.ndarray | Tensor) -> tuple[Tensor, str | PathLike | None]:
    """(image (3, H, W) uint8 RGB, path if it was one) of a path, an (H, W, 3) RGB array, or such a tensor."""
    from xseg.data.images import read_image

    path = None
    if isinstance(image, (str, PathLike)):
        path, image = image, read_image(image)
    elif isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image must be 3 channels of uint8 RGB, got {tuple(image.shape)} {image.dtype}")
    return image, path
