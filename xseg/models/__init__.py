"""Models, backbones, heads and losses. Importing this package registers each public class in mmengine's MODELS."""

import inspect

import mmengine.registry  # noqa: F401  # register() needs it

import backbones
import heads
from backbones.registry import register
from xseg.models.adapters import InceptionV3, SmpBackbone, SmpDecoder, TimmBackbone, TorchvisionBackbone, ViTBackbone
from xseg.models.classifier import Classifier
from xseg.models.detector import Detector
from xseg.models.inference import Inference
from xseg.models.joint import JointModel
from xseg.models.losses import CrossEntropy, Dice, OhemCrossEntropy, SmpLoss
from xseg.models.preprocessor import Preprocessor
from xseg.models.segmentor import Segmentor
from xseg.models.slices import Slices

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
    "Slices",
    "SmpBackbone",
    "SmpDecoder",
    "SmpLoss",
    "TimmBackbone",
    "TorchvisionBackbone",
    "ViTBackbone",
]

for _package in (backbones, heads):  # whose own call of register() did nothing if mmengine was not yet imported
    register(*filter(inspect.isclass, (getattr(_package, name) for name in _package.__all__)))
register(*(globals()[name] for name in __all__))
