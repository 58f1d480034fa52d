"""Folders, lists and drawn shapes with one label an image; crops cut out of detection sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image

from xseg.cli import main
from xseg.data import CentreCrop, ClassificationDataset, Draw, ImageFolder, ImageList, ShapesClassification, collate
from xseg.data.balance import balanced_label_weights
from xseg.data.convert.crops import convert_crops
from xseg.data.sets.classification import Labelled
from xseg.data.transforms.labels import cut_square

AUGMENT = [dict(type="RandomResizedCrop", size_hw=(16, 12)), dict(type="RandomFlip")]


def write_image(path, size_hw=(20, 30), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size_hw
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def write_folder(root, **files):
    """write_folder(root, train=["cat/a.png", …], val=[…])"""
    for split, names in files.items():
        for seed, name in enumerate(names):
            write_image(root / split / name, seed=seed)
    return root


def test_sample_is_the_contract(tmp_path):
    dataset = ImageFolder(write_folder(tmp_path, train=["dog/b.png", "cat/a.JPG"]))
    assert dataset.classes == ("cat", "dog") == dataset.metainfo["classes"]
    assert len(dataset) == 2
    sample = dataset[1]
    assert sample.keys() == {"image", "label", "meta"}
    assert type(sample["image"]) is torch.Tensor and sample["image"].dtype == torch.uint8
    assert sample["image"].shape == (3, 20, 30) and sample["image"].untyped_storage().nbytes() == 3 * 20 * 30
    assert sample["label"] == 1 and type(sample["label"]) is int
    assert sample["meta"] == dict(id="dog/b", path=str(tmp_path / "train" / "dog" / "b.png"), size_hw=(20, 30))
    assert collate([sample])["samples"] == [dict(label=1, meta=sample["meta"])]


def test_labels_of_val_are_those_of_train_where_it_lacks_a_class(tmp_path):
    write_folder(tmp_path, train=["ant/a.png", "bee/a.png", "cow/a.png"], val=["cow/a.png"])
    dataset = ImageFolder(tmp_path, "val")
    assert dataset.classes == ("ant", "bee", "cow") and dataset[0]["label"] == 2


def test_classes_file_gives_the_order(tmp_path):
    write_folder(tmp_path, train=["ant/a.png", "bee/a.png"])
    (tmp_path / "classes.txt").write_text("bee\nant\n")
    assert [row.label for row in ImageFolder(tmp_path).images] == [0, 1]
    assert ImageFolder(tmp_path).images[0].id == "bee/a"
    assert ImageFolder(tmp_path, classes=["ant", "bee"]).images[0].id == "ant/a"


def test_folders_without_splits_and_more_classes_than_pixels_could_name(tmp_path):
    write_image(tmp_path / "c300" / "a.png")
    for number in range(300):
        (tmp_path / f"c{number}").mkdir()
    dataset = ImageFolder(tmp_path, split="")
    assert len(dataset.classes) == 301 and dataset.classes[dataset[0]["label"]] == "c300"


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ([], {}, "train: no such folder; expected there: CLASS"),
        (["cat/a.txt"], {}, "holds no image CLASS"),
        (
            ["cat/a.png", "dgo/a.png"],
            {"classes": ["cat", "dog"]},
            r"no class has the name of the folder dgo \(classes: cat, dog\)",
        ),
        (["cat/a.png"], {"classes": ["cat", "cat"]}, "class names must differ, cat occurs more than once"),
        (["cat/a.png"], {"classes": "nowhere.txt"}, "nowhere.txt: no such file"),
    ],
)
def test_wrong_folders_are_named(tmp_path, files, arguments, message):
    for name in files:
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).touch()
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        ImageFolder(tmp_path, **arguments)


def test_list(tmp_path):
    for name in ("x/1.png", "2.png"):
        write_image(tmp_path / name)
    (tmp_path / "train.csv").write_text("label,path\nred,x/1.png\nblue,2.png\n")
    (tmp_path / "val.csv").write_text(f"path,label\n{tmp_path}/2.png,red\n")
    assert ImageList(tmp_path).classes == ("blue", "red")
    assert [row.label for row in ImageList(tmp_path).images] == [1, 0]
    sample = ImageList(tmp_path, "val")[0]
    assert sample["label"] == 1 and sample["meta"]["path"] == f"{tmp_path}/2.png"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\n", "lists no image"),
        ("file,label\na.png,x\n", "path missing"),
        ("path,label\na.png,x\nb.png,\n", "line 3 has no path or no label"),
        ("path,label\na.png,z\n", "line 2: 'z' is not one of the classes x, y"),
    ],
)
def test_wrong_lists_are_named(tmp_path, content, message):
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"train\.csv.*{message}"):
        ImageList(tmp_path, classes=["x", "y"])


def test_same_draw_same_sample(tmp_path):
    dataset = ImageFolder(write_folder(tmp_path, train=["a/a.png"]), transforms=AUGMENT)
    state = torch.get_rng_state()
    first = dataset[Draw(0, 5)]
    assert torch.equal(torch.get_rng_state(), state)
    assert first["image"].shape == (3, 16, 12) and first["meta"]["size_hw"] == (20, 30)
    assert torch.equal(first["image"], dataset[Draw(0, 5)]["image"])
    assert not torch.equal(first["image"], dataset[Draw(0, 6)]["image"])


def test_centre_crop_of_squares_and_of_tall_images():
    """A share of 1 and the image's own size leave it; of 40 x 20 at share 0.5, the middle 10 x 10 remain, enlarged."""
    square = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    assert torch.equal(CentreCrop(20, 1.0)(square), square)
    tall = torch.zeros(3, 40, 20, dtype=torch.uint8)
    tall[:, 15:25, 5:15] = 200
    assert CentreCrop(10, 0.5)(tall).min() > 150  # resampling takes a little from outside
    with pytest.raises(ValueError, match=r"share in \(0, 1\], got 10 and 2"):
        CentreCrop(10, 2)


