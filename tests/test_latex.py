import string

import pytest

from ssinfnet_jax import latex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% of a_b & #1 {x} $y$", r"50\% of a\_b \& \#1 \{x\} \$y\$"),
        ("a\\b ~ ^ |", r"a\textbackslash{}b \textasciitilde{} \textasciicircum{} \textbar{}"),
        ("-0.5 \N{MINUS SIGN}0.5 [1, 2]", r"-0.5 $-$0.5 {[}1, 2{]}"),
        ("Größe", r"Gr{\"o}{\ss}e"),
        ("e\N{COMBINING ACUTE ACCENT}t\N{LATIN SMALL LETTER E WITH ACUTE}", r"{\'e}t{\'e}"),
        ("β, λ, Ω, χ²", r"$\beta$, $\lambda$, $\Omega$, $\chi$$^2$"),
        ("年龄", "$<$U+5E74$>$$<$U+9F84$>$"),
        (" two\nlines\t\x07", "two lines"),
    ],
)
def test_escape(text, expected):
    assert latex.escape(text) == expected


@pytest.mark.parametrize("num_rows", [3, 60])
@pytest.mark.parametrize("num_columns", [2, 12])
def test_every_form_of_a_table_compiles(pdflatex, num_rows, num_columns):
    letters = string.printable + "".join(map(chr, range(0xA0, 0x460))) + "年‰€™ﬁ\u200b\U0001f600"
    rows = [[str(row + column) for column in range(num_columns)] for row in range(num_rows)]
    rows[0][0] = r"\textbf{first}"
    made = latex.table(
        [latex.escape(f"head_{i}") for i in range(num_columns)],
        rows,
        numeric=[i > 0 for i in range(num_columns)],
        caption=f"Names such as {letters[:90]}.",
        label="a_b",
        notes=letters,
    )
    assert made.isascii()
    assert made.startswith("% Needs \\usepackage{booktabs,longtable,pdflscape}.\n")
    assert ("landscape" in made.partition("\n")[2]) == (num_columns == 12)
    assert ("{longtable}" in made.partition("\n")[2]) == (num_rows == 60)
    said = pdflatex([made])
    assert "Missing character" not in said


def test_sentences_are_wrapped_and_long_names_are_not_cut(pdflatex):
    sentence = "smaller indirect effect (0.12 against 0.34) than that of another mediator"
    name = "ggo_log-sigma-1-0-mm_gldm_LargeDependenceHighGrayLevelEmphasis"
    rows = [[latex.escape(name), sentence]]
    made = latex.table(["removed", "why"], rows, numeric=[False, False], caption="Filter.", label="filter")
    assert f"{latex.escape(name)} & \\parbox[t]{{0.3\\linewidth}}{{\\raggedright {sentence}\\strut}}" in made
    pdflatex([made])
