"""Models, backbones, heads and losses. Importing this package registers each public class in mmengine's MODELS."""

import mmengine.registry  # noqa: F401  # register() needs it

from backbones import AlignedXception, PreactXception, Xception
from backbones.registry import register
from heads import (
    FCOS,
    ClassificationHead,
    DeepLabV3Plus,
    DeepLabV3PlusDPC,
    FasterRCNN,
    FCNHead,
    MaskRCNN,
    RetinaNet,
)
from xseg.models.adapters import InceptionV3, SmpBackbone, SmpDecoder, TimmBackbone, TorchvisionBackbone
from xseg.models.classifier import Classifier
from xseg.models.detector import Detector
from xseg.models.inference import Inference
from xseg.models.joint import JointModel
from xseg.models.losses import CrossEntropy, Dice, OhemCrossEntropy, SmpLoss
from xseg.models.preprocessor import Preprocessor
from xseg.models.segmentor import Segmentor

__all__ = [
    "Classifier",
    "CrossEntropy",
    "Detector",
    "Dice",
    "InceptionV3",
    "Inference",
    "JointModel",
    "OhemCrossEntropy",
    "Preprocessor",
    "Segmentor",
    "SmpBackbone",
    "SmpDecoder",
    "SmpLoss",
    "TimmBackbone",
    "TorchvisionBackbone",
]

_BACKBONES = (AlignedXception, PreactXception, Xception)
_HEADS = (ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC, FCNHead, FCOS, FasterRCNN, MaskRCNN, RetinaNet)
register(*_BACKBONES, *_HEADS, *(globals()[name] for name in __all__))
