"""Text of any script in figures: picks installed fonts that have its letters, and escapes letters that none has."""

import contextlib
import functools
import unicodedata

from absl import logging
from matplotlib import font_manager, ft2font, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

_LAST_RESORT = "Last Resort"  # claims every letter, but draws boxes


def drawable(text: str) -> str:
    """Writes letters that no font of this machine has as `<U+5E74>`, and logs a warning that names them."""
    missing = sorted({letter for letter in text if not _is_plain(letter) and not _font_with(letter)})
    if missing:
        _warn("".join(missing))
    return "".join(f"<U+{ord(letter):04X}>" if letter in missing else letter for letter in text)


def width(text: str) -> int:
    """Number of letters, counting wide East Asian ones as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def use(figure: Figure) -> None:
    """Sets further fonts for texts of a figure whose letters the default font lacks; see drawable()."""
    for axes in figure.axes:
        axes.get_xticklabels(), axes.get_yticklabels()  # fills in the texts of the ticks
    texts = [text for text in figure.findobj(match=Text) if not all(map(_is_plain, text.get_text()))]
    for text in texts:
        shown = drawable(text.get_text())
        families = dict.fromkeys(_font_with(letter) for letter in shown if not _is_plain(letter))
        text.set_fontfamily([*rcParams["font.sans-serif"][:1], *filter(None, families)])
        if shown != text.get_text():
            text.set_text(shown)


@functools.lru_cache(maxsize=4096)
def _is_plain(letter: str) -> bool:
    """Whether matplotlib's default font has the letter, or it is a space."""
    return letter.isspace() or ord(letter) in _letters(font_manager.findfont("DejaVu Sans"))


@functools.lru_cache(maxsize=4096)
def _font_with(letter: str) -> str:
    """The first font family that has the letter, upright regular fonts first; "" if none has."""
    return next((font.name for font in _all_fonts() if ord(letter) in _letters(font.fname)), "")


@functools.cache
def _all_fonts() -> list[font_manager.FontEntry]:
    """Fonts of matplotlib and of this machine, including those installed since matplotlib cached its list."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        with contextlib.suppress(Exception):  # FreeType raises many kinds on an unreadable file
            font_manager.fontManager.addfont(path)
    fonts = (font for font in font_manager.fontManager.ttflist if not font.name.startswith(_LAST_RESORT))
    return sorted(fonts, key=lambda font: (font.weight not in (400, "normal"), font.style != "normal", font.name))


@functools.cache
def _letters(path: str) -> frozenset[int]:
    return frozenset(ft2font.FT2Font(path).get_charmap())


@functools.cache
def _warn(letters: str) -> None:
    logging.warning(
        "No font on this machine has the letters %s: figures show them as %s. Install a font that has them, such as "
        "Noto Sans CJK for Chinese (Debian: apt-get install fonts-noto-cjk).",
        letters[:20],
        f"<U+{ord(letters[0]):04X}>",
    )
