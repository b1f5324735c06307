"""Disease texts with counts made by hand."""

import contextlib
import math
import re
import time

import pytest

from ssinfnet_jax.data.clinical import diseases, vocabulary


@pytest.mark.parametrize(
    "text",
    [
        *("?", "??", "？", "...", "N.A.", "n.a", "N/A", "#N/A", "<NA>", "NaN", "Unclear", "UNKNOWN", "unk.", "Refused"),
        *(
            "declined to answer",
            "pending",
            "TBD",
            "not known",
            "NOT_KNOWN",
            "not-known",
            "Not yet available",
            "no data",
        ),
        *("unknown comorbidities", "history unknown", "Prefer not to say", "missing", "see notes", "lost to follow-up"),
        *(
            "不详",
            "不詳",
            "病史不详",
            "既往史：不详",
            "未知",
            "拒绝",
            "拒絕回答",
            "待查",
            "不愿透露",
            "无记录",
            "未记录",
            "不適用",
        ),
        *("unbekannt", "k.A.", "keine Angabe", "nicht bekannt", "inconnu", "non renseigné", "sconosciuto", "non noto"),
        *("desconocido", "no consta", "sin datos", "desconhecido", "不明", "N/A; N/A", "unknown, not recorded"),
    ],
)
def test_unknown_is_missing(text):
    assert math.isnan(diseases.read(text).count)
    assert diseases.read(text).doubt == ""


@pytest.mark.parametrize(
    "text",
    [
        *("none", "None.", "NO", "nil", "nothing", "Nothing known", "nothing to report", "none known", "denies", "0"),
        *("No comorbidities", "no co-morbid conditions", "No known past medical history.", "Comorbidities: none"),
        *("does not have any chronic diseases", "patient has no known chronic diseases", "healthy control", "normal"),
        *("无", "無", "没有", "否认", "否認慢性病史", "既往体健", "无基础疾病", "无特殊病史", "未见异常", "健康"),
        *("keine", "Keine bekannten Vorerkrankungen", "ohne", "nein", "aucun", "Aucun antécédent", "pas d'antécédents"),
        *("néant", "nessuno", "nessuna patologia nota", "niega", "Ninguna conocida", "sin antecedentes", "nenhuma"),
        *("none, none", "No; no", "nothing else", "no others", "Paziente sano"),
    ],
)
def test_denials_count_zero(text):
    assert diseases.read(text) == diseases.Reading(0.0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Hypertension. Diabetes", 2),
        ("hypertension.diabetes. copd.", 3),
        ("HTN. DM. CKD", 3),
        ("高血压 糖尿病", 2),
        ("高血压\u3000糖尿病", 2),
        ("高血压 糖尿病 病史", 2),
        ("高血压。糖尿病。", 2),
        ("高血压，糖尿病；冠心病、慢阻肺", 4),
        ("高血压和糖尿病", 2),
        ("高血压及糖尿病", 2),
        ("高血压合并糖尿病", 2),
        ("高血压2级 2型糖尿病", 2),
        ("2 型 糖尿病", 1),
        ("未分化结缔组织病", 1),
        ("hypertension|diabetes", 2),
        ("hypertension\r\ndiabetes\r\n", 2),
        ("hypertension\\ndiabetes<br>asthma", 3),
        ("ｈｙｐｅｒｔｅｎｓｉｏｎ，ｄｉａｂｅｔｅｓ；ＣＯＰＤ", 3),
        ("高血压／糖尿病＋哮喘", 3),
        ("HTN &amp; DM", 2),
        ("1. Hypertension 2. Diabetes", 2),
        ("1) hypertension\n2) type 2 diabetes", 2),
        ("①高血压②糖尿病", 2),
        ("- hypertension\n- diabetes", 2),
        ("• hypertension • diabetes", 2),
        ("Hypertonie und Diabetes", 2),
        ("Hypertonie u. Diabetes", 2),
        ("hypertension artérielle et diabète", 2),
        ("ipertensione e diabete", 2),
        ("Diabetes y asma", 2),
        ("hepatitis e infection", 1),
        ("diabetes mellitus type 2", 1),
        ("St. p. myocardial infarction", 1),
        ("Diab. mell.", 1),
        ("hypertension for 10.5 years", 1),
        ("COPD (mild, treated)", 1),
        ("hypertension (+), diabetes (-)", 1),
        ("hypertension: yes; diabetes: no; asthma: +", 2),
        ("HTN, hypertension, high blood pressure, 高血压", 1),
        ("Diabetes, diabetes mellitus; DM", 1),
        ("HIV/AIDS", 1),
        ("cancer of the head and neck", 1),
        ("h/o stroke, s/p CABG", 2),
        ("multiple sclerosis", 1),
        ("3-vessel disease", 1),
        ("I10, E11.9", 2),
        ("hypertension, no other diseases", 1),
        ("３", 3),
        ("2 (hypertension, diabetes)", 2),
        ("hypertension √, diabetes ×", 1),
        ("DM w/o complications; HTN", 2),
    ],
)
def test_only_separators_separate(text, count):
    reading = diseases.read(text)
    assert reading.count == count
    assert "several" not in reading.doubt


