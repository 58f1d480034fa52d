"""Weights of every source: published names, addresses and files -> our models, strictly."""

from xseg.weights.loading import Weights, load_weights, read_weights
from xseg.weights.published import PUBLISHED, Published
from xseg.weights.safe import save_safetensors

__all__ = ["PUBLISHED", "Published", "Weights", "load_weights", "read_weights", "save_safetensors"]
