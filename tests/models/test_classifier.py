"""The classifier's losses against torch's, its crop, and its trunk handed over to a segmentation."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from backbones import Xception
from heads import ClassificationHead, DeepLabV3Plus
from xseg.data import CentreCrop
from xseg.models import Classifier, Segmentor
from xseg.models.classifier import soft_cross_entropy
from xseg.results import ClassificationResult
from xseg.run.train import _fill_class_weights
from xseg.weights import load_weights

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0], [0.3, 0.2, 0.1], [-1.0, -1.0, 3.0]])
LABELS = torch.tensor([0, 2, 1, 2])


def classifier(num_classes=3, **options) -> Classifier:
    torch.manual_seed(0)
    head = {"type": ClassificationHead, "num_classes": num_classes}
    return Classifier(Xception(out=("c5",), width=0.125), head, crop_size=33, **options)


def batch(*labels):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 33, 33), dtype=torch.uint8, generator=generator) for _ in labels]
    return {"images": images, "samples": [{"label": label} for label in labels]}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.3, 2.0, 1.0)])
def test_cross_entropy_equals_torch_for_class_indices(weights, smoothing):
    weights = torch.tensor(weights)
    ours = soft_cross_entropy(LOGITS, F.one_hot(LABELS, 3).float(), weights, smoothing)
    torch.testing.assert_close(ours, F.cross_entropy(LOGITS, LABELS, weights, label_smoothing=smoothing))


def test_cross_entropy_of_mixed_labels_lies_between():
    """Three quarters of one label and a quarter of the other: the loss is linear in the targets."""
    one, other = F.one_hot(LABELS, 3).float(), F.one_hot(LABELS.flip(0), 3).float()
    ones = torch.ones(3)
    mixed = soft_cross_entropy(LOGITS, 0.75 * one + 0.25 * other, ones, 0.0)
    parts = [soft_cross_entropy(LOGITS, targets, ones, 0.0) for targets in (one, other)]
    torch.testing.assert_close(mixed, 0.75 * parts[0] + 0.25 * parts[1])


def test_loss_mode_is_the_loss_of_the_logits_and_trains():
    model = classifier(label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5]).train()
    data = model.data_preprocessor(batch(0, 2, 1), training=True)
    loss = model(**data, mode="loss")["loss_ce"]
    logits = model(data["images"])
    expected = F.cross_entropy(logits, torch.tensor([0, 2, 1]), torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("options", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_mixing_joins_images_and_labels_alike(options):
    """Images of one value each, their label's: after mixing the mean of every image tells its targets."""
    model = classifier(**options)
    shares = set()
    for seed in range(8):
        torch.manual_seed(seed)
        images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 3, 8, 8).contiguous()
        images, targets = model.mix(images, model.targets([{"label": i} for i in range(3)]))
        torch.testing.assert_close(targets.sum(1), torch.ones(3))
        torch.testing.assert_close(images.mean((1, 2, 3)), targets @ torch.arange(3.0))
        shares.add(targets[0, 0].item())
    assert len(shares) > 2


def test_several_labels_an_image():
    model = classifier(multi_label=True, label_smoothing=0.2).eval()
    data = model.data_preprocessor(batch(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 0.0])))
    logits = model(data["images"])
    targets = torch.tensor([[0.9, 0.1, 0.9], [0.1, 0.1, 0.1]])
    loss = model(**data, mode="loss")["loss_bce"]
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, targets))
    scores = torch.stack([result["scores"] for result in model(**data, mode="predict")])
    torch.testing.assert_close(scores, logits.sigmoid())


@pytest.mark.parametrize("options", [{"mixup": 0.5}, {"cutmix": 1.0}])
def test_mixing_several_labels_keeps_their_sums(options):
    """Every image goes into the batch with shares that sum to 1, and so do its labels."""
    model = classifier(multi_label=True, **options)
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    torch.manual_seed(0)
    _, targets = model.mix(torch.rand(3, 3, 8, 8), model.targets([{"label": label} for label in labels]))
    torch.testing.assert_close(targets.sum(0), labels.sum(0))
    assert not torch.equal(targets, labels)


