import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones import AlignedXception
from heads import DeepLabV3Plus, FCNHead
from xseg.models import CrossEntropy, Dice, Inference, Preprocessor, Segmentor, SmpDecoder, SmpLoss


def segmentor(**options) -> Segmentor:
    torch.manual_seed(0)
    backbone = AlignedXception(41, output_stride=16, width=0.125, out=options.pop("out", ("c2", "c5")))
    return Segmentor(backbone, {"type": DeepLabV3Plus, "num_classes": 4, "channels": 16}, **options)


def batch(*sizes_hw):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=generator) for h, w in sizes_hw]
    masks = [torch.randint(0, 4, size, generator=generator).to(torch.uint8) for size in sizes_hw]
    samples = [
        {"mask": m, "meta": {"id": str(i), "size_hw": s}} for i, (m, s) in enumerate(zip(masks, sizes_hw, strict=True))
    ]
    return {"images": images, "samples": samples}


def test_preprocessor_scales_to_plus_minus_one_and_pads_with_the_mean():
    data = batch((2, 3), (4, 2))
    out = Preprocessor()(data, training=True)
    assert out["images"].shape == (2, 3, 4, 3)
    torch.testing.assert_close(out["images"][0, :, :2], 2 / 255 * data["images"][0].float() - 1)
    assert not out["images"][0, :, 2:].any() and not out["images"][1, :, :, 2:].any()
    assert (out["samples"][0]["mask"][2:] == 255).all()
    assert out["samples"][0]["input_hw"] == (2, 3)
    assert data["samples"][0]["mask"].shape == (2, 3)  # the caller's batch is as it was


def test_preprocessor_by_channel():
    out = Preprocessor(mean=(1, 2, 3), std=(1, 2, 4))({"images": [torch.full((3, 1, 1), 5, dtype=torch.uint8)]})
    assert out["images"].flatten().tolist() == [4, 1.5, 0.5]


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 49), (64, 64), (50, 31)])
def test_predicts_every_pixel_of_any_size(size_hw):
    model = segmentor().eval()
    data = model.data_preprocessor(batch(size_hw))
    with torch.inference_mode():
        result = model(**data, mode="predict")[0]
    assert result["mask"].shape == size_hw
    assert result["mask"].dtype == torch.uint8


def test_a_batch_of_equal_sizes_predicts_what_each_image_alone_does():
    model = segmentor().eval()
    data = batch((40, 56), (40, 56), (40, 56))
    with torch.inference_mode():
        together = model(**model.data_preprocessor(data), mode="predict")
        for i, result in enumerate(together):
            alone = {key: value[i : i + 1] for key, value in data.items()}
            assert torch.equal(model(**model.data_preprocessor(alone), mode="predict")[0]["mask"], result["mask"])


def test_corners_are_aligned_at_sizes_of_k_strides_plus_one():
    """An image of 33 = 2 * 16 + 1 is not padded; one of 32 is, to 33, and its logits are the crop."""
    model = segmentor().double().eval()
    x = torch.rand(1, 3, 33, 33, dtype=torch.float64)
    cut = x.clone()
    cut[..., 32:, :], cut[..., :, 32:] = 0, 0
    with torch.inference_mode():
        torch.testing.assert_close(model(cut[..., :32, :32]), model(cut)[..., :32, :32])


def test_results_come_at_the_size_of_the_original():
    model = segmentor().eval()
    data = batch((32, 48))
    data["samples"][0]["meta"]["size_hw"] = (64, 96)  # the pipeline had halved the image
    with torch.inference_mode():
        mask = model(**model.data_preprocessor(data), mode="predict")[0]["mask"]
        small = model(**model.data_preprocessor(batch((32, 48))), mode="predict")[0]["mask"]
    assert mask.shape == (64, 96)
    assert torch.equal(mask[::2, ::2], small) and torch.equal(mask[1::2, 1::2], small)


def test_losses_are_weighted_and_named():
    plain = segmentor(losses=[{"type": CrossEntropy}])
    both = segmentor(losses=[{"type": CrossEntropy, "weight": 2.0}, {"type": SmpLoss, "name": "Dice", "weight": 0.5}])
    data = plain.data_preprocessor(batch((33, 33), (33, 33)), training=True)
    torch.manual_seed(0)
    one = plain(**data, mode="loss")
    torch.manual_seed(0)
    two = both(**data, mode="loss")
    assert one.keys() == {"loss_ce"} and two.keys() == {"loss_ce", "loss_dice"}
    torch.testing.assert_close(two["loss_ce"], 2 * one["loss_ce"])


