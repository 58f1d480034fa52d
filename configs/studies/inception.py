"""Is Xception better than Inception V3 of the same size, under one recipe? (Tables 1 and 3, Fig. 6)

xseg study inception"""

sizes = dict(
    cpu=dict(
        config="shapes/study",
        options={
            "model.crop_size": 80,
            "train_dataloader.dataset.transforms.0.size_hw": (80, 80),
            "val_dataloader.dataset.transforms.0.size": 80,
            "train_cfg.max_iters": 270,
            "train_cfg.val_interval": 54,
        },
        seeds=[0, 1, 2],
        variants={
            "Xception": {"model.backbone.stem": "valid"},
            "Inception V3": {"model.backbone": {"type": "InceptionV3", "width": 0.25, "_delete_": True}},
        },
    ),
    gpu=dict(
        config="imagenet/study",
        seeds=[0, 1, 2],
        variants={
            "Xception": {},
            "Inception V3": {"model.backbone": {"type": "InceptionV3", "_delete_": True}},
        },
    ),
)
paper = (
    "Xception is better: 79.0 against 78.2 top-1 on ImageNet, with 22,855,952 against 23,626,728 parameters (Tables 1, "
    "3). At full width our Xception has 22,855,952. torchvision's Inception V3 without auxiliary tower has 23,834,568: "
    "17,216 of the surplus are scales of BatchNorm, which Google's network leaves out; 190,624 are unexplained."
)
better = [("Xception", "Inception V3")]
caveat = (
    "both networks train with Xception's recipe, while the paper trains Inception with a recipe tuned for it. From 80 "
    "pixels Inception V3, which pads less, comes to a last map of 1 x 1 pixel, Xception to 3 x 3."
)
