"""Mix numbers into a seed, so that neighbouring seeds and steps give unrelated streams."""

import numpy as np


def mix_seed(*numbers: int) -> int:
    """A 63-bit seed from non-negative integers, equal on all machines and versions (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
