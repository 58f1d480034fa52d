"""Predictions as files of annotation tools: written, then read as a data set of one's own."""

import json

import numpy as np
import pytest
import yaml
from labelled_tools import mask_iou

import xseg.run.predict
from heads.contract import Instances
from heads.panoptic import Panoptic
from xseg.cli import main
from xseg.data.formats import FORMATS, read_catalog
from xseg.data.read.rle import decode_masks, encode_masks, run_lengths
from xseg.data.write import OUTPUTS
from xseg.data.write.objects import objects_of_mask
from xseg.drawing import write_image
from xseg.results import ClassificationResult, DetectionResult, JointResult, SegmentationResult
from xseg.run.annotations import Saving
from xseg.run.predict import predict

SIZE_HW = (60, 90)
CLASSES = ("ant", "big cat", "Käfer")
READERS = {"voc": "voc-boxes", "png": None, "geojson": None}  # format of a writer -> of `read_catalog`


def disc(y, x, radius, hole=0):
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    distance = (rows - y) ** 2 + (columns - x) ** 2
    return (distance <= radius**2) & (distance >= hole**2)


def instances(hole=0, masks=True):
    """Two sure objects, the second in two parts, and one unsure."""
    pixels = np.stack([disc(20, 20, 15, hole), disc(45, 60, 9) | disc(10, 80, 8), disc(50, 10, 5)])
    boxes = [[c.min(), r.min(), c.max() + 1, r.max() + 1] for r, c in map(np.nonzero, pixels)]
    codes = encode_masks(pixels) if masks else None
    return Instances(np.array(boxes, np.float32), np.array([0.9, 0.6, 0.3]), np.array([2, 1, 0]), codes)


def semantic():
    """Class 1 is `ant`, 3 is `Käfer`; a speck of 4 pixels."""
    mask = np.zeros(SIZE_HW, np.uint8)
    mask[disc(20, 20, 15)] = 1
    mask[disc(40, 60, 12)] = 3
    mask[50:52, 10:12] = 3
    return mask


class Fixed:
    """A model that predicts the same for every image."""

    def __init__(self, *instance, of=DetectionResult, classes=CLASSES):
        self.instance, self.of, self.classes = instance, of, classes

    def predict(self, image):
        return self.of(*self.instance, self.classes, None, image.permute(1, 2, 0).numpy())


@pytest.fixture
def folder(tmp_path):
    for name in ("train/ein Bild 図", "b.c"):
        write_image(tmp_path / "images" / f"{name}.png", np.full((*SIZE_HW, 3), 9, np.uint8))
    return tmp_path


def saved(model, folder, format, **options):
    files = sorted((folder / "images").rglob("*.png"))
    list(predict(model, files, folder, Saving(format, **options)))
    return folder


def read(folder, format):
    name = READERS.get(format, format)
    if name not in FORMATS:
        pytest.skip(f"{format} has no reader")
    return read_catalog(folder, format=name)


@pytest.mark.parametrize("format", ["labelme", "coco", "yolo", "cvat", "voc"])
def test_boxes_come_back(folder, format):
    catalog = read(saved(Fixed(instances(masks=False)), folder, format), format)
    assert len(catalog.items) == 2 and set(catalog.classes) >= {"big cat", "Käfer"}
    for item in catalog.items:
        assert item.size_hw == SIZE_HW
        assert [catalog.classes[region.label] for region in item.regions] == ["Käfer", "big cat"]
        for region, box_xyxy in zip(item.regions, instances().boxes_xyxy, strict=False):
            np.testing.assert_allclose(region.box_xyxy, box_xyxy, atol=1)


@pytest.mark.parametrize("hole", [0, 6])
@pytest.mark.parametrize("format", ["labelme", "coco", "yolo", "cvat"])
@pytest.mark.parametrize("tolerance", [0, 1])
def test_masks_come_back(folder, format, hole, tolerance):
    """At tolerance 0 the pixels are the same; labelme and YOLO fill holes."""
    catalog = read(saved(Fixed(instances(hole)), folder, format, tolerance=tolerance), format)
    filled = 0 if format in ("labelme", "yolo") else hole
    for item in catalog.items:
        assert [catalog.classes[region.label] for region in item.regions] == ["Käfer", "big cat"]
        for region, code in zip(item.regions, instances(filled).masks, strict=False):
            assert mask_iou(region.outline, code, SIZE_HW) > (0.99 if tolerance == 0 else 0.9)


@pytest.mark.parametrize("format", ["labelme", "coco", "yolo", "cvat"])
def test_pixels_of_classes_become_objects(folder, format):
    model = Fixed(semantic(), of=SegmentationResult, classes=("background", *CLASSES))
    catalog = read(saved(model, folder, format, tolerance=0), format)
    assert "background" not in catalog.classes
    for item in catalog.items:
        found = {catalog.classes[region.label]: region.outline for region in item.regions}
        assert found.keys() == {"ant", "Käfer"} and len(item.regions) == 2
        for name, pixels in (("ant", disc(20, 20, 15)), ("Käfer", disc(40, 60, 12))):
            assert mask_iou(found[name], encode_masks(pixels[None])[0], SIZE_HW) > 0.99
    if format == "labelme":
        assert len(read(saved(model, folder, format, min_area=4), format).items[0].regions) == 3


