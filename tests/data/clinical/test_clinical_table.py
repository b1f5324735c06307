import math

import openpyxl
import pandas as pd
import pytest

from ssinfnet_jax.data.clinical import clinical_table

HEADER = "Patient,Age (years),Sex,Underlying diseases,Morbidity outcome\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "age"),
    [
        *(("63", 63), ("63 years", 63), (" 0.5 ", 0.5), ("120", 120), ("45岁", 45), ("45 周岁", 45), ("４５", 45)),
        *(("45 y/o", 45), ("45yo", 45), ("45 y.o.", 45), ("45-year-old", 45), ("45 yrs old", 45), ("aged 45", 45)),
        *(("45 Jahre", 45), ("45 ans", 45), ("45 años", 45), ("45 anni", 45), ("4 months", 4 / 12), ("18个月", 1.5)),
        *(("2 y 3 mo", 2.25), ("2岁3个月", 2.25), ("26 weeks", 26 * 7 / 365.25), ("12 days", 12 / 365.25)),
    ],
)
def test_parse_age(text, age):
    assert clinical_table.parse_age(text) == pytest.approx(age, rel=1e-12)


@pytest.mark.parametrize("text", ["-1", "121", "old", ">89", "60-69", "45 m", "1500 months"])
def test_parse_age_refuses(text):
    with pytest.raises(ValueError, match=f"age '{text}' is not a number of years from 0 to 120"):
        clinical_table.parse_age(text)


@pytest.mark.parametrize("text", ["", "-", "/", "NA", "unknown", "不详", "k.A.", "Missing", "?"])
def test_missing_words(text):
    assert math.isnan(clinical_table.parse_age(text))
    assert math.isnan(clinical_table.parse_gender(text))
    assert clinical_table.parse_severity(text) == ""


def test_gender_words_in_several_languages():
    for text in ("女", "女性", "w", "weiblich", "femme", "femenino", "donna", "♀", "Female.", "0 (female)"):
        assert clinical_table.parse_gender(text) == 0
    for text in ("男", "Männlich", "m", "homme", "varón", "uomo", "♂", "1=male"):
        assert clinical_table.parse_gender(text) == 1


def test_codes_explained_by_the_header():
    for header in (
        "Sex (1=male, 2=female)",
        "Gender (M=1, F=2)",
        "Sex: 1 male / 2 female",
        "gender_1m_2f",
        "性别(1男2女)",
    ):
        codes = clinical_table.gender_codes(header)
        assert {code: clinical_table.parse_gender(word) for code, word in codes.items()} == {1.0: 1.0, 2.0: 0.0}
        assert clinical_table.kind_of(header) == "gender"
    assert clinical_table.gender_codes("Sex") == clinical_table.gender_codes("Gender (0/1)") == {}


def test_parse_gender():
    assert [clinical_table.parse_gender(text) for text in ("F", "female", " Male", "m")] == [0, 0, 1, 1]
    assert math.isnan(clinical_table.parse_gender(""))
    with pytest.raises(ValueError, match="gender '1' is unknown; use one of female"):
        clinical_table.parse_gender("1")


def test_parse_severity_tolerates_case_spaces_and_hyphens():
    for level in clinical_table.SEVERITY_LEVELS:
        assert clinical_table.parse_severity(level) == level
        assert clinical_table.parse_severity(f"  {level.upper().replace(' ', '  ').replace('-', ' ')}") == level
    assert clinical_table.parse_severity("") == ""
    with pytest.raises(ValueError, match=r"severity 'Moderate' is unknown; use one of Control \(Healthy\), "):
        clinical_table.parse_severity("Moderate")


@pytest.mark.parametrize("name", ["Patient 12", "patient_012", "12", "12.0", "P-12", " P12 "])
def test_patient_key(name):
    assert clinical_table.patient_key(name) == "12"
    assert clinical_table.patient_key("Smith  A") == "smith a"


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_read_clinical(tmp_path, suffix):
    rows = pd.DataFrame(
        {
            "PATIENT": ["Patient 1", "Patient 2"],
            "Hospital": ["Union", "Liyuan"],
            "Age": [63, None],
            "Gender": ["Male", "Female"],
            "Underlying diseases": ["Hypertension, diabetes", None],
            "Morbidity outcome": ["Severe", "control (healthy)"],
        }
    )
    path = tmp_path / f"clinical{suffix}"
    if suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_excel(path, index=False)
    table = clinical_table.read_clinical(path)
    assert table.index.tolist() == ["1", "2"]
    assert table.loc["1"].tolist() == [63, 1, 2, "Severe"]
    assert math.isnan(table.loc["2", "age"])
    assert math.isnan(table.loc["2", "underlying"])
    assert table.loc["2", "severity_level"] == "Control (Healthy)"


