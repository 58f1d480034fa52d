"""Depthwise and separable convolutions by kernels: on a CPU, and in Triton on a GPU."""