def test_shapes_hold_one_object_each(tmp_path):
    options = dict(root=tmp_path / "shapes", num_images=dict(train=6, val=3))
    train, val = (ShapesClassification(split=split, **options) for split in ("train", "val"))
    assert train.classes == ("circle", "square", "triangle", "ring")
    assert 6 <= len(train) <= 30 and 3 <= len(val) <= 15
    assert {Path(row.path).stem[:5] for row in train.images} == {"train"}
    sample = train[0]
    x1, y1, x2, y2 = sample["meta"]["box_xyxy"]
    side = round(max(x2 - x1, y2 - y1) * 1.2)
    assert sample["meta"]["size_hw"] == (side, side) == tuple(sample["image"].shape[1:])
    mask = np.array(Image.open(sample["meta"]["path"].replace("JPEGImages", "SegmentationClass").replace("jpg", "png")))
    inside = mask[y1:y2, x1:x2]
    assert (inside == sample["label"] + 1).sum() > 0.3 * inside.size
    assert len(ShapesClassification(min_area=500, **options)) <= len(train)


def test_builds_by_name_from_a_config(tmp_path):
    root = write_folder(tmp_path, train=["a/a.png"])
    dataset = DATASETS.build(dict(type="ImageFolder", root=root, transforms=AUGMENT))
    assert isinstance(dataset, ImageFolder) and len(dataset.transforms) == 2


def test_weights_counted_on_paper():
    """Counts 16, 4 and 1, median 4: sqrt(4 / 16), sqrt(4 / 4), sqrt(4 / 1); the fourth class has no image."""
    images = [Labelled("", "", label) for label, count in enumerate((16, 4, 1)) for _ in range(count)]
    assert balanced_label_weights(ClassificationDataset(images, [*"abcd"])) == [0.5, 1.0, 2.0, 1.0]


