"""Generated epochs: chunks that are empty, tiny and unequal, more lanes than samples."""

from __future__ import annotations

from hypothesis import strategies as st

LANES = (1, 2, 3, 4, 6)


@st.composite
def plan_arguments(draw, last=("keep", "drop", "pad"), shuffle=(True, False)):
    """Return the arguments of an EpochPlan with at least one sample."""
    counts = draw(
        st.lists(st.integers(0, 40) | st.sampled_from([0, 1]), min_size=1, max_size=24).filter(any)
    )
    lanes = draw(st.sampled_from(LANES))
    return {
        "counts": counts,
        "seed": draw(st.integers(0, 2**64 - 1)),
        "epoch": draw(st.integers(0, 5)),
        "batch_size": lanes * draw(st.integers(1, 9)),
        "window": draw(st.integers(1, 8)),
        "run": draw(st.sampled_from([1, 1, 2, 3, 30])),
        "lanes": lanes,
        "shuffle": draw(st.sampled_from(shuffle)),
        "last": draw(st.sampled_from(last)),
    }


def all_samples(counts):
    """Return every (chunk, sample) of the file, in its order."""
    return [(chunk, sample) for chunk, count in enumerate(counts) for sample in range(count)]


def delivered(plan, **kwargs):
    """Return the valid samples of an epoch as (chunk, sample) tuples."""
    return [
        tuple(pair)
        for batch in plan.batches(**kwargs)
        for pair in batch.samples[batch.valid].tolist()
    ]
