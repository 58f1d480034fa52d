"""From regular convolutions (1 segment of channels) through Inception (3, 4) to Xception, with equal parameters

xseg study spectrum

The widths come from `backbones.equal_width`: a network with fewer segments is narrower, so that all networks have the
same number of parameters."""

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
paper = "leaves this for future work, without a measurement (Section 5)."
caveat = "equal parameters do not mean equal multiply-adds or time; the columns show both."
axis = "variant"
axis_title = "segments of the channels"
