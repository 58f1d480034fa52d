"""Augmentations of samples, in addition to those of torchvision.transforms.v2."""
