"""Data sets: which samples there are, and where their files lie."""
