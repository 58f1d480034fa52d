"""Upsampling of logits without a map of all classes: on a CPU, and in Triton on a GPU."""
