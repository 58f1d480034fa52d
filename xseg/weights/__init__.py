"""Load weights from published names, Hub addresses and files into our models, with strict name and shape checks."""

from xseg.weights.loading import Weights, load_weights, read_weights
from xseg.weights.published import PUBLISHED, Published
from xseg.weights.safe import save_safetensors

__all__ = ["PUBLISHED", "Published", "Weights", "load_weights", "read_weights", "save_safetensors"]
