"""Upsampling of logits without a fine map of all classes: on a CPU, and in Triton on a GPU."""
