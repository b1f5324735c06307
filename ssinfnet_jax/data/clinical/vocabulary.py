"""Words for "unknown", "none", "yes" and "no" in clinical tables, one line per language.

Words are compared by `key`, which ignores case, accents, character width, kind of dash, traditional or simplified
Chinese, hyphens within words and punctuation: `N.A.`, `n/a` and `NA` are one word.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable

UNKNOWN = {
    "en": """
        unknown|unk|unkn|unclear|uncertain|undetermined|unspecified|unavailable|unrecorded|undocumented|
        unreported|unascertained|unsure|
        not (?:yet )?(?:known|available|recorded|reported|documented|stated|specified|applicable|asked|assessed|done|
        given|provided|obtained|collected|determined|disclosed|answered|mentioned|sure|clear|certain|indicated|entered|
        noted)|
        no (?:data|information|info|answer|response|records?|documentation|details)|no history available|missing|
        data missing|refused|refusal|declined|declines|declined to answer|refused to answer|
        prefers? not to (?:say|answer)|withheld|pending|awaited|awaiting(?: results?)?|
        to be (?:determined|confirmed|announced|completed|clarified)|to follow|in progress|tbd|tbc|tba|na|nan|
        null|nk|nr|nd|nc|ni|dk|do not know|don' t know|lost to follow up|lost|illegible|unreadable|
        see (?:notes?|chart|file)|blank|empty""",
    "zh": """
        不详|不明|未知|未详|不清楚|不清|不确定|不知道|不知|未记录|无记录|无资料|无数据|无信息|未提供|未说明|
        未填写|未填|未报告|未提及|未记载|未查|未检|未做|未测|缺失|缺|拒绝|拒绝回答|拒答|不愿(?:回答|透露|告知)|
        待定|待查|待确认|待补充|待完善|暂无|暂缺|暂无数据|不适用|空""",
    "ja": "不明|未記入|未回答|記載なし",
    "de": """
        unbekannt|nicht bekannt|keine angaben?|ohne angabe|ka|keine (?:information|informationen|daten|auskunft)|
        fehlt|fehlend|nicht (?:erhoben|erfasst|dokumentiert|angegeben|verfugbar|erfragt|beurteilbar)|unklar|
        verweigert|ausstehend|entfallt|nb""",
    "fr": """
        inconnue?s?|
        non (?:connue?s?|renseignee?s?|communiquee?s?|disponible|precisee?s?|documentee?s?|recueillie?s?)|
        indeterminee?s?|manquante?s?|refus|refusee?|en attente|pas de donnees|donnees? manquantes?|sans objet|
        ne sait pas""",
    "it": """
        sconosciut[oaie]|
        non (?:not[oaie]|disponibil[ei]|riportat[oaie]|specificat[oaie]|pervenut[oaie]|applicabile|conosciut[oaie])|
        ignot[oaie]|mancant[ei]|dat[oi] mancant[ei]|nessun dato|rifiutat[oa]|rifiuta|rifiuto|in attesa|nn""",
    "es": """
        desconocid[oa]s?|no (?:conocid[oa]s?|sabe|disponibles?|consta|especificad[oa]s?|registrad[oa]s?|aplica)|
        sin (?:datos?|informacion|registro)|se desconoce|faltantes?|ignorad[oa]s?|pendientes?|rechazad[oa]|
        se niega(?: a contestar)?|nsnc""",
    "pt": "desconhecid[oa]s?|nao (?:conhecid[oa]s?|informad[oa]s?|disponivel|sabe)|sem (?:dados|informacao)|recusou",
}
NONE = {
    "en": """
        no|not any|none|nil|nothing|n|without|without any|zero|deni(?:es|ed)|false|negative|neg|absent|healthy|
        healthy (?:controls?|volunteers?|subjects?)|well|fit|fit and well|good|good health|in good health|normal|
        within normal limits|wnl|nad|noncontributory|(?:does|do|did) not (?:have|report)(?: any)?|
        doesn' t have(?: any)?|free of|unremarkable|nothing abnormal detected""",
    "zh": "无|没有|否认|否|未见|未发现|未患|未诉|体健|健康|良好|正常|阴性|无特殊|无殊",
    "ja": "なし|無し|ない|特になし",
    "de": """
        kein|keine|keinen|keiner|keinerlei|nein|ohne|nichts|verneint|negativ|gesund|unauffallig|nicht vorhanden|
        ohne (?:pathologischen )?befund|ob""",
    "fr": """
        aucune?s?|pas de?|pas d'|sans|neant|rien|rien a signaler|non|negatif|sain|saine|nie|absence de?|
        absence d'""",
    "it": "nessun[oa]?|nessun'|niente|nulla|assent[ei]|senza|negativ[oa]|san[oa]|nega|non presenti|non presente",
    "es": "ningun[oa]?|nada|sin|niega|no tiene|no presenta|no refiere|negativ[oa]|san[oa]|ausentes?",
    "pt": "nenhum|nenhuma|nao|sem|nega|ausente",
}
# Words that may accompany those above without changing their meaning, and that name no disease.
GENERAL = {
    "en": """
        the|patient|paziente|paciente|he|she|else|others|only|
        has|have|had|is|was|a|an|any|of|to|or|and|with|in|on|at|this time|for|known|
        other|further|additional|significant|relevant|notable|major|serious|special|note|underlying|chronic|past|
        previous|previously|otherwise|prior|medical|clinical|basic|basal|baseline|preexisting|coexisting|
        concomitant|concurrent|comorbid|associated|long|term|longterm|diseases?|comorbidit(?:y|ies)|
        comorbidities|conditions?|illness(?:es)?|disorders?|problems?|diagnos[ei]s|histor(?:y|ies)|pmh|pmhx|hx|
        health|status|report|reported|recorded|noted|documented|identified|listed|declared|apparent|present|
        found|detected|stated""",
    "zh": """
        患者|病人|有|任何|其他|其它|其余|明显|特殊|明确|重大|重要|相关|既往|平素|过去|慢性|基础|合并|伴随|严重|
        疾病|疾患|病史|病|史|症|异常|情况|身体|的|及|和|或""",
    "ja": "既往歴|基礎疾患|併存症|特に|特記すべき|疾患",
    "de": """
        bekannte?n?r?|bisher|relevante?n?|weitere?n?|andere?n?|chronische?n?|sonstige?n?|wesentliche?n?|
        vorerkrankung(?:en)?|grunderkrankung(?:en)?|begleiterkrankung(?:en)?|erkrankung(?:en)?|
        komorbiditat(?:en)?|krankheit(?:en)?|anamnese|diagnosen?|der|die|das|und""",
    "fr": """
        connue?s?|autres?|particuliere?s?|particulier|notables?|medical|medicaux|chroniques?|antecedents?|
        comorbidites?|maladies?|pathologies?|affections?|associees?|de|d'|du|des|et|signales?""",
    "it": """
        not[oaei]|altr[oaei]|rilevant[ei]|significativ[oaei]|cronic(?:o|a|he|i)|patologi[ae]|pregress[ae]|
        malatti[ae]|comorbidita|comorbilita|anamnesi|antecedenti|di|da|e|in|atto""",
    "es": """
        conocid[oa]s?|otr[oa]s?|relevantes?|interes|importantes?|cronic[oa]s?|antecedentes|
        comorbilidad(?:es)?|comorbididad(?:es)?|enfermedad(?:es)?|patologias?|personales|medicos|patologicos|
        previ[oa]s|de|base|y""",
    "pt": "conhecid[oa]s?|outr[oa]s?|cronic[oa]s?|antecedentes|comorbidades?|doencas?|previ[oa]s|de|e",
}
YES = {
    "en": "yes|y|true|positive|pos|present",
    "zh": "是|有|阳性",
    "ja": "あり|有り|はい",
    "de": "ja|vorhanden|positiv",
    "fr": "oui|positif|presente?s?",
    "it": "si|positiv[oa]|presenti",
    "es": "positiv[oa]",
    "pt": "sim",
}
NO = {  # answers; without words that only deny diseases
    "en": "no|n|false|negative|neg|absent|none",
    "zh": "否|无|没有|不|不是|阴性",
    "ja": "なし|無し|いいえ",
    "de": "nein|nicht vorhanden|negativ",
    "fr": "non|negatif|absente?s?",
    "it": "negativ[oa]|assent[ei]",
    "es": "ausentes?",
    "pt": "nao",
}

