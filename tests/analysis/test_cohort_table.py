import csv
import io

import numpy as np
import openpyxl
import pytest

from ssinfnet_jax.analysis import cohort_table


@pytest.fixture
def read(tmp_path):
    """Writes lines of text as a table and reads it."""

    def from_text(text, exposures=("age", "gender"), outcome="severity", **options):
        (tmp_path / "table.csv").write_text(text)
        return cohort_table.read(tmp_path / "table.csv", list(exposures), outcome, **options)

    return from_text


@pytest.fixture(params=["csv", "xlsx"])
def read_both(request, tmp_path, read):
    """The same from CSV and, with numbers as numbers, from XLSX."""

    def from_text(text, exposures, outcome="severity", **options):
        if request.param == "csv":
            return read(text, exposures, outcome, **options)
        book = openpyxl.Workbook()
        for row in csv.reader(io.StringIO(text)):
            book.active.append([float(cell) if cell.replace(".", "", 1).isdigit() else cell or None for cell in row])
        book.save(tmp_path / "table.xlsx")
        return cohort_table.read(tmp_path / "table.xlsx", list(exposures), outcome, **options)

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
    table = read(header + "1,None,0\n2,2,1\n3,,0\n", ["underlying"])  # pandas alone would read numbers
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
    with pytest.raises(
        ValueError, match=r"any of the columns \['id', 'patient'\] may identify patients; rename the right one"
    ):
        read("id,patient,age,gender,severity\n1,01,54,0,1\n")
    read("age,gender,severity\n54,0,1\n")
    assert "table.csv has no column 'patient_id': each row counts as a different patient" in caplog.text


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
        ("age,gender,age,severity\n54,0,1,1\n", r"header repeats names: 'age' \(columns 1, 3\); rename"),
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


@pytest.mark.parametrize(
    "header",
    [
        "patient_id,age,gender,underlying,severity",
        " Patient ID ,Age , GENDER,Underlying diseases,Severity",
        "ID,AGE (years),Sex,Comorbidities,Morbidity outcome",
        "患者编号,年龄（岁）,性别,基础疾病,严重程度",
        "Patient No.,Age_at_admission,Geschlecht,Co-morbidities,severity level",
        "Table 2: our patients,,,,\n,,,,\npatient_id,age,gender,underlying,severity",
    ],
)
def test_names_of_columns_and_words_in_them(read_both, header):
    rows = [
        '1,45岁,男,"高血压 糖尿病",Severe',
        "2,45 y/o,女,不详,control",
        "3,4 months,weiblich,none,unknown",
        '4,63,m,"hypertension, unknown",Mild',
        "5,,?,refused,N/A",
    ]
    table = read_both("\n".join([header, *rows]) + "\n", ["age", "gender", "underlying"])
    assert list(table) == ["patient_id", "age", "gender", "underlying", "severity"]
    assert table["patient_id"].tolist() == ["1", "2", "3", "4", "5"]
    np.testing.assert_allclose(table["age"], [45, 45, 1 / 3, 63, np.nan])
    np.testing.assert_array_equal(table["gender"], [1, 0, 0, 1, np.nan])
    np.testing.assert_array_equal(table["underlying"], [2, np.nan, 0, 1, np.nan])
    np.testing.assert_array_equal(table["severity"], [1, 0, np.nan, 1, np.nan])


@pytest.mark.parametrize("name", ["age", "Age", " AGE ", "age (years)", "Age_at_admission", "年龄"])
def test_an_age_is_one_whatever_its_columns_name(read_both, name):
    with pytest.raises(ValueError, match=r"row 3: age '999' is not a number of years .*--missing_codes=.*=999"):
        read_both(f"{name},severity\n45,1\n999,0\n", ["age"])
    with pytest.raises(ValueError, match=r"row 3: age '999' is not a number of years"):
        read_both(f"{name},severity\n45,1\n999,0\n", [name])


def test_a_title_is_named_or_skipped(read_both, caplog):
    read_both("Table 1. Patients\nage,severity\n45,1\n50,0\n", ["age"])
    assert "the header is row 2; skipping the rows above it: row 1 ('Table 1. Patients')" in caplog.text
    with pytest.raises(
        ValueError, match=r"row 1 \('Table 1. Patients'\) looks like a title, .* row 2 begins with 'agge'"
    ):
        read_both("Table 1. Patients\nagge,severity\n45,1\n50,0\n", ["age"])
    with pytest.raises(ValueError, match=r"row 5: age 'x'"):
        read_both("Table 1. Patients\n,\nage,severity\n45,1\nx,0\n", ["age"])


