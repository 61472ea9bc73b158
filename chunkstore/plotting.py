"""How do diagnoses and times look as pictures?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.diagnosis import Diagnosis
    from chunkstore.pipeline.stats import LoaderStats

_MOST_BATCHES = 60
_MOST_CLASSES = 12


def new_figure(width: float, height: float) -> Any:
    """Return a figure that needs no display and that no global state knows."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'chunkstore[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def plot_stats(stats: LoaderStats) -> Any:
    """Return a picture of where a loader's time went.

    Parameters
    ----------
    stats
        Of a loader.

    Returns
    -------
    figure
        A ``matplotlib.figure.Figure``: the time of the reading threads by what they did, and the
        time that the consumer waited.
    """
    figure = new_figure(7, 2.2)
    axes = figure.subplots()
    start = 0.0
    for name, seconds in stats.thread_seconds.items():
        axes.barh("threads", seconds, left=start, label=name)
        start += seconds
    axes.barh("consumer", stats.wait_seconds, color="tab:gray", label="waited for data")
    axes.set_xlabel("seconds")
    axes.set_title(stats.advice, fontsize="small", wrap=True)
    axes.legend(ncols=5, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.35))
    return figure


def plot_diagnosis(diagnosis: Diagnosis) -> Any:
    """Return a picture of how well batches are mixed.

    Parameters
    ----------
    diagnosis
        Of a loader.

    Returns
    -------
    figure
        A ``matplotlib.figure.Figure``: what a batch is worth for windows of all sizes, with the
        present one marked; and the classes of the first batches, if the labels are classes.
    """
    shares = diagnosis.batch_shares
    figure = new_figure(10 if shares is not None else 5.5, 3.6)
    left, *others = np.atleast_1d(figure.subplots(1, 1 if shares is None else 2))
    windows = np.unique(np.geomspace(1, max(diagnosis.num_units, 2), 60).astype(int))
    left.plot(windows, [diagnosis.effective_at(int(window)) for window in windows])
    left.plot(diagnosis.window, diagnosis.effective_batch_size, "o", color="tab:red", label="now")
    samples = diagnosis.batch_samples
    left.axhline(samples, color="gray", linestyle=":", label="samples of a batch")
    left.axhline(samples / 2, color="gray", linestyle="--", label="half of them")
    left.set_xscale("log")
    left.set_ylim(bottom=0)
    left.set_xlabel("chunks in a window")
    left.set_ylabel("independent samples of a batch")
    left.set_title(f"rho = {diagnosis.rho:.3f}")
    left.legend(fontsize="small")
    for axes in others:
        if shares is not None:
            _draw_shares(axes, shares[:_MOST_BATCHES], diagnosis.classes)
    return figure


def _draw_shares(axes: Any, shares: Any, classes: Sequence[str]) -> None:
    largest = np.argsort(-shares.sum(axis=0), kind="stable")[:_MOST_CLASSES]
    layers = [shares[:, index] for index in largest]
    rest = 1 - np.sum(layers, axis=0)
    names = [f"class {classes[index]}" for index in largest]
    if rest.max() > 0:
        layers.append(rest)
        names.append("others")
    steps = np.arange(len(shares))
    bottom = np.zeros(len(shares))
    for layer, name in zip(layers, names, strict=True):
        axes.bar(steps, layer, bottom=bottom, width=1.0, label=name)
        bottom = bottom + layer
    axes.set_xlabel("batch")
    axes.set_ylabel("share of its samples")
    axes.set_title("classes of the first batches")
    axes.set_ylim(0, 1)
