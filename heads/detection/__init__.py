"""Heads that find objects, with boxes and masks, and the parts that they share."""
