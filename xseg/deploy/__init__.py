"""Fast prediction: folded BatchNorms, packed convolutions, other engines, and export to ONNX."""
