"""Wider or deeper? Channels and modules of the middle flow, scaled

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
paper = "one size only is reported."
caveat = "larger networks usually need more steps, not fewer; equal steps favour small ones."
axis = "gmac"
axis_title = "10^9 multiply-adds an image"
