"""Conversion of data sets of other layouts to layouts that configs can read."""