@pytest.mark.parametrize(
    "losses, names",
    [
        ([{"type": CrossEntropy}, {"type": CrossEntropy, "weight": 100.0}], "loss_ce loss_ce_2"),
        ([{"type": Dice}, {"type": SmpLoss, "name": "Dice", "weight": 100.0}], "loss_dice loss_dice_2"),
        ([{"type": Dice}, {"type": CrossEntropy}] + 2 * [{"type": Dice}], "loss_dice loss_ce loss_dice_2 loss_dice_3"),
    ],
    ids=["twice", "two-kinds", "thrice"],
)
@torch.no_grad()
def test_losses_of_one_name_are_all_terms_of_the_sum(losses, names):
    """The last one of a name used to replace the others: of cross-entropy and 100 x cross-entropy only the second."""
    names = names.split()
    aux = {"type": FCNHead, "num_classes": 4, "level": -2}
    model = segmentor(out=("c2", "c4", "c5"), aux_head=aux, losses=losses).eval()
    data = model.data_preprocessor(batch((33, 33), (33, 33)), training=True)
    together = model(**data, mode="loss")
    assert list(together) == [*names, *(f"aux_{name}" for name in names)]
    alone = 0
    for loss in list(model.losses):
        model.losses = nn.ModuleList([loss])
        alone += sum(model(**data, mode="loss").values())
    torch.testing.assert_close(sum(together.values()), alone)


def test_auxiliary_head_trains_and_is_gone_in_prediction():
    model = segmentor(
        out=("c2", "c4", "c5"), aux_head={"type": FCNHead, "num_classes": 4, "level": -2}, aux_weight=0.25
    )
    data = model.data_preprocessor(batch((33, 33), (33, 33)), training=True)
    losses = model(**data, mode="loss")
    assert losses.keys() == {"loss_ce", "aux_loss_ce"}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.aux_head.parameters())
    model.aux_head = None
    model.eval()(**data, mode="predict")


def test_a_batch_of_one_trains():
    losses = segmentor()(**segmentor().data_preprocessor(batch((33, 33)), training=True), mode="loss")
    assert losses["loss_ce"].isfinite()


def test_overfits_two_images():
    """Loss falls, and the prediction becomes the mask: gradients reach every part."""
    model = segmentor()
    data = batch((33, 33), (33, 33))
    for sample in data["samples"]:
        sample["mask"] = torch.zeros(33, 33, dtype=torch.uint8)
        sample["mask"][:, 16:] = 2
        sample["mask"][16:] = 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model(**model.data_preprocessor(data, training=True), mode="loss")["loss_ce"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    with torch.inference_mode():
        results = model.eval()(**model.data_preprocessor(data), mode="predict")
    right = [(r["mask"] == s["mask"]).float().mean() for r, s in zip(results, data["samples"], strict=True)]
    assert min(right) > 0.9


@pytest.mark.parametrize("kind", ["path", "array", "tensor"])
def test_predict_takes_a_path_an_array_or_a_tensor(tmp_path, kind):
    model = segmentor()
    model.classes = ("a", "b", "c", "d")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    given = {"path": tmp_path / "x.png", "array": pixels, "tensor": torch.from_numpy(pixels).permute(2, 0, 1)}[kind]
    result = model.predict(given)
    assert result.mask.shape == (20, 30)
    assert sum(result.shares().values()) == pytest.approx(1)
    np.testing.assert_array_equal(result.image, pixels)
    result.save(tmp_path / "deep" / "out.png")
    result.save_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "mask.png")), result.mask)
    assert Image.open(tmp_path / "deep" / "out.png").size == (30, 20)


def test_channels_last_gives_the_same_numbers():
    plain, fast = segmentor().eval(), segmentor(channels_last=True).eval()
    fast.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 33, 33)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-4, atol=1e-5)
    assert fast.backbone.stem[0].conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_any_head_and_inference():
    model = Segmentor(
        AlignedXception(41, width=0.125, out=("c1", "c2", "c3", "c4", "c5")),
        {"type": SmpDecoder, "name": "Unet", "num_classes": 4},
        inference=Inference(window_hw=(32, 32), flip=True, scales=(0.5, 1.0)),
    ).eval()
    with torch.inference_mode():
        assert model(**model.data_preprocessor(batch((50, 70))), mode="predict")[0]["mask"].shape == (50, 70)


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'test'"):
        segmentor()(torch.rand(1, 3, 8, 8), mode="test")


@pytest.mark.slow
def test_compiled_gives_the_same_loss_and_the_same_state_dict():
    plain, fast = segmentor().eval(), segmentor(compiled=True).eval()
    fast.load_state_dict(plain.state_dict())
    data = plain.data_preprocessor(batch((33, 33), (33, 33)), training=True)
    losses = [model(**data, mode="loss")["loss_ce"] for model in (plain, fast)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    losses[1].backward()
    assert all(p.grad is not None for p in fast.parameters())
