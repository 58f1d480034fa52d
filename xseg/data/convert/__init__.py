"""Data sets of other layouts -> layouts that configs read."""