def test_labels_beyond_the_classes_and_empty_sets_are_refused():
    with pytest.raises(ValueError, match="x: label 2, but the data set has 2 classes"):
        ClassificationDataset([Labelled("x", "x", 2)], ["a", "b"])
    with pytest.raises(ValueError, match="no images"):
        ClassificationDataset([], ["a", "b"])


# crops


def test_cut_square_keeps_proportions_and_repeats_the_border():
    """Columns 2..6, rows 1..3 of a 5 x 8 image: side 4, rows 0..4 around the middle 2; at the left edge, repeated."""
    image = torch.arange(40).reshape(1, 5, 8)
    assert torch.equal(cut_square(image, (2, 1, 6, 3), margin=0), image[:, 0:4, 2:6])
    assert torch.equal(cut_square(image, (2, 1, 6, 3), margin=0.25)[:, :, 0], image[:, [0, 0, 1, 2, 3, 4], 1])
    corner = cut_square(image, (-2, 0, 2, 4), margin=0)
    assert torch.equal(corner[0, :, :3], image[0, :4, :1].expand(4, 3))
    assert torch.equal(corner[0, :, 3], image[0, :4, 1])


def write_detection(root, boxes, splits=(("train", ["a"]), ("val", ["b"]))):
    """VOC layout of noise images of 40 x 50 pixels, each with the same boxes (name, xmin, ymin, xmax, ymax)."""
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, ids in splits:
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{id}\n" for id in ids))
        for id in ids:
            write_image(root / "JPEGImages" / f"{id}.png", (40, 50))
            objects = "".join(
                f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
                f"<ymax>{y2}</ymax></bndbox></object>"
                for name, x1, y1, x2, y2 in boxes
            )
            (root / "Annotations" / f"{id}.xml").write_text(f"<annotation>{objects}</annotation>")
    return root


def test_command_cuts_every_box_with_an_area(tmp_path, capsys):
    boxes = [("red", 10, 5, 30, 25), ("white", 20, 10, 40, 20), ("red", 8, 7, 7, 9)]
    voc = write_detection(tmp_path / "voc", boxes)
    assert main(["data", "convert", "crops", f"{voc}", f"{tmp_path}/out", "--margin", "0"]) == 0
    assert capsys.readouterr().out == "train: 1 red, 1 white, 1 empty\nval: 1 red, 1 white, 1 empty\n"
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    cut = ["train/red/a_000.png", "train/white/a_001.png", "val/red/b_000.png", "val/white/b_001.png"]
    assert files == ["classes.txt", *cut]
    whole = np.array(Image.open(voc / "JPEGImages" / "a.png"))
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "train" / "red" / "a_000.png")), whole[4:25, 9:30])
    assert ImageFolder(tmp_path / "out", "val").classes == ("red", "white")
    assert main(["data", "convert", "crops", f"{voc}", f"{tmp_path}/out"]) == 1
    assert "exists and is not empty" in capsys.readouterr().err


def test_broken_detection_sets_are_named(tmp_path):
    voc = write_detection(tmp_path / "voc", [("red", 1, 2, 3, 4)])
    (voc / "classes.txt").write_text("blue\n")
    with pytest.raises(ValueError, match=r"classes\.txt lacks red"):
        convert_crops(voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (voc / "Annotations" / "a.xml").write_text("<annotation><object><name>red</name></object></annotation>")
    with pytest.raises(ValueError, match=r"a\.xml: object 1 \(red\): bndbox/xmin must be a number, got None"):
        convert_crops(voc, tmp_path / "out")
    (voc / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"a\.xml is not XML, or not complete"):
        convert_crops(voc, tmp_path / "out")
    (voc / "Annotations" / "a.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.xml: no such annotation"):
        convert_crops(voc, tmp_path / "out")
    (voc / "ImageSets" / "Main" / "train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.txt: no such list"):
        convert_crops(voc, tmp_path / "out")