@pytest.mark.parametrize(
    ("text", "count", "why"),
    [
        ("hypertension, unknown", 1, "says unknown: the named ones count"),
        ("高血压，不详", 1, "says unknown: the named ones count"),
        ("hypertension, diabetes, ?", 2, "says unknown: the named ones count"),
        ("hypertension, none", 1, "says none: the named ones count"),
        ("hypertension, others", 1, "that there are more"),
        ("hypertension etc.", 1, "that there are more"),
        ("高血压、糖尿病等", 2, "that there are more"),
        ("none, unknown", math.nan, "says unknown and none"),
        ("-", 0, "a dash counts as none"),
        ("—", 0, "a dash counts as none"),
        ("HIV negative", 0, "denies the diseases it names"),
        ("hypertension?", 1, "is not certain"),
        ("possible asthma", 1, "is not certain"),
        ("高血压病史不详", 1, "is not certain"),
        ("hypertension diabetes", 2, "separated by a blank"),
        ("hypertension - diabetes", 2, "separated by a blank, a dash"),
        ("hypertension   diabetes", 2, "separated by several blanks"),
        ("diabetes with hypertension", 2, "separated by a blank, a dash or 'with'"),
        ("hypertension after diabetes", 1, "may name several diseases"),
        ("chronic disease", 1, "names no disease"),
        ("patient has no diabetes", 1, "denies something"),
        ("zzyx", 1, "does not look like a disease"),
        ("none?", 0, "is not certain"),
        ("高血压糖尿病", 2, "separated by a blank"),
        ("高血压并糖尿病", 2, "separated by a blank"),
        ("高血压-糖尿病", 2, "separated by a blank, a dash"),
        ("高血压肾病糖尿病", 1, "may name several diseases"),
    ],
)
def test_doubtful_texts_are_counted_and_say_why(text, count, why):
    reading = diseases.read(text)
    assert reading.count == count or (math.isnan(count) and math.isnan(reading.count))
    assert why in reading.doubt


@pytest.mark.parametrize(
    "text",
    [
        *(
            "yes",
            "有",
            "+",
            "(+)",
            "√",
            "several",
            "multiple comorbidities",
            "two",
            "3+",
            ">3",
            "99",
            "x",
            "2, diabetes",
        ),
        *("3 (HTN)", "others", "etc.", "same as above", "同上", "refused by patient", "unable to obtain"),
        *("awaiting records", "data incomplete", "不肯说", "资料缺失", "本人拒绝回答"),
    ],
)
def test_texts_without_a_number_are_refused(text):
    with pytest.raises(ValueError, match="cannot be counted"):
        diseases.read(text)