@pytest.mark.parametrize(
    ("header", "both"),
    [("age,Age", "'age', 'Age'"), ("Age (years),AGE", "'Age (years)', 'AGE'"), ("年龄,Alter", "'年龄'")],
)
def test_two_columns_that_one_name_means(read_both, header, both):
    with pytest.raises(ValueError, match=r"the columns .* are all called 'age'; rename or delete all but one") as error:
        read_both(f"{header},severity\n45,45,1\n", ["age"])
    assert both in str(error.value)


def test_a_synonym_that_is_not_taken_is_named(read_both, caplog):
    table = read_both("age,Sex,gender,severity\n45,m,f,1\n", ["age", "gender"])
    assert table["gender"].tolist() == [0]
    assert "uses column 'gender' as 'gender', and ignores the similar ['Sex']" in caplog.text


def test_coded_gender(read_both):
    with pytest.raises(ValueError, match=r"coded as 1 \(1x\), 2 \(2x\), and nothing explains the codes"):
        read_both("gender,severity\n1,1\n2,0\n2,1\n", ["gender"])
    for name in (
        "Sex (1=male, 2=female)",
        "gender [male = 1; female = 2]",
        "gender_1male_2female",
        "性别（1=男，2=女）",
    ):
        table = read_both(f'"{name}",severity\n1,1\n2,0\n,1\nunknown,0\n', ["gender"])
        np.testing.assert_array_equal(table["gender"], [1, 0, np.nan, np.nan])
    with pytest.raises(ValueError, match=r"row 4: gender is a number that 'Sex \(1=male, 2=female\)' does not explain"):
        read_both('"Sex (1=male, 2=female)",severity\n1,1\n2,0\n9,1\n', ["gender"])
    with pytest.raises(ValueError, match="may be hombre and mujer"):
        read_both("sexo,severity\nH,1\nM,0\n", ["gender"])


@pytest.mark.parametrize(
    ("cells", "severity"),
    [
        ("Yes,no,unknown", [1, 0, np.nan]),
        ("1,0,unknown", [1, 0, np.nan]),
        ("1,0,?", [1, 0, np.nan]),
        ("ja,nein,k.A.", [1, 0, np.nan]),
        ("是,否,不详", [1, 0, np.nan]),
        ("TRUE,FALSE,", [1, 0, np.nan]),
        ("2,1,NA", [2, 1, np.nan]),
        ("Severe,non-severe,unknown", [1, 0, np.nan]),
        ("ICU,no ICU,ICU", [1, 0, 1]),
        ("重症,非重症,不详", [1, 0, np.nan]),
    ],
)
def test_outcomes(read_both, cells, severity):
    text = "".join(f"{40 + place},{cell}\n" for place, cell in enumerate(cells.split(",")))
    np.testing.assert_array_equal(read_both(f"age,severity\n{text}", ["age"])["severity"], severity)


def test_outcomes_of_several_kinds_are_refused(read_both):
    with pytest.raises(ValueError, match=r"Unknown severity: 'Yes' \(1x\).* Or write 0 and 1, or no and yes, in all"):
        read_both("age,severity\n45,Yes\n46,Mild\n", ["age"])


def numbers(*more, name="bmi"):
    """A table whose column `name` is 20 to 29.5 and then these cells."""
    cells = [*(f"{20 + place / 2}" for place in range(20)), *more]
    rows = (f"{place},{30 + place},{cell},{place % 2},{place / 3}\n" for place, cell in enumerate(cells))
    return f"id,age,{name},severity,ggo_M\n" + "".join(rows)


@pytest.mark.parametrize("code", ["-9", "-99", "-999", "-9999", "999", "9999", "99", "8888", "-1", "-9.0"])
def test_codes_for_missing_are_asked_about(read, code):
    text = numbers(code, code)
    message = (
        rf"look like codes for missing values: 'bmi' has {float(code):g} \(2x\).*--missing_codes=bmi={float(code):g},"
    )
    with pytest.raises(ValueError, match=message):
        read(text, ["bmi"])
    with pytest.raises(ValueError, match=message):
        read(text, ["age"], covariates=["bmi"])
    with pytest.raises(ValueError, match=message):
        read(text, ["age"], mediators="^bmi")
    assert read(text, ["age"])["bmi"].iloc[-1] == float(code)  # it has no role
    for declared in (["bmi=" + code], [code]):
        table = read(text, ["bmi"], missing_codes=declared)
        assert table["bmi"].isna().tolist() == [False] * 20 + [True] * 2
    assert read(text, ["bmi"], missing_codes=["none"])["bmi"].iloc[-1] == float(code)


def test_numbers_among_others_are_no_codes(read):
    read(numbers("99", "35", "130", "160"), ["bmi"])
    read(numbers("-99", "-250", "-40", "-130"), ["bmi"])
    read("age,severity\n99,1\n45,0\n", ["age"])
    with pytest.raises(ValueError, match=r"'severity' has 9 \(1x\)"):
        read("age,severity\n45,1\n46,0\n47,9\n", ["age"])
    with pytest.raises(ValueError, match=r"no column 'weight' of missing_codes 'weight=9'"):
        read(numbers(), ["bmi"], missing_codes=["weight=9"])