_BESIDE_UNKNOWN = (
    "available|yet|currently|so far|given|provided|because|due|due to|type|kind|cause|origin|duration|since|date|"
    "details?|dose|stage|grade|name|treatment|medication|onset|year"
)

_LONGEST_PHRASE = 80  # characters; longer texts do not match
_UNSPACED = ("zh", "ja")  # languages without blanks between words
_SIMPLIFIED = str.maketrans(
    "無詳記錄認礎絕沒資數據確報寫測補慢別歲個陰陽與併發現輕對較齡體顯關檢異變證症適願歷醫壓腦腎臟腫風療結節貧顫動損傷護術漿癇",
    "无详记录认础绝没资数据确报写测补慢别岁个阴阳与并发现轻对较龄体显关检异变证症适愿历医压脑肾脏肿风疗结节贫颤动损伤护术浆痫",
)
_DASHES = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_SIGNS = {"’": "'", "‘": "'", "`": "'", "´": "'", "♀": " female ", "♂": " male "}
_SIGNS |= dict.fromkeys("√✓✔☑", " yes ") | dict.fromkeys("×✗✘☒", " no ")


def fold(text: str) -> str:
    """Folds a text to lower case without accents, with narrow characters, one kind of dash and simplified Chinese."""
    for character, plain in _SIGNS.items():
        text = text.replace(character, plain)
    text = _DASHES.sub("-", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not _is_accent(letter))
    return unicodedata.normalize("NFC", text).translate(_SIMPLIFIED)


