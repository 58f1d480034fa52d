"""Published weights: address, licence, published accuracy and the config for each.

Addresses and figures: TensorFlow's `research/deeplab/g3doc/model_zoo.md`, `keras.applications`, Cadene's
pretrained-models.pytorch, SegmenTron's release v0.1.0. timm's weights have no rows here; use "timm:NAME".
"""

from typing import NamedTuple

TENSORFLOW = "http://download.tensorflow.org/models/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/xception/"


class Published(NamedTuple):
    """One file of weights.

    Args:
        metric: the published accuracy and its data set.
        config: the shipped config that evaluates the model; for a backbone, a config that uses it.
        digest: "md5:…" or "sha256:…" if the source publishes one. Otherwise the digest of the first download is
            recorded.
    """

    url: str
    licence: str
    metric: str
    config: str
    digest: str = ""


def _tensorflow(file: str, metric: str, config: str) -> Published:
    return Published(f"{TENSORFLOW}{file}.tar.gz", "Apache-2.0", metric, config)


PUBLISHED = {
    # whole models
    "deeplabv3plus_xception65_voc": _tensorflow(
        "deeplabv3_pascal_train_aug_2018_01_04",
        "VOC 2012 val mIoU 82.20, OS 8 ms+flip 83.58 (COCO)",
        "voc/deeplabv3plus_eval",
    ),
    "deeplabv3plus_xception65_voc_trainval": _tensorflow(
        "deeplabv3_pascal_trainval_2018_01_04",
        "VOC 2012 test mIoU 87.80, OS 8 ms+flip (COCO)",
        "voc/deeplabv3plus_eval_os8_ms",
    ),
    "deeplabv3plus_xception65_cityscapes": _tensorflow(
        "deeplabv3_cityscapes_train_2018_02_06",
        "Cityscapes val mIoU 78.79, OS 8 ms+flip 80.42",
        "cityscapes/deeplabv3plus_eval",
    ),
    "deeplabv3plus_xception71_dpc_cityscapes": _tensorflow(
        "deeplab_cityscapes_xception71_trainfine_2018_09_08",
        "Cityscapes val mIoU 80.31",
        "cityscapes/deeplabv3plus_dpc_eval",
    ),
    "deeplabv3plus_xception71_dpc_cityscapes_trainval": _tensorflow(
        "deeplab_cityscapes_xception71_trainvalfine_2018_09_08",
        "Cityscapes test mIoU 82.66, OS 8 ms+flip",
        "cityscapes/deeplabv3plus_dpc_eval_os8_ms",
    ),
    "deeplabv3plus_xception65_ade20k": _tensorflow(
        "deeplabv3_xception_ade20k_train_2018_05_29",
        "ADE20K val mIoU 45.65, OS 8 ms+flip",
        "ade20k/deeplabv3plus_eval_os8_ms",
    ),
    # backbones
    "xception41_imagenet": _tensorflow("xception_41_2018_05_09", "ImageNet (none published)", "imagenet/xception41"),
    "xception65_imagenet": _tensorflow(
        "deeplabv3_xception_2018_01_04", "ImageNet (none published)", "imagenet/xception65"
    ),
    "xception71_imagenet": _tensorflow("xception_71_2018_05_09", "ImageNet (none published)", "imagenet/xception71"),
    "xception65_coco": _tensorflow(
        "xception_65_coco_pretrained_2018_10_02", "ImageNet and COCO (none published)", "voc/deeplabv3plus"
    ),
    "xception_keras": Published(
        f"{KERAS}xception_weights_tf_dim_ordering_tf_kernels.h5",
        "MIT",
        "ImageNet top-1 79.0",
        "imagenet/xception",
        "md5:0a58e3b7378bc2990ea3b43d5981f1f6",
    ),
    "xception_keras_notop": Published(
        f"{KERAS}xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "MIT",
        "xception_keras without its classifier",
        "voc/deeplabv3plus",
        "md5:b0042744bf5b25fce3cb969f33bebb97",
    ),
    "xception_cadene": Published(
        "http://data.lip6.fr/cadene/pretrainedmodels/xception-43020ad28.pth",
        "BSD-3-Clause",
        "ImageNet top-1 78.89",
        "imagenet/xception_cadene",
    ),
    "xception65_segmentron": Published(
        "https://github.com/LikeLy-Journey/SegmenTron/releases/download/v0.1.0/tf-xception65-270e81cf.pth",
        "Apache-2.0",
        "ImageNet (none published)",
        "imagenet/xception65",
    ),
}
