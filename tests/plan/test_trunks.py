"""The backbone that a file of weights belongs to, and the plan that starts from it."""

import pytest
import torch
from peers import shared

from backbones import AlignedXception
from heads import ClassificationHead
from xseg.data.formats import read_catalog
from xseg.models import Classifier
from xseg.plan import Choices
from xseg.plan.fingerprint import fingerprint
from xseg.plan.recipes import recipe
from xseg.plan.trunks import fitted, trunk_of
from xseg.weights import save_safetensors

TRUNK = dict(type="backbones.AlignedXception", depth=41, width=0.125)
KERAS = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    backbone = dict(TRUNK, out=("c5",), frozen_stages=1, drop_path=0.1)
    head = dict(type="ClassificationHead")
    arguments = {key: value for key, value in backbone.items() if key != "type"}
    trunk = AlignedXception(**arguments)
    head_module = ClassificationHead(3, trunk.channels, trunk.strides)
    model = Classifier(trunk, head_module, crop_size=33)
    model.classes = ("a", "b", "c")
    path = tmp_path_factory.mktemp("trunk") / "trunk.safetensors"
    save_safetensors(model, dict(type="Classifier", backbone=backbone, head=head, crop_size=33), path)
    return path


def test_our_own_files_describe_their_backbone(weights):
    assert trunk_of(weights) == TRUNK
    assert fitted(trunk_of(weights), "own/deeplabv3plus") == TRUNK | dict(output_stride=16, frozen_bn=True)
    assert fitted(trunk_of(weights), "own/fcos") == TRUNK | dict(out=("c3", "c4", "c5"), frozen_bn=True)


def test_a_file_of_names_alone_needs_the_backbone(tmp_path):
    torch.save({"backbone.stem.0.conv.weight": torch.zeros(8, 3, 3, 3)}, path := tmp_path / "x.pth")
    with pytest.raises(ValueError, match="name it with --backbone"):
        trunk_of(path)


def test_files_of_other_programs():
    assert trunk_of(shared("weights") / KERAS) == dict(type="Xception", pool_padding="tensorflow")


def test_a_plan_starts_from_it(weights):
    catalog = read_catalog(shared("data", "camvid"))
    facts = fingerprint(catalog)
    bare, made = (recipe(catalog, facts, Choices(load_from=path)) for path in (None, str(weights)))
    assert bare.settings["model.losses"][0] == dict(type="CrossEntropy", class_weights="balanced")
    assert made.settings["model.losses"][0] == dict(type="CrossEntropy")  # they overshoot on a trained trunk
    assert made.settings["model.backbone"]["width"] == 0.125 and made.settings["model.backbone"]["frozen_bn"]
    assert made.settings["optim_wrapper.optimizer.lr"] < bare.settings["optim_wrapper.optimizer.lr"]
    assert f"starts from {weights}" in [reason.why for reason in made.reasons]
    named = recipe(catalog, facts, Choices(load_from=str(weights), backbone="xception41@0.125"))
    assert named.backbone == "xception41@0.125" and "model.backbone" not in named.settings
