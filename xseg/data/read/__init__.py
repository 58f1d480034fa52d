"""Files of every format -> arrays and plain values, one module a format."""