def test_read_clinical_reads_a_chinese_spreadsheet_with_a_title(tmp_path, caplog):
    book = openpyxl.Workbook()
    for row in (
        ["表1 患者资料"],
        ["患者编号", "年龄（岁）", "性别", "基础疾病", "严重程度"],
        [1, "45岁", "男", "高血压 糖尿病", "Severe"],
        [2, 60, "女", "不详", None],
        [3, 61, "女", "高血压，不详", "Mild"],
    ):
        book.active.append(row)
    book.save(tmp_path / "c.xlsx")
    table = clinical_table.read_clinical(tmp_path / "c.xlsx")
    assert table["age"].tolist() == [45, 60, 61]
    assert table["gender"].tolist() == [1, 0, 0]
    assert table["underlying"].tolist()[::2] == [2, 1]
    assert math.isnan(table.loc["2", "underlying"])
    assert [doubt["text"] for doubt in table.attrs["doubts"]] == ["高血压，不详"]
    assert "1 disease texts are doubtful" in caplog.text
    with pytest.raises(ValueError, match=r"row 2 \(patient 1\): diseases '1\.5' cannot be counted"):
        clinical_table.read_clinical(write(tmp_path / "c.csv", HEADER + "1,45,M,1.5,Mild\n"))
    with pytest.raises(
        ValueError, match=r"row 2 \(patient 1\) and row 3: gender is unknown: it is coded as 0 \(1x\), 1"
    ):
        clinical_table.read_clinical(write(tmp_path / "c.csv", HEADER + "1,45,1,1,Mild\n2,45,0,1,Mild\n"))


def test_read_clinical_lists_all_problems_with_their_rows(tmp_path):
    path = write(tmp_path / "c.csv", HEADER + "1,150,Male,,Mild\n2,50,x,,Mild\n3,50,F,,Odd\n1,5,F,,Mild\n,5,F,,Mild\n")
    with pytest.raises(ValueError, match=r"c\.csv has 5 problems; fix them") as error:
        clinical_table.read_clinical(path)
    for problem in (
        "row 2 (patient 1): age '150' is not",
        "row 3 (patient 2): gender 'x' is unknown",
        "row 4 (patient 3): severity 'Odd' is unknown",
        "row 6: no patient",
        "patient 1 occurs in row 2 and row 5",
    ):
        assert problem in str(error.value)


def test_read_clinical_lists_the_columns_found(tmp_path):
    path = write(tmp_path / "c.csv", "Patient,Age (months),Sex,Gender,Comorbidities,Severity\n")
    message = (
        r"age, found none of age, .*; gender, found 'Sex' and 'Gender' of gender, sex, .* "
        r"It has the columns 'Patient', 'Age \(months\)', 'Sex', 'Gender', 'Comorbidities', 'Severity'; rename them"
    )
    with pytest.raises(ValueError, match=message):
        clinical_table.read_clinical(path)


def test_a_table_may_be_said_to_lack_exposures(tmp_path):
    path = write(tmp_path / "c.csv", "Patient,Age,Severity\n1,50,Mild\n")
    message = r"rename them, or say that the table does not have them \(table_without: \[gender, underlying\]\)\."
    with pytest.raises(ValueError, match=message):
        clinical_table.read_clinical(path)
    table = clinical_table.read_clinical(path, ("gender", "underlying"))
    assert table.to_dict("index") == {"1": {"age": 50.0, "severity_level": "Mild"}}
    with pytest.raises(ValueError, match=r"severity_level, found none of severity, .* rename them\.$"):
        clinical_table.read_clinical(write(tmp_path / "d.csv", "Patient,Age\n1,50\n"), ("gender", "underlying"))


def test_read_clinical_names_missing_empty_and_unreadable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv does not exist"):
        clinical_table.read_clinical(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match=r"bad\.xlsx cannot be read .*save it as CSV"):
        clinical_table.read_clinical(write(tmp_path / "bad.xlsx", "text"))
    with pytest.raises(ValueError, match=r"empty\.csv has no rows"):
        clinical_table.read_clinical(write(tmp_path / "empty.csv", HEADER))


def test_read_clinical_refuses_rows_longer_than_the_header(tmp_path):
    with pytest.raises(ValueError, match="row 3 has 6"):
        clinical_table.read_clinical(write(tmp_path / "d.csv", HEADER + "1,50,F,none,Mild\n2,51,F,asthma, gout,Mild\n"))
    path = write(tmp_path / "c.csv", HEADER + "1,50,F,none,Mild,\n2,51,F,none,Mild,\n")
    message = r"c\.csv cannot be read \(rows have more cells than the header: row 2 has 6, the header 5; delete commas"
    with pytest.raises(ValueError, match=message):
        clinical_table.read_clinical(path)
    write(path, HEADER + '\n1,50,F,"asthma, gout",Mild\n2,51,F\n')  # commas in quotes, and short rows, are fine
    assert clinical_table.read_clinical(path)["underlying"].iloc[0] == 2
