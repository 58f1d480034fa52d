"""COCO's JSON as samples: ids mapped and mapped back, boxes cut, wrong rows refused by name, masks of three codings."""

import json

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from peers import shared
from PIL import Image
from torch.utils.data import DataLoader

from xseg.data import CocoDetection, Draw, ShapesDetection, collate, encode_masks

CATEGORIES = [dict(id=90, name="comb"), dict(id=3, name="car"), dict(id=17, name="cat")]  # neither dense nor sorted


def annotation(id, image_id=7, bbox=(2, 3, 10, 5), category_id=17, **more):
    return dict(id=id, image_id=image_id, bbox=list(bbox), category_id=category_id, **more)


def write_coco(root, annotations, image_ids=(7,), size_hw=(20, 30), **changes):
    (root / "images").mkdir(exist_ok=True)
    rows = []
    for image_id in image_ids:
        pixels = np.random.default_rng(image_id).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{image_id}.png")
        rows.append(dict(id=image_id, file_name=f"{image_id}.png", height=size_hw[0], width=size_hw[1]))
    content = dict(images=rows, annotations=annotations, categories=CATEGORIES) | changes
    (root / "a.json").write_text(json.dumps(content))
    return dict(images="images", annotations="a.json", root=root)


def test_sample_is_the_contract(tmp_path):
    """Category 17 is the second of 3, 17, 90; xywh (2, 3, 10, 5) is xyxy (2, 3, 12, 8)."""
    rows = [annotation(1, area=31.5), annotation(2, category_id=90, bbox=(0, 0, 30, 20), iscrowd=1)]
    dataset = CocoDetection(**write_coco(tmp_path, rows))
    sample = dataset[0]
    assert sample.keys() == {"image", "boxes_xyxy", "stated_xywh", "labels", "iscrowd", "area", "meta"}
    assert all(type(value) is torch.Tensor for key, value in sample.items() if key != "meta")
    assert sample["image"].dtype == torch.uint8 and sample["image"].shape == (3, 20, 30)
    assert sample["boxes_xyxy"].dtype == torch.float32
    assert sample["boxes_xyxy"].tolist() == [[2, 3, 12, 8], [0, 0, 30, 20]]
    assert sample["labels"].tolist() == [1, 2] and sample["labels"].dtype == torch.int64
    assert sample["iscrowd"].tolist() == [False, True]
    assert sample["stated_xywh"].tolist() == [[2, 3, 10, 5], [0, 0, 30, 20]]
    assert sample["area"][0] == 31.5 and sample["area"][1].isnan(), "as the file has it"
    assert sample["meta"] == dict(id=7, path=str(tmp_path / "images" / "7.png"), size_hw=(20, 30))
    assert dataset.metainfo["classes"] == ("car", "cat", "comb") and dataset.metainfo["category_ids"] == [3, 17, 90]
    assert len(dataset.metainfo["palette"]) == 3


def test_objects_go_to_their_images_in_any_order_of_the_file(tmp_path):
    rows = [annotation(5, 9, (1, 1, 1, 1)), annotation(2, 7, (2, 2, 2, 2)), annotation(3, 9, (3, 3, 3, 3))]
    dataset = CocoDetection(**write_coco(tmp_path, rows, image_ids=(8, 9, 7)))
    assert [dataset[index]["boxes_xyxy"][:, 0].tolist() for index in range(3)] == [[], [1, 3], [2]]
    assert dataset[0]["boxes_xyxy"].shape == (0, 4) and dataset[0]["labels"].shape == (0,)
    assert dataset.labels_of(1).tolist() == [1, 1] and dataset.sizes_hw.tolist() == [[20, 30]] * 3


def test_images_without_an_object_to_learn_can_go(tmp_path):
    rows = [annotation(1, 7), annotation(2, 9, iscrowd=1)]
    files = write_coco(tmp_path, rows, image_ids=(8, 9, 7))
    assert [image.id for image in CocoDetection(**files).images] == [8, 9, 7]
    kept = CocoDetection(**files, keep_empty=False)
    assert [image.id for image in kept.images] == [7] and kept[0]["boxes_xyxy"].tolist() == [[2, 3, 12, 8]]
    with pytest.raises(ValueError, match="no image has an object"):
        CocoDetection(**write_coco(tmp_path, []), keep_empty=False)


def test_classes_choose_and_order_categories(tmp_path):
    files = write_coco(tmp_path, [annotation(1), annotation(2, category_id=3), annotation(3, category_id=90)])
    dataset = CocoDetection(**files, classes=["comb", "car"])
    assert dataset[0]["labels"].tolist() == [1, 0] and dataset.metainfo["category_ids"] == [90, 3]
    with pytest.raises(ValueError, match=r"a\.json has no category dog; it has car, cat, comb"):
        CocoDetection(**files, classes=["dog"])


