"""The drawn data set: the same from the same seed, written once, never over somebody's folder."""

import multiprocessing

import numpy as np
import pytest

from xseg.data import IGNORE, SHAPES_CLASSES, Shapes, write_shapes
from xseg.data.sets.shapes_drawing import STAMP, draw_scene, render, semantic_mask

SMALL = dict(num_images=dict(train=12, val=3), size_hw=(64, 80))


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seed_same_files(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        Shapes(tmp_path / name, seed=seed, **SMALL)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys() and a != c
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"], "nothing else is left behind"


def test_all_classes_and_void_are_there(tmp_path):
    train, val = (Shapes(tmp_path / "shapes", split, **SMALL) for split in ("train", "val"))
    assert (len(train), len(val)) == (12, 3) and train.classes == SHAPES_CLASSES
    labels = np.concatenate([train[index]["mask"].unique() for index in range(12)])
    assert set(labels) == {0, 1, 2, 3, 4, IGNORE}
    assert train[0]["image"].shape == (3, 64, 80)
    assert not {pair[0] for pair in train.pairs} & {pair[0] for pair in val.pairs}


def test_second_use_leaves_files_untouched(tmp_path):
    root = tmp_path / "shapes"
    Shapes(root, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    Shapes(root, "val", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_other_parameters_rewrite(tmp_path):
    root = tmp_path / "shapes"
    root.mkdir()  # an empty folder is no obstacle
    write_shapes(root, 2, 1, (32, 32))
    write_shapes(root, 1, 1, (32, 32))
    assert len(list((root / "JPEGImages").iterdir())) == 2
    (root / STAMP).write_text("{ torn")
    write_shapes(root, 2, 1, (32, 32))
    assert len(list((root / "JPEGImages").iterdir())) == 3


def test_foreign_folder_stays(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"no shapes\.json.*choose another root"):
        write_shapes(tmp_path, 1, 1, (32, 32))
    assert contents(tmp_path) == {(tmp_path / "holiday.jpg").relative_to(tmp_path): b"mine"}


def test_processes_may_race(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_shapes, args=(tmp_path / "x", 4, 2, (32, 32))) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len(list((tmp_path / "x" / "JPEGImages").iterdir())) == 6


def test_scene_gives_instances():
    """Every pixel shows the background or one object; the void lies on outlines, two pixels wide, and nowhere else."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        background, scene = draw_scene(rng, (96, 96))
        image, seen = render(background, scene, rng)
        mask = semantic_mask(scene, seen)
        assert image.dtype == np.uint8 and image.shape == (96, 96, 3)
        assert 1 <= len(scene) <= 5 and set(np.unique(seen)) <= set(range(len(scene) + 1))
        assert (np.array([0, *(shape.label for shape in scene)])[seen] == mask)[mask != IGNORE].all()
        assert 0 < (mask == IGNORE).mean() < 0.2


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="takes train and val, got test"):
        Shapes(tmp_path / "x", num_images=dict(test=3))
    with pytest.raises(ValueError, match="at least 1 and size_hw at least 32"):
        write_shapes(tmp_path / "x", 0, 1)
