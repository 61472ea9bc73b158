"""How does a file look as one picture?"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.viewing.plots import histogram_edges, ratio_words
from chunkstore.viewing.style import CLASS_COLOURS, DAY, OTHER_COLOUR
from chunkstore.viewing.text import (
    cut,
    format_nbytes,
    format_number,
    format_ratio,
    format_shape,
    plural,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.viewing.array_look import ArrayLook
    from chunkstore.viewing.labelling import Labelling
    from chunkstore.viewing.looking import Look
    from chunkstore.viewing.pictures import Picture

_WIDTH: Final = 13.0
_DPI: Final = 100
_SHEET_COLUMNS: Final = 16
_SHEET_HEIGHT: Final = 1.05
_PLOT_HEIGHT: Final = 3.0
# Panels of a picture that is still one to look at.
_MOST_SHEETS, _MOST_SHEET_PICTURES, _MOST_PLOTS = 3, 64, 12
_MOST_CLASSES: Final = 20
_MOST_ARRAYS: Final = 12
_MOST_DAMAGE: Final = 5
_CAPTION: Final = 12
# In the file instead of matplotlib's name and version: the same picture gives the same bytes.
SOFTWARE: Final = "chunkstore view"


def figure_of(look: Look) -> Any:
    """Return a file as a ``matplotlib.figure.Figure``: pictures, labels, values, chunks."""
    sheets = [array for array in look.arrays if array.pictures][:_MOST_SHEETS]
    plots = _plots(look)[:_MOST_PLOTS]
    sheet_heights = [_sheet_height(len(sheet.pictures)) for sheet in sheets]
    num_rows = math.ceil(len(plots) / 3)
    text = _words(look)
    text_height = 0.185 * (text.count("\n") + 1) + 0.25
    heights = [text_height, *sheet_heights, *([_PLOT_HEIGHT] * num_rows)]
    figure = new_figure(_WIDTH, sum(heights))
    parts = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    parts[0].text(0.012, 0.97, text, va="top", family="monospace", fontsize=9)
    for part, sheet in zip(parts[1:], sheets, strict=False):
        axes = part.subplots()
        _draw_sheet(axes, sheet.pictures, sheet.captions, _title(sheet))
    for row, part in enumerate(parts[1 + len(sheets) :]):
        columns = part.subplots(1, 3)
        for axes in columns:
            axes.set_axis_off()
        for axes, draw in zip(columns, plots[row * 3 : row * 3 + 3], strict=False):
            axes.set_axis_on()
            draw(axes)
    return figure


def sheet_figure(pictures: Sequence[Picture], captions: Mapping[int, str], title: str) -> Any:
    """Return a contact sheet as a ``matplotlib.figure.Figure``."""
    figure = new_figure(_WIDTH, max(_sheet_height(len(pictures), most=len(pictures)), 1.0))
    _draw_sheet(figure.subplots(), pictures, captions, title)
    return figure


def array_figure(look: ArrayLook) -> Any:
    """Return what there is to draw of an array that holds no images."""
    draws = _array_plots(look)
    figure = new_figure(4.4 * max(len(draws), 1), 3.6)
    if not draws:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"{_title(look)}: nothing to draw", ha="center", va="center")
        return figure
    for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(draws))), draws, strict=True):
        draw(axes)
    return figure


def as_png(figure: Any) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A font has not all characters of the world: a box stands for the others.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": SOFTWARE})
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Any:
    """Return a figure that needs no display and that no global state knows.

    Raises
    ------
    ImportError
        Matplotlib is not installed; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "PNG pictures of files need matplotlib: pip install 'chunkstore[plot]'; HTML pages "
            "need nothing"
        ) from error
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _plain(text: str, most: int) -> str:
    """Return text that others wrote, for matplotlib: a dollar sign begins no formula."""
    return cut(visible(text), most).replace("$", r"\$")


def _title(look: ArrayLook) -> str:
    return _plain(look.name or "(root)", 40)


