"""Does Xception need its residual connections? (Fig. 9)

xseg study residual"""

variants = {
    "with residuals": {},
    "without": {"model.backbone.residual": False},
}
paper = "without residual connections Xception converges more slowly and to a lower accuracy (Section 4.6)."
better = [("with residuals", "without")]
caveat = (
    "a few hundred steps on four drawn classes show only the beginning of a training profile; the paper trains to the "
    "end on ImageNet."
)
sizes = dict(
    cpu=dict(
        config="shapes/study",
        options={"train_cfg.max_iters": 360, "train_cfg.val_interval": 72},
        seeds=[0, 1, 2],
    ),
    gpu=dict(config="imagenet/study", seeds=[0, 1, 2]),
)
