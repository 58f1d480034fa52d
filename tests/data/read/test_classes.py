"""Class tables against their sources."""

import pytest

from xseg.data import (
    CITYSCAPES,
    CITYSCAPES_CLASSES,
    CITYSCAPES_PALETTE,
    VOC_CLASSES,
    cityscapes_label_map,
    read_classes,
    voc_palette,
)


def test_voc_colours_as_published():
    """Source: VOC 2012 devkit, VOClabelcolormap."""
    palette = voc_palette(256)
    assert palette[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert palette[15] == (192, 128, 128) and palette[20] == (0, 64, 128) and palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256 and len(VOC_CLASSES) == 21


def test_cityscapes_table_is_the_official_one():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels", reason="cityscapesscripts is not installed").labels
    official = {(row.name, row.id, row.trainId % 256, row.color) for row in labels}  # -1 % 256 = 255
    assert {tuple(row) for row in CITYSCAPES} == official


def test_cityscapes_label_map():
    table = cityscapes_label_map()
    assert len(table) == 256 and len(CITYSCAPES_CLASSES) == len(CITYSCAPES_PALETTE) == 19
    assert (table[0], table[7], table[33], table[34], table[254], table[255]) == (255, 0, 18, -1, -1, 255)
    assert sorted(set(table)) == [-1, *range(19), 255]
    assert CITYSCAPES_CLASSES[0] == "road" and CITYSCAPES_CLASSES[18] == "bicycle"


def test_read_classes_leaves_out_blank_lines_and_comments(tmp_path):
    (tmp_path / "classes.txt").write_text("# ours\n\nroad\n  tall tree  # any\n", encoding="utf-8-sig")
    assert read_classes(tmp_path / "classes.txt") == ("road", "tall tree")


def test_a_sign_inside_a_name_is_no_comment(tmp_path):
    """C# was read as C."""
    (tmp_path / "classes.txt").write_text("C#\nF# # a comment\nno#2\n#none\n")
    assert read_classes(tmp_path / "classes.txt") == ("C#", "F#", "no#2")


@pytest.mark.parametrize("text, message", [("a\nb\na\n", "a occurs more than once"), ("# none\n", "has no class name")])
def test_read_classes_refuses(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"classes\.txt.*{message}"):
        read_classes(tmp_path / "classes.txt")


def test_missing_classes_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"classes\.txt: no such file"):
        read_classes(tmp_path / "classes.txt")
