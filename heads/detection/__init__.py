"""Heads that detect objects, as boxes or masks, and the parts that they share."""
