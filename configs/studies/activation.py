"""An activation or BatchNorm between the depthwise and the pointwise convolution, or nothing? (Fig. 10)

xseg study activation"""

variants = {
    "nothing": {},
    "ReLU": {"model.backbone.activation": "relu"},
    "ELU": {"model.backbone.activation": "elu"},
    "BatchNorm": {"model.backbone.inner_bn": True},
}
paper = "nothing in between converges faster than ReLU or ELU, and to a higher accuracy (Section 4.7)."
better = [("nothing", "ReLU"), ("nothing", "ELU")]
caveat = (
    "the paper compares whole trainings on ImageNet. BatchNorm in between comes from DeepLab, not from this paper. All "
    "variants start from weights of the same scale, which is not adapted to an activation in between."
)
sizes = dict(
    cpu=dict(config="shapes/study", seeds=[0, 1, 2]),
    gpu=dict(config="imagenet/study", seeds=[0, 1, 2]),
)