def test_words_for_missing_in_numbers(read_both):
    for word in ("NA", ".", "unknown", "n.d.", "?", "None", "不详", "#N/A"):
        table = read_both(numbers(word), ["bmi"])
        assert table["bmi"].isna().tolist() == [False] * 20 + [True]
        table = read_both(numbers(word), ["age"])  # without a role, as phenotypes are
        assert table["bmi"].isna().tolist() == [False] * 20 + [True]
    with pytest.raises(ValueError, match=r"row 22: '24,5' is not a number; write it with a point"):
        read_both(numbers('"24,5"'), ["bmi"])


@pytest.mark.parametrize(
    "name", ["hospital", "Scanner", "centre_id", "WardNo", "scanner_number", "group", "医院", "ScannerModel"]
)
def test_codes_of_groups_are_no_quantities(read, name):
    text = f"age,{name},severity\n" + "".join(f"{30 + place},{1 + place % 3},{place % 2}\n" for place in range(12))
    message = rf"column '{name}' \(3 values: 1, 2, 3\) looks like codes of groups.* such as {name}_2 and {name}_3"
    with pytest.raises(ValueError, match=message):
        read(text, ["age"], covariates=[name])
    with pytest.raises(ValueError, match=message):
        read(text, [name])
    read(text, ["age"])
    words = text.replace(",1,", ",A,").replace(",2,", ",B,").replace(",3,", ",C,")
    with pytest.raises(ValueError, match=rf"the column contains words, such as .* such as {name}_2 and {name}_3"):
        read(words, ["age"], covariates=[name])


def test_the_remedy_for_groups_works(read, caplog):
    rows = "".join(f"{30 + place},{int(place % 3 == 1)},{int(place % 3 == 2)},{place % 2}\n" for place in range(12))
    table = read(f"age,hospital_2,hospital_3,severity\n{rows}", ["age"], covariates=["hospital_2", "hospital_3"])
    assert table["hospital_2"].sum() == table["hospital_3"].sum() == 4
    rows = "".join(f"{30 + place},{place % 3},{place % 4},{place % 2}\n" for place in range(12))
    read(f"age,smoking,stage,severity\n{rows}", ["age"], covariates=["smoking", "stage"])
    assert "column 'smoking' (3 values: 0, 1, 2) is treated as a quantity" in caplog.text
    assert "'stage'" not in caplog.text


def test_rows_that_are_no_patients(read_both, caplog):
    table = read_both("id,age,severity\n1,45,1\n2,46,0\nSource: registry,,\n", ["age"])
    assert table["patient_id"].tolist() == ["1", "2"]
    assert "leaves out rows [4], which are empty except for their first cell" in caplog.text
    for name in ("Mean (SD)", "Total", "合计"):
        with pytest.raises(ValueError, match=r"row 4 \('.*'\) is not a patient; delete rows of sums and means"):
            read_both(f"id,age,severity\n1,45,1\n2,46,0\n{name},45.5,1\n", ["age"])
    with pytest.raises(ValueError, match="'subject' identifies patients and cannot be an exposure or covariate"):
        read_both("id,subject,age,severity\n1,1,45,1\n2,2,46,0\n", ["age"], covariates=["subject"])


def test_yes_and_no_of_covariates(read_both):
    table = read_both("age,smoker,severity\n45,yes,1\n46,No,0\n47,unknown,1\n", ["age"], covariates=["smoker"])
    np.testing.assert_array_equal(table["smoker"], [1, 0, np.nan])


def test_doubtful_diseases_are_listed_before_anything_is_computed(read_both, caplog, tmp_path):
    text = 'age,underlying,severity\n45,"hypertension, unknown",1\n46,asthma,0\n47,-,1\n48,"hypertension, unknown",0\n'
    table = read_both(text, ["age", "underlying"])
    assert [(item["text"], item["count"], item["patients"]) for item in table.attrs["doubts"]] == [
        ("hypertension, unknown", 1, 2),
        ("-", 0, 1),
    ]
    assert "2 disease texts are doubtful" in caplog.text
    cohort_table.write_doubts(table, tmp_path / "doubtful_words.csv")
    assert (tmp_path / "doubtful_words.csv").read_text().startswith("text,count,patients,why\n")
    cohort_table.write_doubts(read_both("age,severity\n45,1\n", ["age"]), tmp_path / "doubtful_words.csv")
    assert not (tmp_path / "doubtful_words.csv").exists()
    with pytest.raises(ValueError, match=r"row 2 and row 4: diseases 'several' cannot be counted"):
        read_both("age,underlying,severity\n45,several,1\n46,asthma,0\n47,several,1\n", ["age", "underlying"])