def test_boxes_are_cut_at_the_borders(tmp_path):
    """Evaluation reads them as they are in the file, in float64."""
    sample = CocoDetection(**write_coco(tmp_path, [annotation(1, bbox=(-4.1, 15, 50, 50))]))[0]
    assert sample["boxes_xyxy"].tolist() == [[0, 15, 30, 20]] and sample["stated_xywh"].tolist() == [[-4.1, 15, 50, 50]]


@pytest.mark.parametrize(
    "bbox, fault",
    [
        ((2, 3, 0, 5), "has no area"),
        ((2, 3, 5, -1), "has no area"),
        ((2, float("nan"), 5, 5), "is not finite"),
        ((2, 3, float("inf"), 5), "is not finite"),
        ((31, 3, 5, 5), "has no area inside the image"),
    ],
)
def test_boxes_that_are_none(tmp_path, bbox, fault):
    files = write_coco(tmp_path, [annotation(11), annotation(12, bbox=bbox), annotation(13)])
    with pytest.raises(ValueError, match=rf"a\.json: annotation 12: .* {fault} .*drop_invalid=True"):
        CocoDetection(**files)
    assert CocoDetection(**files, drop_invalid=True)[0]["boxes_xyxy"].tolist() == [[2, 3, 12, 8]] * 2