def key(text: str) -> str:
    """Returns the words of a text, folded, without punctuation, separated by one blank; joins single letters.

    `N.A.`, `n/a` -> `na`; `Co-morbidities:  NONE` -> `comorbidities none`.
    """
    words = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", "", fold(text)).replace("'", "' ")
    words = " ".join(re.sub(r"[^\w\s']|_", " ", words).split())
    return words.replace(" ", "") if re.fullmatch(r"[a-z](?: [a-z])+", words) else words


def is_unknown(text: str) -> bool:
    """Whether a text is empty, has only marks (`?`, `/`, `.`, `--`), or says that the answer is unknown."""
    return not key(text) or _says(text, "unknown")


def denies(text: str) -> bool:
    """Whether a text says that there is no disease, in words such as `none`, `no known comorbidities`, `无`."""
    return bool(key(text)) and not _says(text, "unknown") and _says(text, "none")


def is_general(text: str) -> bool:
    """Whether all words of a text are general ones that name no disease, such as `chronic disease` and `病史`."""
    return bool(key(text)) and _says(text, "general")


def answer(text: str) -> bool | None:
    """Returns True for yes, False for no, in any of the languages; None for anything else."""
    return True if _says(text, "yes") else False if _says(text, "no") else None


def _says(text: str, what: str) -> bool:
    spellings = {key(text), key(text.replace("-", " "))}  # co-morbid is one word, not-known two
    return any(
        pattern.fullmatch(words) for pattern in _patterns(what) for words in spellings if len(words) <= _LONGEST_PHRASE
    )


def _is_accent(letter: str) -> bool:
    return "\u0300" <= letter <= "\u036f"


def _either(parts: Iterable[str]) -> str:
    return "|".join(re.sub(r"\s*\n\s*", "", part) for part in parts)


@functools.cache
def _patterns(what: str) -> tuple[re.Pattern, re.Pattern]:
    """Returns the patterns for languages with and without blanks between words."""
    return _pattern(what, unspaced=False), _pattern(what, unspaced=True)


def _pattern(what: str, *, unspaced: bool) -> re.Pattern:
    table = {"unknown": UNKNOWN, "none": NONE, "general": GENERAL, "yes": YES, "no": NO}[what]
    words, beside = (
        _either(line for language, line in lines.items() if (language in _UNSPACED) is unspaced)
        for lines in (table, GENERAL)
    )
    if what in ("yes", "no"):
        return re.compile(words)
    # Atomic groups: a run of accompanying words matches in one way only, so no text takes long.
    if unspaced:
        beside = "|".join(sorted(beside.split("|"), key=len, reverse=True))
        return re.compile(rf"(?>{beside})+" if what == "general" else rf"(?>{beside})*?(?:{words})(?>{beside})*")
    beside = f"{beside}|{_BESIDE_UNKNOWN}" if what == "unknown" else beside
    one = rf"(?>(?:{beside})(?= |$))"
    return re.compile(rf"{one}(?: {one})*" if what == "general" else rf"(?:{one} )*?(?:{words})(?: {one})*")
