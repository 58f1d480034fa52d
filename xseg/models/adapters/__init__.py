"""Networks of timm, segmentation-models-pytorch and torchvision under our contracts, and ours under torchvision's."""

from xseg.models.adapters.inception_v3 import InceptionV3
from xseg.models.adapters.smp_backbone import SmpBackbone
from xseg.models.adapters.smp_decoder import SmpDecoder
from xseg.models.adapters.timm_backbone import TimmBackbone
from xseg.models.adapters.torchvision_backbone import TorchvisionBackbone
from xseg.models.adapters.vit_backbone import ViTBackbone

__all__ = ["InceptionV3", "SmpBackbone", "SmpDecoder", "TimmBackbone", "TorchvisionBackbone", "ViTBackbone"]