def test_a_column_lists_each_text_once():
    texts = ["hypertension, unknown", "asthma", "hypertension, unknown", "several", "?", "several", ""]
    counts, doubts, refused = diseases.read_all(texts)
    assert [count for count in counts if not math.isnan(count)] == [1, 1, 1]
    assert doubts.to_dict("records") == [
        {
            "text": "hypertension, unknown",
            "count": 1.0,
            "patients": 2,
            "why": "names diseases and says unknown: the named ones count",
        }
    ]
    assert list(refused) == ["several"]


def test_a_column_of_yes_and_no_counts_as_one_and_zero():
    counts, doubts, refused = diseases.read_all(["yes", "No", "unknown", "YES"])
    assert counts[:2] + counts[3:] == [1, 0, 1]
    assert math.isnan(counts[2])
    assert doubts["text"].tolist() == ["yes", "No", "YES"]
    assert not refused
    assert list(diseases.read_all(["yes", "no", "asthma"])[2]) == ["yes"]


@pytest.mark.parametrize("text", ["de " * 200, "病史" * 500, "long term " * 100, "hypertension, " * 500, "(" * 2000])
def test_no_text_takes_long(text):
    start = time.monotonic()
    with contextlib.suppress(ValueError):
        diseases.read(text)
    assert time.monotonic() - start < 2


def test_keys_of_words():
    assert vocabulary.key("N. A.") == vocabulary.key("n/a") == vocabulary.key("Ｎ．Ａ．") == "na"
    assert vocabulary.key("Co-morbidités:  NON") == "comorbidites non"
    assert [vocabulary.answer(word) for word in ("Yes", "ja", "是", "Oui", "no", "nein", "否", "maybe", "")] == [
        *[True] * 4,
        *[False] * 3,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("diabetes", 1),
        ("Diabetes, hypertension", 2),
        ("diabetes and hypertension; COPD", 3),
        ("hypertension/Hypertension", 1),
        ("gland and node disease", 2),
        ("None", 0),
        ("No underlying disease.", 0),
        ("-", 0),
        ("3", 3),
        ("3.0", 3),
        ("No comorbidities", 0),
        ("no comorbidity", 0),
        ("No chronic diseases", 0),
        ("No known past medical history.", 0),
        ("none reported", 0),
        ("None known", 0),
        ("denied", 0),
        ("healthy", 0),
        ("Previously healthy", 0),
        ("Negative", 0),
        ("N", 0),
        ("无", 0),
        ("hypertension+diabetes", 2),
        ("hypertension & diabetes", 2),
        ("高血压、糖尿病", 2),
        ("hypertension，diabetes；COPD", 3),
        ("hypertension\ndiabetes\r\n", 2),
        ("hypertension (grade 2, controlled)", 1),
        ("hypertension (grade 2 (treated, stable)), type 2 diabetes", 2),
        ("高血压（2级，稳定）", 1),
        ("chronic obstructive\tpulmonary  disease, no other diseases", 1),
        ("nodular goitre, non-small cell lung cancer", 2),
    ],
)
def test_count(text, count):
    assert diseases.read(text).count == count


@pytest.mark.parametrize("text", ["", "N/A", "unknown", "/", " "])
def test_count_missing(text):
    assert math.isnan(diseases.read(text).count)


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("2 diseases", "2 diseases"),
        ("2.5", "2.5"),
        ("-1", "-1"),
        ("no history of diabetes", "no history of diabetes"),
        ("hypertension, no diabetes", "no diabetes"),
        ("Not examined", "not examined"),
        ("否认糖尿病", "否认糖尿病"),
        ("hypertension (grade 2", "hypertension (grade 2"),
    ],
)
def test_count_refuses_what_it_does_not_understand(text, piece):
    message = rf"diseases {text!r} cannot be counted ({piece!r} is not understood); write a number such as 2"
    with pytest.raises(ValueError, match=re.escape(message)):
        diseases.read(text)


def test_count_refuses_text_without_a_name():
    with pytest.raises(ValueError, match=r"diseases '\(treated\)' cannot be counted; write a number such as 2"):
        diseases.read("(treated)")
