"""How is a picture drawn that reads well on light and dark pages?

Every picture is a card with a background of its own, whose colours follow the reader's system.
Cells keep their colour, and say with a letter or number what the colour says.
"""

from __future__ import annotations

from html import escape
from typing import Final

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

# Class to its colours on light and on dark pages. Text has a contrast of 4.5 or more on its card.
COLOURS: Final = {
    "card": ("#ffffff", "#161b22"),
    "text": ("#1f2328", "#e6edf3"),
    "faint": ("#59636e", "#9198a1"),
    "mark": ("#0a5fc2", "#6cb6ff"),
    "edge": ("#8c959f", "#6e7681"),
}
# Fills of cells, and of what is written on them; as good on both pages.
CELLS: Final = (
    "#f6b26b",
    "#9fc5e8",
    "#b6d7a8",
    "#ea9999",
    "#c9b3e6",
    "#ffe599",
    "#a2d9ce",
    "#f4b6d2",
    "#d5c4a1",
    "#aab7f0",
    "#d9ead3",
    "#c4c9cf",
)
ON_CELL: Final = "#1f2328"


class Picture:
    """An SVG document that grows by shapes.

    Parameters
    ----------
    width, height
        In pixels.
    title, description
        For people who hear the picture.
    """

    def __init__(self, width: int, height: int, *, title: str, description: str) -> None:
        self._size = (width, height)
        self._shapes: list[str] = [
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            _style(),
        ]
        self._shapes.append(
            f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" '
            'rx="6" stroke-width="1"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        kind: str = "text",
        size: int = 13,
        at: str = "start",
    ) -> None:
        """Write words; ``at`` is the anchor, start, middle or end."""
        self._shapes.append(
            f'<text class="{kind}" x="{_number(x)}" y="{_number(y)}" font-size="{size}" '
            f'text-anchor="{at}">{escape(words)}</text>'
        )

    def cell(
        self, x: float, y: float, width: float, height: float, *, colour: int, word: str = ""
    ) -> None:
        """Draw a filled cell with a word in it."""
        fill = CELLS[colour % len(CELLS)]
        self._shapes.append(
            f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}" fill="{fill}"/>'
        )
        if word:
            self._shapes.append(
                f'<text x="{_number(x + width / 2)}" y="{_number(y + height / 2 + 3.5)}" '
                f'font-size="10" text-anchor="middle" fill="{ON_CELL}">{escape(word)}</text>'
            )

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a border around something."""
        self._shapes.append(
            f'<rect class="frame" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}" rx="3"/>'
        )

    def dots(self, points: list[tuple[float, float]], *, radius: float = 1.3) -> None:
        """Draw dots of one kind."""
        path = "".join(
            f"M{_number(x - radius)} {_number(y)}a{radius} {radius} 0 1 0 {2 * radius} 0"
            f"a{radius} {radius} 0 1 0 -{2 * radius} 0"
            for x, y in points
        )
        self._shapes.append(f'<path class="mark" d="{path}"/>')

    def line(self, points: list[tuple[float, float]], *, kind: str = "rule") -> None:
        """Draw a line through points; ``kind`` is rule or trace."""
        path = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._shapes.append(f'<path class="{kind}" d="M{path}"/>')

    def __str__(self) -> str:
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="{FONT}">'
        )
        return "\n".join([head, *self._shapes, "</svg>", ""])


def _style() -> str:
    def rules(page: int) -> str:
        card, edge = COLOURS["card"][page], COLOURS["edge"][page]
        words = "".join(
            f".{kind}{{fill:{COLOURS[kind][page]}}}" for kind in ("text", "faint", "mark")
        )
        lines = (
            f".card{{fill:{card};stroke:{edge}}}.frame{{fill:none;stroke:{COLOURS['text'][page]}}}"
            f".rule{{fill:none;stroke:{edge}}}.trace{{fill:none;stroke:{COLOURS['mark'][page]}}}"
        )
        return words + lines

    dark = f"@media (prefers-color-scheme: dark){{{rules(1)}}}"
    return f"<style>{rules(0)}{dark}</style>"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
