"""Heads that classify every pixel."""
