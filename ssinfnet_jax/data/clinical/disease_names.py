"""Recognises disease names: spellings of common diseases, codes, and patterns that tell a name from other words."""

import re

from ssinfnet_jax.data.clinical import vocabulary

# Unambiguous spellings of common diseases, in the form of vocabulary.key.
_SYNONYMS = {
    "hypertension": """htn|hbp|high blood pressure|arterial hypertension|高血压|高血压病|hypertonie|
        arterielle hypertonie|hypertension arterielle|hta|ipertensione|ipertensione arteriosa|
        hipertension|hipertension arterial""",
    "diabetes": "dm|diabetes mellitus|diabetic|糖尿病|diabete|diabete mellito|diabete sucre",
    "asthma": "asthma bronchiale|bronchial asthma|哮喘|asthme|asma",
    "copd": "chronic obstructive pulmonary disease|慢阻肺|慢性阻塞性肺疾病|bpco|epoc",
    "coronary artery disease": "cad|chd|coronary heart disease|冠心病|khk|koronare herzkrankheit",
    "chronic kidney disease": "ckd|慢性肾病",
    "heart failure": "hf|chf|congestive heart failure|心力衰竭|心衰|herzinsuffizienz",
    "atrial fibrillation": "af|afib|房颤|心房颤动|vorhofflimmern",
    "stroke": "cva|脑卒中|中风|schlaganfall",
    "hyperlipidemia": "hyperlipidaemia|hld|高脂血症|高血脂",
    "obesity": "obese|肥胖|adipositas",
    "anemia": "anaemia|贫血",
    "tuberculosis": "tb|肺结核",
    "gout": "痛风|gicht",
    "cancer": "癌症|krebs",
} | dict.fromkeys(
    (
        "hypothyroidism",
        "hyperthyroidism",
        "hepatitis",
        "cirrhosis",
        "depression",
        "anxiety",
        "epilepsy",
        "osteoporosis",
        "dementia",
        "bronchitis",
        "emphysema",
        "arthritis",
        "psoriasis",
        "leukemia",
        "lymphoma",
        "dyslipidemia",
        "migraine",
        "hiv",
    ),
    "",
)
_NAME = {
    name: disease
    for disease, others in _SYNONYMS.items()
    for name in (disease, *filter(None, re.sub(r"\s*\n\s*", "", others).split("|")))
}
_LONGEST_FIRST = "|".join(sorted(map(re.escape, _NAME), key=len, reverse=True))
_BESIDE_A_NAME = r"mellitus|type|essential|arterial|primary|chronic|ii?|1|2"
_CHINESE = "|".join(sorted((name for name in _NAME if not name.isascii()), key=len, reverse=True))
_COMMON = re.compile(rf"(?<![^\W_])(?:{_LONGEST_FIRST})(?![^\W_])|{_CHINESE}")
_ONLY_CHINESE = re.compile(rf"(?:(?:{_CHINESE})[并兼]?)+")
_ONLY_NAMES = re.compile(rf"(?:(?:{_LONGEST_FIRST}|{_BESIDE_A_NAME})(?: |$))+")
_ICD = r"[a-z]\d\d(?:\.?\w{1,3})?"

# Parts that most disease names contain; a name without any of them counts, but is listed as doubtful.
_LIKE_A_DISEASE = re.compile(
    r"itis|osis|[ae]mi[ae]|path|oma\b|algia|plegi|rrh|ism\b|tens|tonie|diabet|asth?m|cancer|cancro|krebs|carcin|tum[o]u?r|"
    r"malign|neoplas|infar[ck]t|isch|isqu|strok|schlag|fail|insuffi|insufi|fibr|diseas|disorder|syndrom|defe[ck]t|"
    r"defici|infect|hepat|obes|adipos|gout|gicht|arthr|artr|epilep|dement|alzheim|parkinson|depress|anxi|psych|schizo|"
    r"bipolar|aller|eczema|psoria|thyr|tiroid|renal|kidney|niere|liver|leber|heart|herz|card|kard|coron|koron|angina|"
    r"valv|aort|aneur|thromb|embol|pulm|lung|bronch|pneum|tuberc|hiv|aids|h[bc]v|ulc|reflux|herni|stone|lith|polyp|cyst|"
    r"adenom|plasi|transplant|surg|ectomy|bypass|stent|fractur|injur|immun|lupus|migrain|apn|"
    r"krank|vorhof|maladie|malatt|enfermed|cerebr|arrhyth|deficit|palsy|paraly|bleed|block|cholest|lipid|gastr|vascul|"
    r"病|症|炎|癌|瘤|梗|压|肿|石|衰|喘|痛|风|脂|贫血|结核|硬化|卒中|肥胖|肺|肝|肾|心|脑|胃|肠|骨|甲状腺|糖|术|伤|溃疡|感染|过敏|"
    r"增生|疹|抑郁|焦虑|癫痫|痴呆|颤|栓|"
    r"\b(?:dm|t[12]dm|dm ?[12]|htn|hbp|c[akv]d|copd|chd|chf|hf|ihd|pad|pvd|cva|tia|dvt|mi|a\.? ?fib|af|osa|gerd|bph|"
    rf"esrd|ra|oa|sle|ibd|ibs|tb|ms|pci|cabg|mds|nafld|hld|hta|ht|khk|bpco|epoc|{_ICD})\b"
)


def is_known(text: str) -> bool:
    """Whether a folded text is one of the common names, such as `htn`, `diabetes mellitus`, `高血压`."""
    return vocabulary.key(text) in _NAME


def one_name(text: str) -> str:
    """Returns one name for all spellings of a common disease; for others the text's words."""
    name = vocabulary.key(text)
    return _NAME.get(name, name)


def known_in(words: str) -> list[str]:
    """Lists the common diseases that a text names, in order."""
    return [_NAME[name] for name in _COMMON.findall(words)]


def only_names(words: str) -> bool:
    """Whether a text consists of common names, such as `hypertension diabetes mellitus asthma`."""
    return bool(_ONLY_NAMES.fullmatch(words) or _ONLY_CHINESE.fullmatch(words))


def codes(words: str) -> list[str]:
    """Lists the ICD-10 codes of a text that holds nothing else, such as `I10 E11.9`; else empty."""
    return words.split() if re.fullmatch(rf"{_ICD}(?: {_ICD})*", words) else []


def looks_like_one(words: str) -> bool:
    """Whether a text is a common name, or contains a part that most disease names contain."""
    return is_known(words) or bool(_LIKE_A_DISEASE.search(words))