@pytest.mark.parametrize(
    "row, message",
    [
        (annotation(4, image_id=70), "annotation 4: image_id 70 is not in the file"),
        (annotation(4, category_id=1), "annotation 4: category_id 1 is not in the file"),
        (annotation(4, bbox=(1, 2, 3)), r"annotation 4: bbox must be \[x, y, width, height\], got \[1, 2, 3\]"),
        (dict(annotation(4), bbox=None), "annotation 4: bbox must be"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, message):
    with pytest.raises(ValueError, match=rf"a\.json: {message}"):
        CocoDetection(**write_coco(tmp_path, [annotation(1), row]))


def test_wrong_files_are_named(tmp_path):
    files = write_coco(tmp_path, [annotation(1)])
    with pytest.raises(FileNotFoundError, match=r"b\.json: no such annotation file; JSON files there: a\.json"):
        CocoDetection(**dict(files, annotations="b.json"))
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder.*--data-root"):
        CocoDetection(**dict(files, images="nowhere"))
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"a\.json is not JSON, or not complete"):
        CocoDetection(**files)
    (tmp_path / "a.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"a\.json has no list of annotations, categories"):
        CocoDetection(**files)
    with pytest.raises(ValueError, match=r"image 7 has no height"):
        CocoDetection(**write_coco(tmp_path, [], images=[dict(id=7, file_name="7.png", width=3)]))
    with pytest.raises(ValueError, match=r"7\.png: image id 7 occurs more than once"):
        CocoDetection(**write_coco(tmp_path, [], image_ids=(7, 7)))
    with pytest.raises(ValueError, match="car occurs more than once"):
        CocoDetection(**write_coco(tmp_path, [], categories=[dict(id=1, name="car"), dict(id=2, name="car")]))


def test_file_names_stay_below_the_root(tmp_path):
    """A JSON of a stranger names any file of the machine."""
    root = tmp_path / "set"
    root.mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "other.png")
    Image.new("RGB", (30, 20)).save(root / "beside.png")

    def files(name):
        return write_coco(root, [], images=[dict(id=7, file_name=name, height=20, width=30)])

    for name in ("../../other.png", str(tmp_path / "other.png"), "../images/../../other.png"):
        with pytest.raises(
            ValueError, match=r"a\.json: image 7: file_name .*other\.png leads out of .*outside_root=True"
        ):
            CocoDetection(**files(name))
        assert len(CocoDetection(**files(name), outside_root=True)[0]["labels"]) == 0
    for name in ("../beside.png", str(root / "beside.png"), "7.png", "../images/7.png"):
        assert len(CocoDetection(**files(name))[0]["labels"]) == 0
    for name in (7, "", "a\0b"):
        with pytest.raises(ValueError, match=r"a\.json: image 7: file_name must be the name of a file, got"):
            CocoDetection(**files(name))
    outer = dict(files("other.png"), images="..")
    assert len(CocoDetection(**outer)[0]["labels"]) == 0, "the config may name any folder"


def test_size_of_the_file_is_compared_with_the_image(tmp_path):
    files = write_coco(tmp_path, [])
    Image.new("RGB", (20, 30)).save(tmp_path / "images" / "7.png")
    with pytest.raises(ValueError, match=r"7\.png is 20x30 .* annotation says 30x20; .*EXIF"):
        CocoDetection(**files)[0]


def test_masks_of_three_codings_are_one(tmp_path):
    """A block of rows 3 to 7, columns 2 to 11: polygon, run lengths as numbers (column by column), as text."""
    block = torch.zeros(20, 30, dtype=torch.uint8)
    block[3:8, 2:12] = 1
    polygon = [[2, 3, 12, 3, 12, 8, 2, 8]]
    counts = [43, *[5, 15] * 9, 5, 372]
    codes = [polygon, dict(size=[20, 30], counts=counts), encode_masks(block[None])[0]]
    rows = [annotation(index + 1, segmentation=code) for index, code in enumerate(codes)]
    sample = CocoDetection(**write_coco(tmp_path, rows), with_masks=True)[0]
    assert sample["masks"].dtype == torch.uint8 and sample["masks"].shape == (3, 20, 30)
    assert all(torch.equal(mask, block) for mask in sample["masks"])
    assert CocoDetection(**write_coco(tmp_path, []), with_masks=True)[0]["masks"].shape == (0, 20, 30)


@pytest.mark.parametrize(
    "segmentation, fault",
    [
        ([], "an empty list"),
        ([[1, 2, 3, 4]], "at least 3 points"),  # which pycocotools takes for a box
        ([[1, 2, 3, 4, 5, 6, 7]], "at least 3 points"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not finite"),
        (dict(size=[30, 20], counts="abc"), "of size"),
        (dict(size=[20, 30], counts=[10, 10]), "sum to 20, not to 600"),
        (None, "must be a list of polygons"),
    ],
)
def test_masks_that_are_none(tmp_path, segmentation, fault):
    good = annotation(1, segmentation=[[2, 3, 12, 3, 12, 8]])
    files = write_coco(tmp_path, [good, annotation(12, segmentation=segmentation)])
    with pytest.raises(ValueError, match=rf"a\.json: annotation 12: .*{fault}.*drop_invalid=True"):
        CocoDetection(**files, with_masks=True)
    sample = CocoDetection(**files, with_masks=True, drop_invalid=True)[0]
    assert len(sample["masks"]) == len(sample["labels"]) == len(sample["boxes_xyxy"]) == 1
    assert len(CocoDetection(**files)[0]["labels"]) == 2, "nobody asked for masks"


def test_shapes_boxes_and_masks_are_what_is_seen(tmp_path):
    """The semantic picture holds the label + 1 under every mask, but for the void on outlines; boxes are tight."""
    small = dict(root=tmp_path / "shapes", num_images=dict(train=6, val=2), size_hw=(64, 80))
    dataset = DATASETS.build(dict(type="ShapesDetection", with_masks=True, **small))
    semantic = DATASETS.build(dict(type="Shapes", **small))
    assert dataset.classes == ("circle", "square", "triangle", "ring") and len(dataset) == 6
    assert len(ShapesDetection(split="val", **small)) == 2
    for index in range(6):
        sample, labels = dataset[index], semantic[index]["mask"]
        assert torch.equal(sample["image"], semantic[index]["image"])
        assert sample["masks"].sum(0).max() == 1, "no pixel shows two objects"
        for mask, box, label, area in zip(
            *(sample[key] for key in ("masks", "boxes_xyxy", "labels", "area")), strict=True
        ):
            assert set(labels[mask > 0].tolist()) <= {int(label) + 1, 255}
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert area == mask.sum()
        unseen = labels[sample["masks"].sum(0) == 0]
        assert set(unseen.tolist()) <= {0, 255}


def test_workers_and_draws(tmp_path):
    jitter = [dict(type="ScaleJitter", size_hw=(48, 48), scale=(0.5, 2)), dict(type="RandomFlip")]
    small = dict(num_images=dict(train=4, val=1), size_hw=(64, 80))
    dataset = ShapesDetection(tmp_path / "shapes", transforms=jitter, with_masks=True, **small)
    draws = [Draw(index % 4, 100 + index) for index in range(6)]
    runs = [
        [batch for batch in DataLoader(dataset, 2, sampler=draws, num_workers=workers, collate_fn=collate)]
        for workers in (0, 2)
    ]
    for first, second in zip(*runs, strict=True):
        for image, other in zip(first["images"], second["images"], strict=True):
            assert torch.equal(image, other)
        for sample, other in zip(first["samples"], second["samples"], strict=True):
            keys = {"boxes_xyxy", "stated_xywh", "labels", "iscrowd", "area", "masks", "meta"}
            assert sample.keys() == other.keys() == keys
            assert all(torch.equal(sample[key], other[key]) for key in sample.keys() - {"meta"})


def test_real_data():
    """Three VOC images as COCO JSON: the boxes lie around the polygons' masks, to a few pixels."""
    dataset = CocoDetection(".", "instances_val.json", root=shared("data", "voc3"), with_masks=True)
    assert len(dataset) == 3 and sum(len(dataset.labels_of(index)) for index in range(3)) == 12
    for index in range(3):
        sample = dataset[index]
        for mask, box in zip(sample["masks"], sample["boxes_xyxy"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (tight - box).abs().max() <= 2
