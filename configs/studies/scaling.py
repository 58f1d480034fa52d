"""Wider or deeper? The channels, and the number of modules of the middle flow, are scaled

xseg study scaling"""

sizes = dict(
    cpu=dict(
        config="shapes/study",
        seeds=[0, 1, 2],
        variants={
            "3/16 wide, 8 modules": {"model.backbone.width": 0.1875},
            "1/4 wide, 4 modules": {"model.backbone.num_middle": 4},
            "1/4 wide, 8 modules": {},
            "5/16 wide, 8 modules": {"model.backbone.width": 0.3125},
        },
    ),
    gpu=dict(
        config="imagenet/study",
        seeds=[0, 1, 2],
        variants={
            "1/2 wide, 8 modules": {"model.backbone.width": 0.5},
            "1 wide, 4 modules": {"model.backbone.num_middle": 4},
            "1 wide, 8 modules": {},
            "1 wide, 16 modules": {"model.backbone.num_middle": 16},
            "3/2 wide, 8 modules": {"model.backbone.width": 1.5},
        },
    ),
)
paper = "reports one size only."
caveat = "larger networks usually need more steps; equal steps favour small networks."
axis = "gmac"
axis_title = "10^9 multiply-adds per image"
