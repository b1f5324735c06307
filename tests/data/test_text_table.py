import openpyxl
import pytest

from ssinfnet_jax.data import text_table


def has_age(cells):
    return "age" in cells


def book(path, **sheets):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


def test_rows_keep_their_numbers_in_the_file(tmp_path):
    (tmp_path / "t.csv").write_text('a title\n\nid , age\n1,"4\n5"\n\n,,\n2, 46 \n3\n')
    excel = book(tmp_path / "t.xlsx", data=[["a title"], [], ["id ", " age"], [1, "4\n5"], [], [], [2.0, " 46 "], [3]])
    for path in (tmp_path / "t.csv", excel):
        table = text_table.read(path, "The table", has_age)
        assert list(table) == ["id", "age"]
        assert table.to_numpy().tolist() == [["1", "4\n5"], ["2", "46"], ["3", ""]]
        assert table.index.tolist() == [4, 7, 8]


def test_the_sheet_with_the_header_is_read(tmp_path, caplog):
    path = book(
        tmp_path / "t.xlsx", Notes=[["read me"], ["of 2020", "x"]], Empty=[], Data=[["age"], [45]], More=[["b"]]
    )
    assert text_table.read(path, "The table", has_age)["age"].tolist() == ["45"]
    assert "has the sheets ['Notes', 'Data', 'More']; reading 'Data'" in caplog.text


def test_spreadsheet_cells_become_text(tmp_path):
    path = book(tmp_path / "t.xlsx", data=[["age", "b", "c", "d"], [45.0, 0.1, True, None], [1e-05, "007", False, "x"]])
    assert text_table.read(path, "The table").to_numpy().tolist() == [
        ["45", "0.1", "True", ""],
        ["1e-05", "007", "False", "x"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title\nid;age\n1;45\n", "columns are separated by semicolons"),
        ("title\nid,sex\n1,45\n", r"row 1 \('title'\) looks like a title, .* row 2 begins with 'id', 'sex'\. Delete"),
        ("title\nage,sex,age\n1,45\n", r"repeats names: 'age' \(columns 1, 3\)"),
        ("title\nage,sex\n1,45,\n", "row 3 has 3, the header 2"),
        ("", "No columns to parse"),
        ("PK\x03\x04", "it is a spreadsheet despite its name"),
    ],
)
def test_unreadable_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"The table .*t\.csv cannot be read \(.*{message}"):
        text_table.read(tmp_path / "t.csv", "The table", has_age)


def test_formulas_without_values_are_refused(tmp_path):
    path = book(tmp_path / "t.xlsx", data=[["age", "b"], [45, "=A2+1"]])
    with pytest.raises(
        ValueError, match="row 2 has formulas whose values were not saved; open the file in a spreadsheet"
    ):
        text_table.read(path, "The table")


def test_columns_with_neither_name_nor_cells_are_dropped(tmp_path):
    (tmp_path / "t.csv").write_text(",age,,\n0,45,,\n1,46,,\n")
    assert list(text_table.read(tmp_path / "t.csv", "The table")) == ["Unnamed: 0", "age"]
