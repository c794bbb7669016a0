"""The heading of a figure, wrapped to its width."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = style.FONT + 2  # font size in points
LINE = 1.3 * SIZE / 72  # line spacing in inches
MOST = 4  # largest number of lines of one text; longer texts are cut
FILLED = 0.95  # largest share of the figure's width; drawn characters are rounded to whole pixels
FEWEST = 8  # smallest number of characters in a line


def wrapped(text: str, width: float) -> list[str]:
    """Wrap a text into lines narrower than a figure of `width` inches; a text that is too long ends in dots."""
    return [line for part in text.split("\n") if part for line in _wrapped(part, width)]


def _wrapped(text: str, width: float) -> list[str]:
    """Wrap to a number of characters at which the widest line fits."""
    lines, characters = [text], len(text)
    while max(map(inches, lines)) > FILLED * width and characters > FEWEST:
        characters = max(FEWEST, int(0.9 * min(characters, len(text) * width / inches(text))))
        joined = text.replace(" = ", "\u00a0=\u00a0")  # do not break a line here
        lines = textwrap.wrap(joined, characters, max_lines=MOST, placeholder=" ...", break_on_hyphens=False)
        lines = [line.replace("\u00a0", " ") for line in lines]
    return lines


def inches(text: str, size: float = SIZE) -> float:
    """Width in inches of a line of text at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0] / 72


def heading(figure: Figure, *texts: str) -> None:
    """Write texts above the panels of a figure with constrained layout; empty texts are left out."""
    lines = [line for text in texts for line in wrapped(text, figure.get_figwidth())]
    figure.suptitle("\n".join(lines), fontsize=SIZE, parse_math=False)