def _words(look: Look) -> str:
    store = look.store
    ratio = store.nbytes / store.encoded_nbytes if store.encoded_nbytes else None
    lines = [
        _plain(PurePath(store.path).name, 100),
        ", ".join(
            (
                plural(store.num_samples, "sample"),
                f"{format_nbytes(store.file_nbytes)} on disk",
                f"{format_nbytes(store.nbytes)} decoded",
                f"ratio {format_ratio(ratio)}",
            )
        ),
    ]
    for array in list(store.values())[:_MOST_ARRAYS]:
        own = array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None
        lines.append(
            f"  {_plain(array.name or '(root)', 30):30}  {format_shape(array.shape):24}  "
            f"{cut(str(array.dtype), 20):20}  {plural(array.num_chunks, 'chunk'):>15}  "
            f"{array.codec:22}  ratio {format_ratio(own)}"
        )
    if len(store) > _MOST_ARRAYS:
        lines.append(f"  {plural(len(store) - _MOST_ARRAYS, 'array')} more")
    lines += [f"DAMAGE  {_plain(entry.message, 150)}" for entry in look.damage[:_MOST_DAMAGE]]
    if look.advice_text is not None:
        lines.append(f"mixing  {_plain(look.advice_text, 150)}")
    return "\n".join(lines)


def _plots(look: Look) -> list[Callable[[Any], None]]:
    draws: list[Callable[[Any], None]] = []
    labelling = look.labelling
    if labelling is not None:
        if labelling.counts is not None:
            draws.append(lambda axes: _draw_counts(axes, labelling))
        if labelling.along is not None:
            draws.append(lambda axes: _draw_along(axes, labelling))
    for array in look.arrays:
        draws += _array_plots(array)
    return draws


def _array_plots(look: ArrayLook) -> list[Callable[[Any], None]]:
    draws: list[Callable[[Any], None]] = []
    if look.scatter is not None:
        draws.append(lambda axes: _draw_scatter(axes, look))
    if look.summary.histogram is not None and not look.summary.is_constant:
        draws.append(lambda axes: _draw_histogram(axes, look))
    if len(look.compression.mean) > 1:
        draws.append(lambda axes: _draw_ratios(axes, look))
    return draws


def _sheet_height(count: int, *, most: int = _MOST_SHEET_PICTURES) -> float:
    rows = math.ceil(min(count, most) / _SHEET_COLUMNS)
    return rows * _SHEET_HEIGHT + 0.4


