"""Depthwise or pointwise convolution first? (The extreme Inception module has the latter, Fig. 4)

xseg study order"""

variants = {
    "depthwise first": {},
    "pointwise first": {"model.backbone.order": "pointwise_first"},
}
paper = "the order is taken to be unimportant, as the modules are stacked (Section 1.2); it is not measured."
caveat = (
    "pointwise first, the depthwise convolutions work on more channels: a little more parameters, more multiply-adds."
)
sizes = dict(
    cpu=dict(
        config="shapes/study",
        options={"train_cfg.max_iters": 360, "train_cfg.val_interval": 72},
        seeds=[0, 1, 2],
    ),
    gpu=dict(config="imagenet/study", seeds=[0, 1, 2]),
)
