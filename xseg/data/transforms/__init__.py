"""Augmentations of samples, beside those of torchvision.transforms.v2."""
