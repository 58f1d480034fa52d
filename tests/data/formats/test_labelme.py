"""labelme's files as a catalog."""

import pytest
from labelled import shape, write_labelme

from xseg.data.formats import read_catalog


def test_files_beside_their_images_in_folders_of_splits(tmp_path):
    """A rectangle 10..30 x 5..25 and a triangle in train, a point, which has no area, in val; stray files around."""
    triangle = [[0, 0], [20, 0], [0, 20]]
    write_labelme(tmp_path, "train/a", [shape("cat", [[10, 5], [30, 25]], "rectangle"), shape("ant", triangle)])
    write_labelme(tmp_path, "valid/b", [shape("cat", [[1, 1]], "point")])
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "notes.ipynb").write_text("")
    (tmp_path / "other.json").write_text('{"shapes of things": 1}')
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind, catalog.classes) == ("labelme", "outlines", ("ant", "cat"))
    first, second = catalog.items
    assert (first.id, first.split, first.size_hw) == ("train/a", "train", (40, 60))
    assert [region.label for region in first.regions] == [1, 0] and first.regions[0].box_xyxy == (10, 5, 30, 25)
    assert first.regions[1].outline == [[0, 0, 20, 0, 0, 20]]
    assert (second.split, second.regions) == ("val", ())
    assert catalog.ignored == {".DS_Store": 1, ".ipynb": 1, ".md": 1, ".json": 1}
    text = "\n".join(catalog.describe())
    assert "2 images with outlines (labelme)" in text and "1 of them without any label" in text
    assert "split: train 1, val 1" in text and "1 shapes without area" in text


def test_classes_txt_orders_the_classes(tmp_path):
    write_labelme(tmp_path, "a", [shape("cat", [[0, 0], [9, 0], [0, 9]])])
    (tmp_path / "classes.txt").write_text("zebra\ncat\n")
    assert read_catalog(tmp_path).classes == ("zebra", "cat")
    (tmp_path / "classes.txt").write_text("zebra\n")
    with pytest.raises(ValueError, match=r"classes.txt lacks cat"):
        read_catalog(tmp_path)


def test_a_torn_file_is_named(tmp_path):
    write_labelme(tmp_path, "a", [shape("cat", [[0, 0], [9, 0], [0, 9]])])
    (tmp_path / "b.json").write_text('{"shapes": [')
    with pytest.raises(ValueError, match=r"b\.json"):
        read_catalog(tmp_path)
