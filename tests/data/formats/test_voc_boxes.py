"""VOC's boxes as a catalog."""

import pytest
from labelled_tools import (
    BOXES,
    CLASSES,
    SIZE_HW,
    Region,
    assert_same,
    catalog_of,
    voc_xml,
    write_image,
    write_voc_boxes,
)
from peers import shared
from PIL import Image

from xseg.data.formats import read_catalog
from xseg.data.formats.catalog import Item

BOX = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>"
OBJECT = f"<object><name>cat</name>{BOX}</object>"


def written(root, name, *objects, head="<size><width>60</width><height>40</height></size>", image=True):
    """An image and an XML beside it; objects: (xmin, xmax)."""
    if image:
        write_image(root / f"{name}.png")
    path = root / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{head}{''.join(OBJECT.format(*edges) for edges in objects)}</annotation>")
    return path


def test_the_devkit_layout_comes_back(tmp_path):
    catalog = catalog_of(BOXES)
    write_voc_boxes(catalog, tmp_path)
    read = read_catalog(tmp_path)
    assert read.format == "voc-boxes" and read.notes == () and read.ignored == {}
    assert_same(read, catalog)


@pytest.mark.parametrize("folders", ["{split}/{name}", "{split}/{kind}/{name}", "{kind}/{split}/deep/{name}"])
def test_splits_by_folders_with_files_beside_or_apart(tmp_path, folders):
    """One file name in two folders: an XML belongs to the image of its own split."""
    catalog = catalog_of(BOXES)
    for item in catalog.items:
        names = dict(split={"val": "valid"}.get(item.split, item.split), name="one" if item.regions else "two")
        image = tmp_path / f"{folders.format(kind='images', **names)}.png"
        write_image(image)
        voc_xml(tmp_path / f"{folders.format(kind='labels', **names)}.xml", catalog, item, image.name)
    read = read_catalog(tmp_path)
    assert [(item.split, len(item.regions)) for item in read.items] == [
        ("train", 2), ("train", 0), ("val", 2), ("val", 0)
    ]  # fmt: skip
    assert read.items[2].regions[0].box_xyxy == (4, 5, 20, 31) and read.classes == ("ant", "big cat")


