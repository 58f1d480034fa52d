"""Training, evaluation, prediction and loading, for the commands and the Python API."""
