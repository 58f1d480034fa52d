"""Copy-paste: objects of a second image are pasted into the first.

Source: Ghiasi et al. 2021 (arXiv:2012.07177), "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation". Both images are jittered in scale and flipped before. Borders are not blended, and pasted objects are
not moved.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmengine.registry import TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors

from xseg.data.read.classes import IGNORE
from xseg.data.transforms.pixels import PER_OBJECT, boxes_around


@TRANSFORMS.register_module()
class CopyPaste:
    """Paste a random subset of the objects of another image, which has passed the transforms before this one.

    Masks and boxes of objects below the pasted ones shrink to the visible part, and objects with too few visible pixels
    are dropped. Both images are aligned at the upper left; the result covers both and is padded with `fill`. Crowds are
    not pasted. Samples need masks.

    Args:
        p: probability that anything is pasted.
        p_object: probability of each object of the other image to be pasted.
        min_pixels: a partly hidden object is dropped if fewer pixels of its mask are visible; 1 drops fully hidden
            objects only.
        fill: RGB of the padding.
    """

    takes_second = True  # `DetectionDataset` calls it with a second sample

    def __init__(self, p: float = 1.0, p_object: float = 0.5, min_pixels: int = 1, fill: tuple = (127, 127, 127)):
        for name, value in (("p", p), ("p_object", p_object)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability from 0 to 1, got {value}")
        if min_pixels < 1:
            raise ValueError(f"min_pixels must be at least 1, got {min_pixels}")
        self.p, self.p_object, self.min_pixels, self.fill = p, p_object, min_pixels, fill

    def __call__(self, sample: dict, second: Callable[[], dict]) -> dict:
        """The sample with objects of `second()`, which is called only if something is pasted."""
        if "masks" not in sample:
            raise ValueError(
                f"{sample['meta']['path']}: CopyPaste needs instance masks; set with_masks=True of the data set"
            )
        if float(torch.rand(())) >= self.p:
            return sample
        other = second()
        chosen = (torch.rand(len(other["labels"])) < self.p_object) & ~other["iscrowd"]
        return paste(sample, other, chosen, self.min_pixels, self.fill)


def paste(sample: dict, other: dict, chosen: Tensor, min_pixels: int = 1, fill: tuple = (127, 127, 127)) -> dict:
    """The sample with the objects `chosen` (M,) bool of the other sample on top; see `CopyPaste`."""
    if not chosen.any():
        return sample
    size_hw = [max(sides) for sides in zip(sample["image"].shape[-2:], other["image"].shape[-2:], strict=True)]
    masks, pasted = (_padded(part["masks"], size_hw) for part in (sample, other))
    pasted = pasted[chosen]
    cover = pasted.bool().any(dim=0)  # (H, W); `any` of a uint8 tensor returns uint8
    images = [_padded(part["image"], size_hw, fill) for part in (sample, other)]
    out = dict(sample, image=tv_tensors.Image(torch.where(cover, images[1], images[0])))
    if "mask" in sample:
        semantic = [_padded(part["mask"][None], size_hw, (IGNORE,))[0] for part in (sample, other)]
        out["mask"] = tv_tensors.Mask(torch.where(cover, semantic[1], semantic[0]))
    hidden = (masks.bool() & cover).flatten(1).any(dim=1)
    visible = masks * ~cover
    left = ~hidden | (visible.flatten(1).sum(dim=1) >= min_pixels)
    boxes = sample["boxes_xyxy"].as_subclass(Tensor).clone()
    shrunk = hidden & left
    boxes[shrunk] = boxes_around(visible[shrunk])
    kept = dict(sample, boxes_xyxy=boxes, masks=visible)
    for key in sample.keys() & set(PER_OBJECT):
        rows = (kept[key].as_subclass(Tensor)[left], other[key].as_subclass(Tensor)[chosen])
        out[key] = torch.cat(rows if key != "masks" else (rows[0], pasted))
    out["masks"] = tv_tensors.Mask(out["masks"])
    out["boxes_xyxy"] = tv_tensors.BoundingBoxes(out["boxes_xyxy"], format="XYXY", canvas_size=tuple(size_hw))
    return out


def _padded(value: Tensor, size_hw: list[int], fill: tuple = (0,)) -> Tensor:
    """(C, H, W) padded on the right and below with one value per channel, or one for all."""
    plain = value.as_subclass(Tensor)
    height, width = plain.shape[-2:]
    if [height, width] == size_hw:
        return plain
    out = F.pad(plain, (0, size_hw[1] - width, 0, size_hw[0] - height))
    colour = torch.tensor(fill, dtype=plain.dtype)[:, None, None]
    out[:, height:] = colour
    out[:, :, width:] = colour
    return out
