"""Readers: one module for each file format, giving arrays and plain values."""
