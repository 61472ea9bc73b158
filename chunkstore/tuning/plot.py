"""How does the choice between size and speed look as a picture?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chunkstore.plotting import new_figure
from chunkstore.tuning.recommending import describe
from chunkstore.tuning.rounds import front

if TYPE_CHECKING:
    from chunkstore.tuning.report import TuneReport
    from chunkstore.tuning.results import CodecSpeed

_GOAL_MARKS = {
    "fastest_training": ("*", "fastest training"),
    "smallest_file": ("s", "smallest file"),
    "fastest_write": ("D", "fastest write"),
    "default": ("o", "no decision"),
}


def plot_report(report: TuneReport) -> Any:
    """Return a picture of the sizes and speeds of all ways to encode.

    Parameters
    ----------
    report
        Of a run.

    Returns
    -------
    figure
        A ``matplotlib.figure.Figure``: ratio against decoding with the front that none surpasses,
        and ratio against encoding.
    """
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    colours = {
        codec: f"C{number}"
        for number, codec in enumerate(
            dict.fromkeys(speed.choice.codec for speed in (*report.codecs, *report.others))
        )
    }
    for axes, name in ((left, "decode"), (right, "encode")):
        for speed in report.codecs:
            _draw_point(axes, speed, getattr(speed, name), colours[speed.choice.codec])
        for speed in report.others:
            place = (speed.ratio, getattr(speed, name).median / 1e6)
            axes.plot(*place, ".", color=colours[speed.choice.codec], markersize=3, alpha=0.6)
        for peer in report.peers:
            spread = getattr(peer, name)
            axes.plot(peer.ratio, spread.median / 1e6, "x", color="black")
            axes.annotate(peer.name, (peer.ratio, spread.median / 1e6), fontsize="x-small")
        axes.set_yscale("log")
        axes.set_xlabel("ratio: decoded bytes by stored bytes")
        axes.set_ylabel(f"{name}, MB/s of decoded data, {report.threads} threads")
    best = front(report.codecs)
    left.plot([], [], ".", color="gray", markersize=3, label="measured once")
    left.plot(
        [speed.ratio for speed in best],
        [speed.decode.median / 1e6 for speed in best],
        color="gray",
        linestyle="--",
        linewidth=1,
        zorder=0,
        label="the best of those measured in all rounds",
    )
    _mark_goals(left, report)
    for codec, colour in colours.items():
        left.plot([], [], "o", color=colour, label=codec)
    figure.legend(ncols=6, fontsize="small", loc="outside lower center")
    figure.suptitle(report.source, fontsize="small", wrap=True)
    return figure


def _draw_point(axes: Any, speed: CodecSpeed, spread: Any, colour: str) -> None:
    middle = spread.median / 1e6
    ends = [[middle - spread.low / 1e6], [spread.high / 1e6 - middle]]
    axes.errorbar(speed.ratio, middle, yerr=ends, fmt="o", color=colour, markersize=4)


def _mark_goals(axes: Any, report: TuneReport) -> None:
    for item in report.recommendations:
        mark, label = _GOAL_MARKS[item.goal]
        for speed in report.codecs:
            options = speed.choice.options
            if options["typesize"] == report.itemsize:
                options["typesize"] = None
            if all(item.options[key] == value for key, value in options.items()):
                place = (speed.ratio, speed.decode.median / 1e6)
                axes.plot(
                    *place,
                    mark,
                    markersize=13,
                    fillstyle="none",
                    color="black",
                    label=f"{label}: {describe(speed.choice, report.itemsize)}",
                )
