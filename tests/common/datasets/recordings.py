"""Recordings to test with."""

import numpy as np

from common.events.event import pack


def walk(duration, count=400, seed=0):
    """Events at random pixels over `duration` us, the first at 0 and the last at the end."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration, count))
    t[0], t[-1] = 0, duration - 1
    return pack(t, *(rng.integers(0, limit, count) for limit in (128, 128, 2)))
