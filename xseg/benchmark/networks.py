"""The compared networks, with initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones import AlignedXception, Xception
from heads import ClassificationHead, DeepLabV3Plus, FasterRCNN, RetinaNet
from xseg.models import Classifier, Detector, Segmentor, TimmBackbone

NUM_CLASSES = 21
DETECTED = 91  # outputs of torchvision's detectors for COCO


def our_deeplab(depth: int, **options) -> Segmentor:
    """DeepLabv3+ for sizes of k * 16 pixels, as smp needs them: aligned corners would need k * 16 + 1."""
    head = {"type": DeepLabV3Plus, "num_classes": NUM_CLASSES, "align_corners": False}
    return Segmentor(AlignedXception(depth, 16), head, **options)


def smp_deeplab(depth: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    options = dict(encoder_output_stride=16, encoder_weights=None, classes=NUM_CLASSES)
    return smp.DeepLabV3Plus(f"tu-xception{depth}", **options)


def torchvision_deeplab() -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_resnet101

    return Out(deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=NUM_CLASSES))


class Out(nn.Module):
    """The logits of a torchvision network, which returns a dict."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)["out"]


def our_classifier(**options) -> Classifier:
    """The Xception of the paper, with ImageNet's 1,000 classes."""
    return Classifier(Xception(out=("c5",)), {"type": ClassificationHead, "num_classes": 1000}, **options)


def inception_v3() -> nn.Module:
    from torchvision.models import inception_v3

    return inception_v3(weights=None, aux_logits=False, init_weights=False)


def detectors(size: int) -> dict[str, tuple[Detector, nn.Module]]:
    """Name -> (our detector on ResNet-50, torchvision's detector), both with the weights of torchvision's."""
    from torchvision.models import detection

    given = dict(weights=None, weights_backbone=None, num_classes=DETECTED, min_size=size, max_size=size)
    theirs = {
        "RetinaNet": detection.retinanet_resnet50_fpn(**given, detections_per_img=100),
        "Faster R-CNN": detection.fasterrcnn_resnet50_fpn(**given),
    }
    heads = {
        "RetinaNet": ({"type": RetinaNet, "num_classes": DETECTED}, ("c3", "c4", "c5")),
        "Faster R-CNN": ({"type": FasterRCNN, "num_classes": DETECTED - 1}, ("c2", "c3", "c4", "c5")),
    }
    pairs = {}
    for name, (head, out) in heads.items():
        ours = Detector(TimmBackbone("resnet50", out=out), head, size=None)
        ours.load_state_dict(in_our_names(theirs[name].state_dict(), list(ours.state_dict())))
        pairs[name] = ours, theirs[name]
    return pairs


def in_our_names(theirs: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """torchvision's weights under our names.

    Both lists have the same order, except that ours holds RetinaNet's last layers behind both towers. torchvision's
    Faster R-CNN has the background as its first class, with boxes of its own; ours has it last, without boxes.
    """
    ordered = sorted(theirs.items(), key=lambda item: item[0].startswith("head.") and ".conv." not in item[0])
    renamed = {}
    for name, (their_name, value) in zip(names, ordered, strict=True):
        if "box_predictor.cls_score" in their_name:
            value = value.roll(-1, 0)
        renamed[name] = value[4:] if "box_predictor.bbox_pred" in their_name else value
    return renamed


def as_torchvision_normalises(images: Tensor) -> Tensor:
    mean, std = (images.new_tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images - mean) / std


@torch.no_grad()
def without_grad(net: nn.Module, images: Tensor):
    return net(images)
