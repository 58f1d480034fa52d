"""Which format a folder has."""

import pytest
from labelled import shape, write_labelme

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
