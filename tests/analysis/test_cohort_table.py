import numpy as np
import pytest

from ssinfnet_jax.analysis import cohort_table


@pytest.fixture
def read(tmp_path):
    """Writes lines of text as a table and reads it."""

    def from_text(text, exposures=("age", "gender"), outcome="severity", **options):
        (tmp_path / "table.csv").write_text(text)
        return cohort_table.read(tmp_path / "table.csv", list(exposures), outcome, **options)

    return from_text


def test_words_become_numbers(read):
    table = read(
        "patient_id,age,gender,underlying,severity,ggo_M\n"
        "007,54 years,female,hypertension; diabetes,Mild,1.5\n"
        "008,61,M,none,Control (Healthy),\n"
        "009,,,,,2\n",
        ["age", "gender", "underlying"],
    )
    assert table["patient_id"].tolist() == ["007", "008", "009"]
    np.testing.assert_array_equal(table["age"], [54, 61, np.nan])
    np.testing.assert_array_equal(table["gender"], [0, 1, np.nan])
    np.testing.assert_array_equal(table["underlying"], [2, 0, np.nan])
    np.testing.assert_array_equal(table["severity"], [1, 0, np.nan])
    np.testing.assert_array_equal(table["ggo_M"], [1.5, np.nan, 2])


def test_none_is_no_disease_and_not_a_missing_value(read):
    header = "patient_id,underlying,severity\n"
    table = read(header + "1,None,0\n2,none,1\n3,,0\n4,NA,1\n5,NaN,0\n6,asthma,1\n", ["underlying"])
    np.testing.assert_array_equal(table["underlying"], [0, 0, np.nan, np.nan, np.nan, 1])
    table = read(header + "1,None,0\n2,2,1\n3,,0\n", ["underlying"])  # pandas alone: a column of numbers
    np.testing.assert_array_equal(table["underlying"], [0, 2, np.nan])
    table = read(header + "1,1.5,0\n2,,1\n", ["underlying"])
    np.testing.assert_array_equal(table["underlying"], [1.5, np.nan])


@pytest.mark.parametrize("name", ["patient", "Patient ID", "ID", "patient_no"])
def test_the_column_of_patients_has_several_names(read, name):
    table = read(f"{name},age,gender,severity\n007,54,0,1\n008,53,1,1\n")
    assert table["patient_id"].tolist() == ["007", "008"]
    with pytest.raises(ValueError, match=r"must have one row, but these have several: \['007'\]"):
        read(f"{name},age,gender,severity\n007,54,0,1\n008,53,1,1\n007 ,53,1,1\n")


def test_which_column_is_of_patients(read, caplog):
    assert read("id,patient_id,age,gender,severity\n1,01,54,0,1\n1,02,53,1,1\n")["patient_id"].tolist() == ["01", "02"]
    assert not caplog.records
    with pytest.raises(ValueError, match=r"the columns \['id', 'patient'\] may all be of patients; call the right one"):
        read("id,patient,age,gender,severity\n1,01,54,0,1\n")
    read("age,gender,severity\n54,0,1\n")
    assert "table.csv has no column 'patient_id': each row is taken for a patient of its own" in caplog.text


def test_numbers_stay_what_they_are(read):
    table = read("age,gender,severity\n54.5,0,0.3\n61,1,0.7\n")
    assert table.to_numpy().tolist() == [[54.5, 0, 0.3], [61, 1, 0.7]]


def test_columns_without_a_role_are_not_looked_at(read):
    assert read("age,gender,severity,outcome\n250,1,dead,1\n30,0,alive,0\n", ["gender"], "outcome")["age"].max() == 250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,severity\n54,1\n", r"table\.csv has no columns \['gender'\]; it has \['age', 'severity'\]\. Rename"),
        (
            "patient_id,age,gender,severity\n01,54,0,1\n02,53,1,1\n01,55,0,0\n",
            r"each patient must have one row, but these have several: \['01'\]",
        ),
        (
            "age,gender,severity\n54,0,1\n540,1,1\n-3,0,0\n",
            r"2 values of 'age' must be corrected:\n  row 3: age '540' is not a number of years from 0 to 120\n  row 4",
        ),
        ("age,gender,severity\n54,x,1\n", r"1 values of 'gender' must be corrected:\n  row 2: gender 'x' is unknown"),
        (
            "age,gender,severity\n54,0,Mild\n53,1,Moderate\n",
            r"table\.csv, column 'severity': Unknown severity: 'Moderate' \(1x\); the nine levels are",
        ),
        (
            "patient_id,age,gender,severity\n1,54,0,1,\n2,53,1,0,\n",
            r"cannot be read \(rows have more cells than the header: row 2 has 5, the header 4; delete commas",
        ),
        ("age;gender;severity\n54;0;1\n", r"columns are separated by semicolons; export it with commas"),
        ("sep=;\nage;gender;severity\n54;0;1\n", r"its first line is 'sep=;'; delete that line, and separate the col"),
        ("sep=,\nage,gender,severity\n54,0,1\n", r"its first line is 'sep=,'; delete that line"),
        ("age,gender,age,severity\n54,0,1,1\n", r"header has names twice: 'age' \(columns 1, 3\); rename"),
        ("age,gender,severity\n", r"table\.csv has no rows"),
        ("", r"table\.csv cannot be read \(No columns to parse from file\); save it as CSV"),
    ],
)
def test_errors(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"The cohort table .*nowhere\.csv does not exist"):
        cohort_table.read(tmp_path / "nowhere.csv", ["age"], "severity")
