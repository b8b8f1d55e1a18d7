"""What every training loop shares: the rate's schedule, a bar that counts."""

import math
import sys

from tqdm import tqdm


def warmup_cosine(step, steps, warmup=0):
    """Share of the learning rate at `step` of `steps`: a line up to 1, then a half cosine to 0.

    warmup  steps of the line; 0 starts at 1
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def progress(items, words, start=0):
    """`items`, counted by a bar on one line of standard output; no bar where `words` is empty.

    words  what is being done, at most 33 characters of it
    start  how many were done before
    """
    items = list(items)
    return tqdm(
        items,
        desc=words[:33],
        initial=start,
        total=start + len(items),
        disable=not words,
        file=sys.stdout,
        mininterval=0.5,
        bar_format="{desc:<34}{bar:24} {n_fmt}/{total_fmt}, {remaining} left",
    )
