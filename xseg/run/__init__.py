"""What the commands and the Python API share: train, evaluate, predict, load."""
