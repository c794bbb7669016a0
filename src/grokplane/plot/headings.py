"""The lines above a figure's panels, wrapped to its width."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = style.FONT + 2  # points
LINE = 1.3 * SIZE / 72  # inches from one line to the next
MOST = 4  # lines that one text may take; what is longer is cut
FILLED = 0.95  # of the figure's width, at most: drawn characters are whole pixels wide
FEWEST = 8  # characters of a line


def wrapped(text: str, width: float) -> list[str]:
    """The lines of a text, each of them narrower than a figure of `width` inches; what does not fit ends in dots."""
    return [line for part in text.split("\n") if part for line in _wrapped(part, width)]


def _wrapped(text: str, width: float) -> list[str]:
    """Lines of equally many characters, as many as the widest of them has room for."""
    lines, characters = [text], len(text)
    while max(map(inches, lines)) > FILLED * width and characters > FEWEST:
        characters = max(FEWEST, int(0.9 * min(characters, len(text) * width / inches(text))))
        joined = text.replace(" = ", "\u00a0=\u00a0")  # no line ends inside of it
        lines = textwrap.wrap(joined, characters, max_lines=MOST, placeholder=" ...", break_on_hyphens=False)
        lines = [line.replace("\u00a0", " ") for line in lines]
    return lines


def inches(text: str, size: float = SIZE) -> float:
    """How wide a line of text of so many points is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0] / 72


def heading(figure: Figure, *texts: str) -> None:
    """Write texts above the panels of a figure whose layout makes room for them; empty ones are left out."""
    lines = [line for text in texts for line in wrapped(text, figure.get_figwidth())]
    figure.suptitle("\n".join(lines), fontsize=SIZE, parse_math=False)
