"""Models and what they are made of. Importing this registers every public class by name in mmengine's MODELS."""

from mmengine.registry import MODELS

from backbones import AlignedXception, Xception
from heads import DeepLabV3Plus, FCNHead
from xseg.models.adapters import SmpBackbone, SmpDecoder, TimmBackbone, TorchvisionBackbone
from xseg.models.inference import Inference
from xseg.models.losses import CrossEntropy, OhemCrossEntropy, SmpLoss
from xseg.models.preprocessor import Preprocessor
from xseg.models.segmentor import Segmentor

__all__ = [
    "CrossEntropy",
    "Inference",
    "OhemCrossEntropy",
    "Preprocessor",
    "Segmentor",
    "SmpBackbone",
    "SmpDecoder",
    "SmpLoss",
    "TimmBackbone",
    "TorchvisionBackbone",
]

for _cls in (AlignedXception, Xception, DeepLabV3Plus, FCNHead, *(globals()[name] for name in __all__)):
    MODELS.register_module(module=_cls)
