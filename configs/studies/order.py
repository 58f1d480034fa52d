"""Depthwise or pointwise convolution first? (The extreme Inception module of Fig. 4 has the pointwise one first)

xseg study order"""

variants = {
    "depthwise first": {},
    "pointwise first": {"model.backbone.order": "pointwise_first"},
}
paper = "assumes that the order is unimportant because the modules are stacked (Section 1.2), without a measurement."
caveat = (
    "with the pointwise convolution first, the depthwise one works on more channels, which costs slightly more "
    "parameters and multiply-adds."
)
sizes = dict(
    cpu=dict(
        config="shapes/study",
        options={"train_cfg.max_iters": 360, "train_cfg.val_interval": 72},
        seeds=[0, 1, 2],
    ),
    gpu=dict(config="imagenet/study", seeds=[0, 1, 2]),
)