def _draw_sheet(
    axes: Any, pictures: Sequence[Picture], captions: Mapping[int, str], title: str
) -> None:
    """Draw pictures as one mosaic, so that a sheet takes a moment, not seconds."""
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=10)
    shapes = [picture.pixels.shape[:2] for picture in pictures if picture.pixels is not None]
    if not shapes:
        return
    side = max(max(shape) for shape in shapes)
    # Room for a line of text below each.
    room, gap = math.ceil(side * 0.3), math.ceil(side * 0.08)
    columns = min(_SHEET_COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    mosaic = np.full((rows * (side + room), columns * (side + gap), 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * (side + room), place % columns * (side + gap)
        number = picture.number
        text = "" if number is None else _plain(captions.get(number, f"#{number}"), _CAPTION)
        if picture.pixels is None:
            mosaic[top : top + side, left : left + side] = (250, 225, 222)
            text = "damaged"
        else:
            height, width = picture.pixels.shape[:2]
            pixels = _in_colour(picture.pixels)
            mosaic[top : top + height, left : left + width] = pixels
        axes.text(left, top + side + room * 0.1, text, va="top", fontsize=7)
    axes.imshow(mosaic, interpolation="nearest", aspect="equal")
    # Few pictures stay as small as many are.
    axes.set_xlim(-0.5, max(mosaic.shape[1], _SHEET_COLUMNS * (side + gap)) - 0.5)
    axes.set_ylim(mosaic.shape[0] - 0.5, -0.5)


def _in_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels


def _draw_counts(axes: Any, labelling: Labelling) -> None:
    counts = labelling.counts or ()
    shown = list(counts)
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda entry: -entry[1])[:_MOST_CLASSES]
    axes.barh(range(len(shown)), [count for _, count in shown], color=DAY["accent"])
    names = [_plain(name, 18) for name, _ in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.invert_yaxis()
    more = f", {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    axes.set_title(f"samples of each class{more}", fontsize=9, loc="left")


def _draw_along(axes: Any, labelling: Labelling) -> None:
    along = labelling.along
    if along is None:
        return
    axes.set_title("labels along the file", fontsize=9, loc="left")
    axes.set_xticks([])
    if along.shares is None:
        _draw_band(axes, along.low, along.middle, along.high)
        return
    bottom = np.zeros(len(along.shares))
    colours = [*CLASS_COLOURS[: along.shares.shape[1] - 1], OTHER_COLOUR]
    names = [*labelling.class_order, "others"]
    for column, (colour, name) in enumerate(zip(colours, names, strict=True)):
        shares = np.nan_to_num(along.shares[:, column])
        if shares.any():
            axes.bar(np.arange(len(shares)), shares, 1.0, bottom, color=colour, label=_label(name))
        bottom += shares
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.5, len(along.shares) - 0.5)
    _draw_legend(axes)


def _draw_scatter(axes: Any, look: ArrayLook) -> None:
    scatter = look.scatter
    if scatter is None:
        return
    groups = [(DAY["accent"], "", np.ones(len(scatter.points), bool))]
    if look.point_labels is not None:
        labels = np.array(look.point_labels)
        order = look.class_order
        groups = [
            (colour, name, labels == name)
            for colour, name in zip(CLASS_COLOURS, order, strict=False)
        ]
        groups.append((OTHER_COLOUR, "others", ~np.isin(labels, order)))
    for colour, name, chosen in groups:
        if chosen.any():
            label = _label(name) if name else None
            axes.scatter(*scatter.points[chosen].T, s=8, color=colour, alpha=0.75, label=label)
    axes.set_xticks([])
    axes.set_yticks([])
    title = f"{_title(look)}: principal components"
    axes.set_title(title, fontsize=9, loc="left")
    if look.point_labels is not None:
        _draw_legend(axes)


def _draw_histogram(axes: Any, look: ArrayLook) -> None:
    histogram = look.summary.histogram
    if histogram is None:
        return
    axes.bar(np.arange(len(histogram.counts)), histogram.counts, 0.95, color=DAY["accent"])
    low, high = histogram_edges(look.summary)
    axes.set_xticks([0, len(histogram.counts) - 1], [low, high])
    axes.set_yticks([])
    strange = look.summary.num_nan + look.summary.num_infinite
    note = f", {format_number(strange)} NaN or infinite" if strange else ""
    axes.set_title(f"{_title(look)}: values{note}", fontsize=9, loc="left")


def _draw_ratios(axes: Any, look: ArrayLook) -> None:
    found = look.compression
    _draw_band(axes, found.low, found.mean, found.high)
    axes.set_ylim(0, 1.1 * float(np.nanmax(found.high)))
    axes.set_xticks([])
    title = f"{_title(look)}: ratio along the file"
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(ratio_words(found), fontsize=8)


def _draw_band(axes: Any, low: Any, middle: Any, high: Any) -> None:
    steps = np.arange(len(middle))
    axes.fill_between(steps, low, high, step="mid", color=DAY["area"])
    axes.step(steps, middle, where="mid", color=DAY["accent"])


def _draw_legend(axes: Any) -> None:
    axes.legend(fontsize=6, loc="upper right", framealpha=0.8)


def _label(name: str) -> str:
    """Return a name for a legend, which leaves out what begins with an underscore."""
    return " " + _plain(name, _CAPTION)
