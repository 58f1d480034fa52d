"""Prediction of many images: each once, in order, also when single images fail."""

from pathlib import Path

import numpy as np
import pytest

import xseg.run.predict
from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.cli import main
from xseg.drawing import write_image
from xseg.models import Inference, Segmentor
from xseg.run.predict import AT_ONCE, predict
from xseg.weights import save_safetensors

COUNT = 3 * AT_ONCE
SMALL = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.25),
    head=dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8),
)


class Result:
    def __init__(self, mean: int, full: str):
        self.mean, self.full = mean, full

    def summary(self) -> str:
        return f"grey {self.mean}"

    def write(self, out: Path, name: str) -> None:
        if name == self.full:
            raise OSError("no space left")
        path = out / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.summary())


class Mean:
    """A model that predicts the mean of an image."""

    def __init__(self, full: str = ""):
        self.full = full

    def predict(self, image) -> Result:
        return Result(int(image.float().mean()), self.full)


@pytest.fixture
def folder(tmp_path):
    for index in range(COUNT):
        write_image(tmp_path / "in" / f"{index:02}.png", np.full((4, 5, 3), 10 * index, np.uint8))
    return tmp_path


def test_lines_are_in_order_and_all_files_are_written(folder):
    lines = list(predict(Mean(), [folder / "in"], folder / "out"))
    assert [line.split()[-1] for line in lines] == [str(10 * index) for index in range(COUNT)]
    assert {path.stem: path.read_text() for path in (folder / "out").iterdir()} == {
        f"{index:02}": f"grey {10 * index}" for index in range(COUNT)
    }


def test_an_unreadable_image_stops_no_other(folder):
    (folder / "in" / "05.png").write_bytes(b"no picture")
    lines = []
    with pytest.raises(ValueError, match=f"1 of {COUNT} images could not be read"):
        for line in predict(Mean(), [folder / "in"], folder / "out"):
            lines.append(line)  # list.extend would lose the lines when the error comes
    assert len(lines) == COUNT and "05.png: failed" in lines[5]
    assert len(list((folder / "out").iterdir())) == COUNT - 1


@pytest.mark.parametrize("name", ["00", f"{COUNT - 1:02}"])
def test_an_error_of_writing_is_raised(folder, name):
    with pytest.raises(OSError, match="no space left"):
        list(predict(Mean(full=name), [folder / "in"], folder / "out"))


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/x.png"], ["x"]),
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["one/cam/x.png", "two/cam/x.png"], ["one/cam/x", "two/cam/x"]),
        (["a/x.png", "a/deep/x.png"], ["x", "deep/x"]),
        (["a/x.png", "a/x.jpg", "a/y.png"], ["x.png", "x.jpg", "y"]),
        (["a/x.png", "a/x.jpg", "a/x.jpg.png"], ["x.png", "x.jpg", "x.jpg.png"]),
        (["a/b_x_png.png", "a/b/x.png", "a/b/x.jpg"], ["b_x_png", "b/x.png", "b/x.jpg"]),
    ],
)
def test_every_image_has_files_of_its_own_below_the_common_folder(files, names, tmp_path):
    """In a former version one/cam/x.png and two/cam/x.png both became cam_x_png, written by two threads at once."""
    for index, file in enumerate(files):
        write_image(tmp_path / file, np.full((4, 5, 3), 10 * index, np.uint8))
    list(predict(Mean(), [tmp_path / file for file in files], tmp_path / "out"))
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.txt")}
    assert written == {f"{name}.txt" for name in names}
    greys = [int((tmp_path / "out" / f"{name}.txt").read_text().split()[1]) for name in names]
    np.testing.assert_allclose(greys, 10 * np.arange(len(files)), atol=1)  # JPEG may round


def test_an_image_given_twice_is_predicted_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    inputs = ["in/00.png", "./in/00.png", folder / "in" / "00.png", "in/../in/0?.png"]
    assert len(list(predict(Mean(), inputs, "out"))) == 10


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ([], {}),
        (["--flip"], {"flip": True}),
        (["--scales", "0.5", "1"], {"scales": (0.5, 1.0)}),
        (["--window", "64", "96"], {"window_hw": (64, 96)}),
    ],
)
def test_options_change_only_what_they_say(options, changes, folder, monkeypatch):
    """Once an option replaced the whole `Inference` and lost its min_size_hw, align_corners, longest and overlap."""
    given = dict(min_size_hw=(65, 65), align_corners=True, longest=200, overlap=0.5)
    config = {**SMALL, "inference": dict(type=Inference, **given)}
    model = Segmentor(**{key: value for key, value in config.items() if key != "type"})
    save_safetensors(model, config, folder / "x.safetensors")
    models = []
    monkeypatch.setattr(xseg.run.predict, "predict", lambda model, *_: models.append(model) or [])
    assert main(["predict", f"{folder}/x.safetensors", f"{folder}/in", *options]) == 0
    assert vars(models[0].inference) == vars(Inference(**{**given, **changes}))