def test_masks_of_classes_as_png(folder):
    from xseg.data.read.images import read_mask

    model = Fixed(semantic(), of=SegmentationResult, classes=("background", *CLASSES))
    out = saved(model, folder, "png")
    np.testing.assert_array_equal(read_mask(out / "b.c.png"), semantic())
    assert (out / "classes.txt").read_text(encoding="utf-8").split("\n")[:2] == ["background", "ant"]
    saved(Fixed(instances()), folder, "png")
    mask = read_mask(out / "train" / "ein Bild 図.png").numpy()
    assert mask[20, 20] == 3 and mask[45, 60] == 2 and mask[50, 10] == 0
    with pytest.raises(ValueError, match="png needs masks"):
        saved(Fixed(instances(masks=False)), folder, "png")


def test_polygons_with_holes_as_features(folder):
    out = saved(Fixed(instances(6)), folder, "geojson", tolerance=0)
    content = json.loads((out / "b.c.geojson").read_text(encoding="utf-8"))
    first, second = content["features"]
    assert first["properties"]["classification"]["name"] == "Käfer" and first["properties"]["score"] == 0.9
    ((outer, hole),) = first["geometry"]["coordinates"]
    assert outer[0] == outer[-1] and len(second["geometry"]["coordinates"]) == 2
    rings = [np.ravel(ring).tolist() for ring in (outer, hole)]
    outer, hole = decode_masks([run_lengths([ring], SIZE_HW) for ring in rings], SIZE_HW).bool().numpy()
    np.testing.assert_array_equal(outer & ~hole, disc(20, 20, 15, 6))


def test_files_name_their_images_and_scores(folder):
    saved(Fixed(instances(6)), folder, "labelme")
    content = json.loads((folder / "train" / "ein Bild 図.json").read_text(encoding="utf-8"))
    assert content["imagePath"] == "../images/train/ein Bild 図.png" and content["imageData"] is None
    assert [shape["group_id"] for shape in content["shapes"]] == [None, 2, 2]
    assert content["shapes"][0]["description"] == "score 0.9000"
    content = json.loads((saved(Fixed(instances(6)), folder, "coco") / "instances.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["b.c.png", "train/ein Bild 図.png"]
    assert [row["score"] for row in content["annotations"]] == [0.9, 0.6] * 2
    assert isinstance(content["annotations"][0]["segmentation"], dict), "a hole needs run lengths"
    assert isinstance(content["annotations"][1]["segmentation"], list)
    saved(Fixed(instances()), folder, "yolo")
    assert yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"][1] == "big cat"
    assert len((folder / "labels" / "train" / "ein Bild 図.txt").read_text().splitlines()) == 2


def test_a_joint_result_gives_its_things_and_the_other_classes_of_pixels(folder):
    def joint(classes, palette, image):
        pixels = SegmentationResult(semantic(), ("background", *CLASSES), None, image)
        objects = DetectionResult(instances(), CLASSES[1:] + CLASSES[:1], None, image)
        return JointResult(pixels, objects, Panoptic(None, None, None))

    catalog = read(saved(Fixed(of=joint), folder, "labelme"), "labelme")
    names = [catalog.classes[region.label] for region in catalog.items[0].regions]
    assert names == ["ant", "Käfer"], "labels of detections are those of the things"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(format="paper"), "save must be one of labelme, coco"),
        (dict(format="coco", tolerance=-1), "tolerance must be"),
        (dict(format="coco", tolerance=float("nan")), "tolerance must be"),
        (dict(format="coco", min_area=0), "min_area must be"),
        (dict(format="coco", score=2), "score must be"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Saving(**options)


def test_a_classifier_has_nothing_to_save(folder):
    class Classifier:
        def predict(self, image):
            return ClassificationResult(np.array([0.9, 0.1]), ("a", "b"))

    with pytest.raises(ValueError, match="ClassificationResult has neither"):
        saved(Classifier(), folder, "coco")


def test_outlines_follow_every_pixel_at_tolerance_0():
    """Random patches, with islands in holes and pixels that touch at corners."""
    generator = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8) * 10:
        mask = (generator.random((12, 17)) < share).astype(np.uint8)
        drawn = np.zeros_like(mask)
        for item in objects_of_mask(mask, {1}, min_area=1, tolerance=0):
            for ring in item.rings:
                codes = [run_lengths([r.ravel().tolist()], mask.shape) for r in (ring.outer, *ring.holes)]
                outer, *holes = decode_masks(codes, mask.shape).bool().numpy()
                drawn += outer & ~np.any(holes, axis=0) if holes else outer
        np.testing.assert_array_equal(drawn, mask)


def test_a_larger_tolerance_gives_fewer_corners():
    counts = []
    for tolerance in (0, 0.5, 1, 3, 100):
        (item,) = objects_of_mask(disc(30, 40, 20, 8).astype(np.uint8), {1}, tolerance=tolerance)
        counts.append(len(item.rings[0].outer))
        assert len(item.rings[0].holes) == (tolerance < 100)
    assert counts[:4] == sorted(counts[:4], reverse=True) and counts[4] == counts[0], "all corners rather than none"


def test_the_command_writes_and_checks_before_the_model_is_loaded(folder, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("xseg.run.load.load", lambda *_, **__: Fixed(instances()))
    monkeypatch.setattr(xseg.run.predict, "predict", lambda *arguments: calls.append(arguments) or [])
    line = ["predict", "w.pth", f"{folder}/images/b.c.png", "--out", f"{folder}/out"]
    assert main([*line, "--save", "cvat", "--tolerance", "0", "--min-area", "9", "--score", "0.2"]) == 0
    assert calls[0][3] == Saving("cvat", 0, 9, 0.2)
    assert main([*line, "--save", "paper"]) == 1 and "save must be one of" in capsys.readouterr().err
    assert main([*line, "--score", "0.2"]) == 1 and "--score is for --save" in capsys.readouterr().err
    assert list(OUTPUTS) == ["labelme", "coco", "yolo", "cvat", "voc", "png", "geojson"]
