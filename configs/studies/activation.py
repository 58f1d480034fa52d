"""What between the depthwise and the pointwise convolution: nothing, an activation, BatchNorm? (Fig. 10)

xseg study activation"""

variants = {
    "nothing": {},
    "ReLU": {"model.backbone.activation": "relu"},
    "ELU": {"model.backbone.activation": "elu"},
    "BatchNorm": {"model.backbone.inner_bn": True},
}
paper = "nothing in between converges faster, and to a higher accuracy, than ReLU or ELU (Section 4.7)."
better = [("nothing", "ReLU"), ("nothing", "ELU")]
caveat = (
    "the paper compares over a whole training on ImageNet; BatchNorm in between is DeepLab's addition, not in the "
    "paper. Weights start at one scale for all, not at one that an activation in between would ask for."
)
sizes = dict(
    cpu=dict(config="shapes/study", seeds=[0, 1, 2]),
    gpu=dict(config="imagenet/study", seeds=[0, 1, 2]),
)
