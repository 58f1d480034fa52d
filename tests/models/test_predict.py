"""What `model.predict` takes: every kind of image that people hold in their hands, one or several, for every model."""

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import AlignedXception, Xception
from heads import FCOS, ClassificationHead, DeepLabV3Plus
from xseg.models import Classifier, Detector, JointModel, Segmentor
from xseg.models.images import as_image
from xseg.results import ClassificationResult, DetectionResult, JointResult, SegmentationResult

LEVELS = ("c2", "c3", "c4", "c5")
TRUNK = dict(type=AlignedXception, depth=41, width=0.25, out=LEVELS)
PIXELS = dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8)
BOXES = dict(type=FCOS, num_classes=2, channels=8, num_convs=1)
MODELS = {
    SegmentationResult: lambda: Segmentor(dict(TRUNK), dict(PIXELS)),
    DetectionResult: lambda: Detector(dict(TRUNK, out=LEVELS[1:]), dict(BOXES), size=None),
    JointResult: lambda: JointModel(dict(TRUNK), dict(PIXELS), dict(BOXES), (1, 2), 1),
    ClassificationResult: lambda: Classifier(
        dict(type=Xception, width=0.25), dict(type=ClassificationHead, num_classes=3), crop_size=64
    ),
}
RGB = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
GREY = RGB[..., 0]
GREY_RGB = np.stack([GREY] * 3, 2)


def chw(array):
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def arrays(result):
    if isinstance(result, JointResult):
        return arrays(result.segmentation) + arrays(result.detection)
    return [value for value in vars(result).values() if isinstance(value, np.ndarray)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda kind: kind.__name__)
def case(request):
    torch.manual_seed(0)
    model = MODELS[request.param]()
    return model, request.param, model.predict(chw(RGB))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RGB),
        RGB,
        RGB[:, ::-1][:, ::-1],
        (RGB / 255).astype(np.float32),
        chw(RGB) / 255,
        chw(RGB).contiguous(),
    ],
    ids=["PIL", "array", "view", "float array", "float tensor", "tensor"],
)
def test_one_image_of_every_kind(case, image):
    model, kind, expected = case
    result = model.predict(image)
    assert type(result) is kind
    for given, wanted in zip(arrays(result), arrays(expected), strict=True):
        np.testing.assert_array_equal(given, wanted)


def test_several_images(case, tmp_path):
    model, kind, expected = case
    assert model.predict([]) == [] and model.predict(torch.empty(0, 3, 8, 8)) == []
    Image.fromarray(RGB).save(tmp_path / "x.png")
    small = RGB[:32, :40]
    listed = model.predict([tmp_path / "x.png", small, chw(RGB)])
    assert [type(result) for result in listed] == [kind] * 3
    for batch in (np.stack([RGB, GREY_RGB]), torch.stack([chw(RGB), chw(GREY_RGB)])):
        together = [*model.predict(batch), listed[1]]
        for result, wanted in zip(together, [expected, model.predict(GREY), model.predict(small)], strict=True):
            same(result, wanted)


def same(result, wanted):
    """Nearly: a batch sums in another order, after which boxes of nearly equal scores change places."""
    for part in ("segmentation", "detection"):
        if hasattr(result, part):
            same(getattr(result, part), getattr(wanted, part))
    for name in ("mask", "scores"):
        if isinstance(getattr(result, name, None), np.ndarray):
            np.testing.assert_allclose(getattr(result, name), getattr(wanted, name), atol=1e-5)


def test_results_can_be_saved(case, tmp_path):
    case[2].save(tmp_path / "out.png")
    assert np.array(Image.open(tmp_path / "out.png")).std() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_tensor_on_the_gpu(case):
    model, kind, _ = case
    assert type(model.predict(chw(RGB).cuda())) is kind
    model.cuda()
    assert type(model.predict(chw(RGB).cuda())) is kind
    model.cpu()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, GREY_RGB),
        (GREY[..., None], GREY_RGB),
        (torch.from_numpy(GREY.copy()), GREY_RGB),
        (torch.from_numpy(GREY.copy())[None], GREY_RGB),
        (Image.fromarray(GREY), GREY_RGB),
        (Image.fromarray(GREY.astype(np.uint16) * 256 + 255), GREY_RGB),
        (Image.fromarray(np.dstack([RGB, GREY])), RGB),
        (Image.fromarray(RGB).quantize(16), np.asarray(Image.fromarray(RGB).quantize(16).convert("RGB"))),
        (np.ones((2, 2), np.float64), np.full((2, 2, 3), 255, np.uint8)),
    ],
    ids=["grey", "grey HW1", "grey tensor", "grey 1HW", "PIL L", "PIL 16 bit", "PIL RGBA", "PIL palette", "float64"],
)
def test_what_the_network_sees(image, expected):
    np.testing.assert_array_equal(as_image(image).permute(1, 2, 0), expected)


def test_a_pil_image_stands_as_its_file_does(tmp_path):
    """A phone's photo: its EXIF says that it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        turned = as_image(image)
    assert turned.shape == (3, 96, 64)
    assert torch.equal(turned, as_image(tmp_path / "x.png"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (RGB.astype(np.float32), r"floats must lie in 0\.\.1, got 0 to 255; divide them by 255, or give uint8"),
        (np.full((2, 2), np.nan), r"floats must lie in 0\.\.1, got nan to nan"),
        (RGB.astype(np.int64), r"must be uint8 in 0\.\.255 or floats in 0\.\.1, got int64"),
        (chw(RGB).short(), r"must be uint8 in 0\.\.255 or floats in 0\.\.1, got torch\.int16"),
        (chw(RGB).numpy(), r"\(H, W, 3\) RGB or \(H, W\) grey, got \(3, 64, 96\)"),
        (torch.from_numpy(RGB.copy()), r"\(3, H, W\) RGB or \(H, W\) grey, got \(64, 96, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(H, W, 3\) RGB or \(H, W\) grey, got \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"has no pixels: \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"got \(4,\)"),
        (Image.new("F", (4, 4)), "a PIL image of mode F"),
        (None, "path, a PIL image, an array or a tensor, got NoneType"),
    ],
)
def test_what_cannot_be_an_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        as_image(image)
