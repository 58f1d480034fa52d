"""Which format a folder has."""

import pytest
from labelled import sample_catalog, shape, write_coco, write_labelme
from peers import shared

from xseg.data.formats import FORMATS, read_catalog


def test_what_cannot_be_read_names_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_catalog(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no format recognised; there are 1 \.txt") as error:
        read_catalog(tmp_path)
    assert all(f"  {name}: " in str(error.value) for name in FORMATS)
    with pytest.raises(ValueError, match="format must be one of"):
        read_catalog(tmp_path, format="paper")


def test_a_task_that_the_labels_cannot_train(tmp_path):
    write_labelme(tmp_path, "a", [shape("cat", [[0, 0], [9, 0], [0, 9]])])
    assert read_catalog(tmp_path, task="segmentation").kind == "outlines"
    with pytest.raises(ValueError, match="which can train instances or segmentation"):
        read_catalog(tmp_path, task="classification")


def test_a_folder_of_several_formats_lists_what_to_pass():
    root = shared("data", "coco128")
    with pytest.raises(ValueError, match="can be read in several ways; pass one:") as error:
        read_catalog(root)
    for line in (
        f"{root}/object_detection --format yolo: 254 of 256 images have boxes of 80 classes, for detection (",
        f"{root}/instance_segmentation --format yolo: 198 of 200 images have outlines of 80 classes, for instances or ",
        f"{root} --format panoptic: 200 of 200 images have panoptic segments of 133 classes, for panoptic or ",
    ):
        assert f"\n  {line}" in str(error.value)
    assert read_catalog(root, format="panoptic").kind == "panoptic"


def test_a_fault_in_one_of_several_formats_is_told(tmp_path):
    write_coco(sample_catalog(), tmp_path)
    for name in ("a", "b", "c"):
        write_labelme(tmp_path / "more", name, [shape("cat", [[0, 0], [9, 0], [0, 9]])])
    (tmp_path / "more/a.json").write_text('{"shapes": [')
    with pytest.raises(
        ValueError, match=r"--format labelme: cannot be read: .*a\.json is not JSON.*\n.*--format coco: 2"
    ):
        read_catalog(tmp_path)
