"""From regular convolutions (1 segment of channels) over Inception (3, 4) to Xception, with equal parameters

xseg study spectrum

The widths are those of `backbones.equal_width`: with fewer segments the network is narrower, so that all have the same
number of parameters."""

sizes = dict(
    cpu=dict(
        config="shapes/study",
        seeds=[0, 1, 2],
        variants={
            "1": {"model.backbone.segments": 1, "model.backbone.width": 0.0872},
            "3": {"model.backbone.segments": 3, "model.backbone.width": 0.134},
            "4": {"model.backbone.segments": 4, "model.backbone.width": 0.151},
            "1 a channel": {},
        },
    ),
    gpu=dict(
        config="imagenet/study",
        seeds=[0, 1, 2],
        variants={
            "1": {"model.backbone.segments": 1, "model.backbone.width": 0.3495},
            "3": {"model.backbone.segments": 3, "model.backbone.width": 0.5418},
            "4": {"model.backbone.segments": 4, "model.backbone.width": 0.5961},
            "1 a channel": {},
        },
    ),
)
paper = "left for future work, without a measurement (Section 5)."
caveat = "equal parameters are not equal multiply-adds or time, see the columns."
axis = "variant"
axis_title = "segments of the channels"