@pytest.mark.parametrize(
    ("several", "label", "message"),
    [
        (True, 1, r"multi_label=True .* 3 numbers, 0 or 1, got shape \(\)"),
        (False, torch.zeros(3), r"multi_label=False .* one class index, got shape \(3,\)"),
    ],
)
def test_labels_of_the_other_kind_are_refused(several, label, message):
    with pytest.raises(ValueError, match=message):
        classifier(multi_label=several).targets([{"label": label}])


def test_result_of_several_labels(tmp_path):
    scores = np.array([0.9, 0.1, 0.5, 0.45, 0.2, 0.6, 0.7, 0.8, 0.85], np.float32)
    result = ClassificationResult(scores, tuple("abcdefghi"), multi_label=True)
    assert [name for name, _ in result.above()] == ["a", "i", "h", "g", "f", "c"]
    assert [name for name, _ in result.above(0.85)] == ["a", "i"]
    assert result.summary() == "a 90 %, i 85 %, h 80 %, g 70 %, f 60 %, c 50 %"
    result.write(tmp_path, "x")
    assert list(json.loads((tmp_path / "scores" / "x.json").read_text())) == ["a", "i", "h", "g", "f", "c"]
    assert ClassificationResult(scores[1:2], ("b",), multi_label=True).summary() == "nothing"


def test_predict_gives_sigmoids():
    result = classifier(multi_label=True).predict(torch.zeros(3, 33, 33, dtype=torch.uint8))
    assert result.multi_label and all(0.3 < score < 0.7 for score in result.scores), "far from trained"


def test_channels_last_gives_the_same_logits():
    images = torch.randn(2, 3, 33, 33)
    with torch.inference_mode():
        logits = [classifier(channels_last=layout).eval()(images) for layout in (False, True)]
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize(
    ("weights", "message"), [("equal", "or 'balanced', got 'equal'"), ([1.0, 2.0], "must be 3 numbers, one a class")]
)
def test_wrong_class_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        classifier(class_weights=weights)


def test_uncounted_weights_predict_but_do_not_train():
    model = classifier(class_weights="balanced").eval()
    data = model.data_preprocessor(batch(0))
    assert model(**data, mode="predict")[0]["scores"].sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"resolved by xseg\.train"):
        model(**data, mode="loss")


def test_train_counts_labels_for_balanced_weights(tmp_path):
    """Five objects in the first scenes drawn: their counts per class give the weights, in the config that is saved."""
    options = dict(type="ShapesClassification", root=f"{tmp_path}/shapes", num_images=dict(train=4, val=1))
    cfg = Config(dict(model=dict(class_weights="balanced"), train_dataloader=dict(dataset=options)))
    _fill_class_weights(cfg)
    assert len(cfg.model.class_weights) == 4 and all(0.2 < weight < 5 for weight in cfg.model.class_weights)


@pytest.mark.parametrize("size_hw", [(60, 40), (33, 33), (20, 90)])
def test_evaluation_sees_what_predict_sees(size_hw):
    image = torch.randint(0, 256, (3, *size_hw), dtype=torch.uint8)
    model = classifier()
    assert torch.equal(CentreCrop(33, model.crop_share)(image), model.crop(image))


def test_trunk_becomes_the_backbone_of_a_segmentation(tmp_path):
    """`--load-from`: every tensor of the backbone arrives, the head stays as initialised."""
    source = classifier(num_classes=7)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.uniform_(-0.1, 0.1)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "classifier.pth")
    target = Segmentor(
        Xception(output_stride=16, width=0.125), {"type": DeepLabV3Plus, "num_classes": 4, "channels": 16}
    )
    head = {name: value.clone() for name, value in target.head.state_dict().items()}
    fresh = load_weights(target, tmp_path / "classifier.pth")
    assert {name.partition(".")[0] for name in fresh} == {"head"}
    trunk = target.backbone.state_dict()
    assert trunk.keys() == source.backbone.state_dict().keys()
    assert all(torch.equal(value, trunk[name]) for name, value in source.backbone.state_dict().items())
    assert all(torch.equal(value, head[name]) for name, value in target.head.state_dict().items())
    target.set_output_stride(32)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(target.eval().backbone(images)[-1], source.eval().backbone(images)[-1])
