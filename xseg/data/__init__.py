"""Data sets that give samples, transforms of samples, and the batch; `Sample` says what a sample holds."""

from mmengine.registry import TRANSFORMS
from torchvision.transforms.v2 import ColorJitter, RandomVerticalFlip

from xseg.data.cache import DecodedCache
from xseg.data.draw import Draw, DrawnDataset
from xseg.data.read.classes import (
    CITYSCAPES,
    CITYSCAPES_CLASSES,
    CITYSCAPES_PALETTE,
    IGNORE,
    SHAPES_CLASSES,
    VOC_CLASSES,
    cityscapes_label_map,
    read_classes,
    voc_palette,
)
from xseg.data.read.images import MaskModeError, read_ids, read_image, read_mask, write_mask
from xseg.data.read.rle import decode_masks, encode_masks
from xseg.data.sample import Sample, check_sample, collate
from xseg.data.sets.ade20k import ADE20K
from xseg.data.sets.cityscapes import Cityscapes, CityscapesInstances, CityscapesPanoptic
from xseg.data.sets.classification import ClassificationDataset, MultiLabelDataset
from xseg.data.sets.coco import CocoDetection, CocoPanoptic
from xseg.data.sets.detection import DetectionDataset, ImageFile, Objects
from xseg.data.sets.folders import ImageFolder, ImageMaskFolder
from xseg.data.sets.lists import ImageList, MultiLabelList
from xseg.data.sets.own import OwnClassification, OwnDetection, OwnMultiLabel, OwnPanoptic, OwnSegmentation
from xseg.data.sets.panoptic import PanopticDataset
from xseg.data.sets.segmentation import SegmentationDataset
from xseg.data.sets.shapes import Shapes, ShapesClassification, ShapesDetection, ShapesMultiLabel, ShapesPanoptic
from xseg.data.sets.shapes_drawing import write_shapes
from xseg.data.sets.voc import VOC, VOCDetection
from xseg.data.transforms.labels import CentreCrop, RandomResizedCrop
from xseg.data.transforms.objects import CopyPaste
from xseg.data.transforms.pixels import (
    PhotometricDistortion,
    RandomFlip,
    RandomResize,
    RandomScaleCrop,
    ScaleJitter,
    drop_vanished,
)

# xseg.data.check needs rich and xseg.data.convert.sbd needs scipy; both are imported only where they are used.

__all__ = [
    "ADE20K",
    "CITYSCAPES",
    "CITYSCAPES_CLASSES",
    "CITYSCAPES_PALETTE",
    "IGNORE",
    "SHAPES_CLASSES",
    "VOC",
    "VOC_CLASSES",
    "CentreCrop",
    "Cityscapes",
    "CityscapesInstances",
    "CityscapesPanoptic",
    "ClassificationDataset",
    "CocoDetection",
    "CocoPanoptic",
    "CopyPaste",
    "DecodedCache",
    "DetectionDataset",
    "Draw",
    "DrawnDataset",
    "ImageFile",
    "ImageFolder",
    "ImageList",
    "ImageMaskFolder",
    "MaskModeError",
    "MultiLabelDataset",
    "MultiLabelList",
    "Objects",
    "OwnClassification",
    "OwnDetection",
    "OwnMultiLabel",
    "OwnPanoptic",
    "OwnSegmentation",
    "PanopticDataset",
    "PhotometricDistortion",
    "RandomFlip",
    "RandomResize",
    "RandomResizedCrop",
    "RandomScaleCrop",
    "Sample",
    "ScaleJitter",
    "SegmentationDataset",
    "Shapes",
    "ShapesClassification",
    "ShapesDetection",
    "ShapesMultiLabel",
    "ShapesPanoptic",
    "VOCDetection",
    "check_sample",
    "cityscapes_label_map",
    "collate",
    "decode_masks",
    "drop_vanished",
    "encode_masks",
    "read_classes",
    "read_ids",
    "read_image",
    "read_mask",
    "voc_palette",
    "write_mask",
    "write_shapes",
]

for _cls in (ColorJitter, RandomVerticalFlip):  # transforms of torchvision in shipped configs
    TRANSFORMS.register_module(module=_cls)
