"""Data sets as samples: dict(image (3, H, W) uint8 RGB, mask (H, W) uint8 with 255 = ignore, meta)."""

from xseg.data.classes import (
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
from xseg.data.collate import collate
from xseg.data.datasets import ADE20K, VOC, Cityscapes, ImageMaskFolder, SegmentationDataset, Shapes
from xseg.data.draw import Draw
from xseg.data.images import MaskModeError, read_image, read_mask, write_mask
from xseg.data.shapes import write_shapes
from xseg.data.transforms import PhotometricDistortion, RandomFlip, RandomScaleCrop

# check (rich) and sbd (scipy) are imported where they are used: xseg.data.check, xseg.data.sbd

__all__ = [
    "ADE20K",
    "CITYSCAPES",
    "CITYSCAPES_CLASSES",
    "CITYSCAPES_PALETTE",
    "IGNORE",
    "SHAPES_CLASSES",
    "VOC",
    "VOC_CLASSES",
    "Cityscapes",
    "Draw",
    "ImageMaskFolder",
    "MaskModeError",
    "PhotometricDistortion",
    "RandomFlip",
    "RandomScaleCrop",
    "SegmentationDataset",
    "Shapes",
    "cityscapes_label_map",
    "collate",
    "read_classes",
    "read_image",
    "read_mask",
    "voc_palette",
    "write_mask",
    "write_shapes",
]
