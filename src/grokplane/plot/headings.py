"""The lines above a figure's panels, wrapped to its width."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = style.FONT + 2  # points
LINE = 1.3 * SIZE / 72  # inches from one line to the next
MOST = 3  # lines that one text may take; what is longer is cut
# Lines hold equally many characters, not equally wide ones.
UNEVEN = 0.88


def wrapped(text: str, width: float) -> list[str]:
    """The lines of a text, each of them narrower than a figure of `width` inches; what does not fit ends in dots."""
    return [line for part in text.split("\n") if part for line in _wrapped(part, width)]


def _wrapped(text: str, width: float) -> list[str]:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    taken, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=SIZE), ismath=False)
    room = 72 * width
    if taken <= 0.98 * room:
        return [text]
    characters = max(8, int(UNEVEN * room / taken * len(text)))
    return textwrap.wrap(text, characters, max_lines=MOST, placeholder=" ...", break_on_hyphens=False)


def heading(figure: Figure, *texts: str) -> None:
    """Write texts above the panels of a figure whose layout makes room for them; empty ones are left out."""
    lines = [line for text in texts for line in wrapped(text, figure.get_figwidth())]
    figure.suptitle("\n".join(lines), fontsize=SIZE, parse_math=False)
