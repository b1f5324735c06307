r"""LaTeX tables (booktabs) that compile with pdflatex, whatever characters names contain.

The preamble needs `\usepackage{booktabs,longtable,pdflscape}`; every file says so in its first line.
"""

import re
import unicodedata
from collections.abc import Sequence

_LONG = 40  # rows; longer tables span several pages
_WIDE = 75  # characters per row; wider tables are in landscape
_SENTENCE = 40  # characters; longer cells of words are wrapped
_SIGNS = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",
    "]": "{]}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{THIN SPACE}": r"\,",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "§": r"\S{}",
    "ß": r"{\ss}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
    "œ": r"{\oe}",
    "Œ": r"{\OE}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "ł": r"{\l}",
    "Ł": r"{\L}",
    "ı": r"{\i}",
}
_MATHS = {
    "±": r"\pm",
    "×": r"\times",
    "·": r"\cdot",
    "÷": r"\div",
    "°": r"^\circ",
    "²": "^2",
    "³": "^3",
    "¹": "^1",
    "µ": r"\mu",
    "¬": r"\neg",
    "∞": r"\infty",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "→": r"\rightarrow",
    "●": r"\bullet",
    "○": r"\circ",
}
_GREEK = frozenset("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ")
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r ",
    "\N{COMBINING CARON}": "v ",
    "\N{COMBINING BREVE}": "u ",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H ",
    "\N{COMBINING CEDILLA}": "c ",
}


def escape(text: str) -> str:
    """Converts text to one line of ASCII for pdflatex; characters without a font become `<U+5E74>`."""
    line = re.sub(r"[ \t\r\n\f\v]+", " ", str(text)).strip()
    return "".join(map(_letter, unicodedata.normalize("NFC", line))).strip()


def _letter(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter in _MATHS:
        return f"${_MATHS[letter]}$"
    if letter.isascii():
        return letter if letter.isprintable() else ""
    base, *accents = unicodedata.normalize("NFD", letter)
    if base.isascii() and len(accents) == 1 and accents[0] in _ACCENTS:
        return f"{{\\{_ACCENTS[accents[0]]}{base}}}"
    if letter in _GREEK:
        name = unicodedata.name(letter).rpartition(" ")[2].replace("LAMDA", "LAMBDA")
        return f"$\\{name.lower() if letter.islower() else name.capitalize()}$"
    return f"$<$U+{ord(letter):04X}$>$"


def _in_lines(cell: str) -> str:
    """Wraps a cell that is a long sentence; a long name stays on one line."""
    if len(cell) <= _SENTENCE or max(map(len, cell.split())) > _SENTENCE:
        return cell
    return f"\\parbox[t]{{0.3\\linewidth}}{{\\raggedright {cell}\\strut}}"


def _width(cells: Sequence[str]) -> int:
    """Returns the width of the widest of these cells in characters, plus the column separation."""
    return 2 + max(min(len(re.sub(r"[\\${}]", "", cell)), _SENTENCE) for cell in cells)


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[bool],
    caption: str,
    label: str,
    notes: str = "",
) -> str:
    """Formats a table with caption, label, and notes below it.

    Tables of more than 40 rows span several pages (longtable); rows of more than 75 characters are in
    landscape.

    Args:
      heads, rows: cells, already escaped; may contain commands such as `\\textbf`.
      numeric: for each column, whether to align it right.
      caption, notes: text, not escaped.
      label: name, without the prefix `tab:`.
    """
    form = "".join("r" if right else "l" for right in numeric)
    head = f"{' & '.join(heads)} \\\\"
    body = [f"{' & '.join(map(_in_lines, row))} \\\\" for row in rows]
    caption_line = f"\\caption{{{escape(caption)}}}"
    label_line = f"\\label{{tab:{re.sub('[^A-Za-z0-9:-]+', '-', label)}}}"
    below = f"\\par\\smallskip\n\\noindent\\parbox{{\\linewidth}}{{\\footnotesize {escape(notes)}}}" if notes else ""
    wide = sum(map(_width, zip(heads, *rows, strict=True))) > _WIDE
    size = ["\\scriptsize", "\\setlength{\\tabcolsep}{3pt}"] if wide else ["\\small"]
    if len(rows) > _LONG:
        lines = ["\\begingroup", *size, f"\\begin{{longtable}}{{{form}}}", caption_line, f"{label_line} \\\\"]
        lines += ["\\toprule", head, "\\midrule", "\\endfirsthead", "\\toprule", head, "\\midrule", "\\endhead"]
        lines += ["\\bottomrule", "\\endfoot", *body, "\\end{longtable}", *([below] if below else [])]
        lines += ["\\par\\endgroup"]
    else:
        lines = [
            "\\begin{table}[htbp]",
            "\\centering",
            *size,
            caption_line,
            label_line,
            f"\\begin{{tabular}}{{{form}}}",
        ]
        lines += ["\\toprule", head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]
        lines += [*([below] if below else []), "\\end{table}"]
    if wide:
        lines = ["\\begin{landscape}", *lines, "\\end{landscape}"]
    return "\n".join(["% Needs \\usepackage{booktabs,longtable,pdflscape}.", *lines]) + "\n"