def test_difficult_objects_are_crowds_and_boxes_count_from_one(tmp_path):
    path = written(tmp_path, "a", (1, 60))
    path.write_text(path.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    (item,) = read_catalog(tmp_path).items
    assert item.regions == (Region(0, (0, 1, 60, 9), None, True),) and item.split is None


def test_images_without_xml_are_background_and_stray_files_are_counted(tmp_path):
    written(tmp_path / "data", "a", (1, 9))
    write_image(tmp_path / "data" / "b.png")
    write_image(tmp_path / "docs" / "figure.png")
    (tmp_path / "notes.ipynb").write_text("")
    (tmp_path / "pom.xml").write_text("<project/>")
    read = read_catalog(tmp_path)
    assert [(item.id, len(item.regions)) for item in read.items] == [("data/a", 1), ("data/b", 0)]
    assert read.ignored == {".ipynb": 1, ".png": 1, ".xml": 1} and "1 images without a label file" in read.notes[0]


def test_the_lists_decide_and_what_they_leave_out_is_noted(tmp_path):
    """trainval is train unless another list says val; class lists and images of no list are passed over."""
    for name in ("a", "b", "c", "my photo 1", "bare"):
        write_image(tmp_path / "VOC" / "JPEGImages" / f"{name}.png")
        if name != "bare":
            written(tmp_path / "VOC" / "Annotations", name, (1, 9), image=False)
    lists = tmp_path / "VOC" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name, text in dict(trainval="a\nb\nmy photo 1\nbare", val="b.png", cat_train="a 1\nc -1").items():
        (lists / f"{name}.txt").write_text(text)
    read = read_catalog(tmp_path)
    assert {item.path.stem: item.split for item in read.items} == {
        "a": "train", "b": "val", "my photo 1": "train", "bare": "train"
    }  # fmt: skip
    text = "\n".join(read.notes)
    assert "1 images are in none of the lists" in text and "1 images without a label file" in text
    (lists / "train.txt").write_text("b")
    with pytest.raises(ValueError, match=r"train\.txt: b is also in VOC/ImageSets/Main/val\.txt"):
        read_catalog(tmp_path)
    (lists / "train.txt").write_text("a\nlost")
    with pytest.raises(FileNotFoundError, match=r"train\.txt: its image lost .* 1 of 5 listed ids"):
        read_catalog(tmp_path)


def test_classes_txt_orders_the_classes_and_background_is_none(tmp_path):
    written(tmp_path, "a", (1, 9))
    (tmp_path / "classes.txt").write_text("background\nzebra\ncat\n")
    read = read_catalog(tmp_path)
    assert read.classes == ("zebra", "cat") and read.items[0].regions[0].label == 1


def test_boxes_without_area_are_counted_and_wrong_sizes_noted(tmp_path):
    written(tmp_path, "a", (9, 3), (70, 80), (1, 9), head="<size><width>0</width><height>0</height></size>")
    written(tmp_path, "b", (1, 9), head="<size><width>99</width><height>40</height></size>")
    read = read_catalog(tmp_path)
    assert [len(item.regions) for item in read.items] == [1, 1] and read.items[1].size_hw == SIZE_HW
    assert "2 objects without area" in read.notes[0] and "1 label files state another size" in read.notes[1]


def test_labels_from_before_an_exif_rotation_are_refused(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    written(tmp_path, "a", (1, 9), image=False)
    with pytest.raises(ValueError, match=r"a\.xml: its size 60x40 .* before the rotation"):
        read_catalog(tmp_path)


def test_an_image_is_found_by_the_name_in_the_file(tmp_path):
    written(tmp_path, "a", (1, 9), image=False, head="<filename>photo.png</filename>")
    write_image(tmp_path / "elsewhere" / "Photo.PNG")
    assert read_catalog(tmp_path).items[0].id == "elsewhere/Photo"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<xmin>1<", "<xmin>nan<"), r"a\.xml: object 1 \(cat\): the box \(nan.*finite"),
        (("<xmin>1<", "<xmin>1e7<"), r"a\.xml: object 1 \(cat\): the box \(1e\+07"),
        (("<xmin>1<", "<xmin>one<"), r"a\.xml: object 1 \(cat\): bndbox/xmin must be a number, got 'one'"),
        (("<name>cat</name>", ""), r"a\.xml: object 1 has no name"),
        (("</annotation>", ""), r"a\.xml is not XML, or not complete"),
        (("<annotation>", '<!DOCTYPE x [<!ENTITY y "z">]><annotation>'), r"a\.xml.*DOCTYPE"),
        (("<width>60<", "<width>1e999<"), r"a\.xml: size/width must be a finite number"),
    ],
)
def test_faults_are_named(tmp_path, change, message):
    path = written(tmp_path, "a", (1, 9))
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=message):
        read_catalog(tmp_path)


def test_files_without_image_are_an_error_unless_they_are_few(tmp_path):
    written(tmp_path, "lost", (1, 9), image=False)
    for number in range(19):
        written(tmp_path, f"{number}", (1, 9))
    with pytest.raises(FileNotFoundError, match=r"lost\.xml: its image lost is .* 1 of 20 label files"):
        read_catalog(tmp_path)
    written(tmp_path, "19", (1, 9))
    assert "1 of 21 label files have no image" in read_catalog(tmp_path).notes[0]


def test_two_files_of_one_image_are_refused(tmp_path):
    written(tmp_path, "a", (1, 9))
    written(tmp_path / "old", "a", (1, 9), image=False)
    with pytest.raises(ValueError, match=r"both belong to a\.png; keep one"):
        read_catalog(tmp_path)


def test_real_boxes():
    bccd = read_catalog(shared("data", "bccd"))
    assert (bccd.format, bccd.classes) == ("voc-boxes", ("RBC", "WBC", "Platelets"))
    assert [len(bccd.of_split(split)) for split in ("train", "val")] == [205, 87]
    assert bccd.items[0].regions[0] == Region(1, (259, 176, 491, 376))
    voc = read_catalog(shared("data", "voc3"), format="voc-boxes")
    assert len(voc.of_split("val")) == 3 and voc.classes == ("bus", "car", "person")


def test_support_writes_what_the_tool_would(tmp_path):
    """Pixels from 1: the whole image of 60 x 40 is 1, 1, 60, 40."""
    catalog = catalog_of(BOXES)
    voc_xml(tmp_path / "a.xml", catalog, Item("a", tmp_path, SIZE_HW, regions=(Region(0, (0, 0, 60, 40)),)), "a.png")
    text = (tmp_path / "a.xml").read_text()
    assert "<xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>40</ymax>" in text and CLASSES[0] in text
