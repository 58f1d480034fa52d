"""Depthwise, pointwise and separable convolutions: one function each, which chooses a kernel of the CPU or GPU."""
