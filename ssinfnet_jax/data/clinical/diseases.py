"""Counts the diseases that a free text names; refuses texts that cannot be counted."""

import collections
import dataclasses
import html
import math
import re
from collections.abc import Iterable, Sequence

import pandas as pd

from ssinfnet_jax.data.clinical import disease_names, vocabulary

MAX_DISEASES = 30  # a larger number is a code or a typo


_CJK = r"[\u3040-\u30ff\u3400-\u9fff]"
_ABBREVIATIONS = (  # whose full stop does not end a sentence
    "st|art|arter|chr|chron|diab|mell|ca|dr|vs|approx|hx|hist|susp|dis|synd|insuff|pulm|card|kard|ggf|bzw|inc|incl|resp|"
    "hyp|cong|congen|obstr|rheum|prim|sec|sek|nr|gr|stad|std|lt|li|re|bds|ren|hep|med|path|ant|ipert|enf|mal"
)
_STRONG = re.compile(
    r"\\[nr]|<br ?/?>|_x000d_|\bu\.(?=\s+(?!a\b))|[,;|+&\n\r、。/•·▪*]|(?<!和)(?:以及|和|及|与|伴有?|合并(?!症))|"
    r"\b(?:and|und|sowie|et|plus|as well as|et que)\b|(?<=\s)y(?=\s)|(?<!hepatitis )(?<!vitamin )(?<=\s)e(?=\s)"
)
_FULL_STOP = re.compile(
    rf"(?<!\d)(?<!\b[a-z])(?<!\.)\.(?=\s|$|[^\W\d_]{{3}})|(?<=\d)\.(?=\s|$)|\.(?={_CJK})|(?<={_CJK})\."
)
_CJK_BLANK = re.compile(rf"(?<={_CJK})[ \t]+(?={_CJK}|\d ?型)")
_MIXED_BLANK = re.compile(rf"(?<={_CJK})[ \t]+(?=[a-z]{{2}})|(?<=[a-z]{{2}})[ \t]+(?=(?![型期级度]){_CJK})")
_WIDE_BLANK = re.compile(r"[ \t]{2,}|\t")
_LOOSE = re.compile(rf"\s+-+\s+|(?<={_CJK})-+(?={_CJK})|\s(?:with|mit|avec|con)\s")
_ONE_NAME = re.compile(
    r"\bhiv ?/ ?aids\b|\bhead and neck\b|\bhand,? foot,? and mouth\b|\bear,? nose,? and throat\b|\bn/[adk]\b"
)
_HISTORY = re.compile(
    r"(?<!no )(?<!not )\b(?:h/o|s/p|k/c/o|c/o|k/c|history of|hx of|known|status post|st\. ?p\.|z\. ?n\.|st\. ?n\.)\s*"
)
_BRACKETS = r"\([^()]*\)|\[[^\[\]]*\]"
_NUMBERING = re.compile(r"(?:^|(?<=[\s,;.、。]))\(?(\d{1,2})[.)、:]\s*(?=[^\W\d])|([\u2460-\u2473])")
_REFUSED = re.compile(
    r"[+-]?\d(?!\d*\s*(?:型|期|级|度))(?!\d*(?:st|nd|rd|th)\b)(?!\d*-[a-z])|"
    r"(?:no|none|not|nil|without|w/o|denie[sd]|never|neither|kein\w*|ohne|nicht|pas d|aucune?|sans|sin|ningun\w*|"
    r"nessun\w*|senza|nega|niega)\b|无|否认|没有|未见|未发现|未患"
)
_INNER_DENIAL = re.compile(r"\s(?:no|not|without|denie[sd]|never|kein\w*|ohne|sans|sin|senza)\s|无|否认|没有")
_UNCERTAIN = re.compile(
    r"\?|\b(?:possibl[ey]|probabl[ey]|suspected|suspicion|suspicious|susp|query|maybe|perhaps|likely|rule out|r/o|"
    r"verdacht|v\. ?a|fraglich|soupcon|sospett[oa]|sospecha|or|oder|vs|versus|unknown|unclear|uncertain|unbekannt|"
    r"unklar|inconnue?)\b|疑|可能|待排|或|不详|不明|未知|待查"
)
_MORE = re.compile(
    r"(?:etc|usw|u\. ?a|and (?:more|others?)|others?|among others|additional|more|andere|autres?|altr[oie]|otr[oa]s|"
    r"其[他它]|等)\W*|\.{2,}|…"
)
_MORE_AT_END = re.compile(r"(?:\s(?:etc|usw|u\. ?a|and others?|and more)|等(?:疾?病)?|…|\.{2,})\W*$")
_ELSEWHERE = re.compile(r"(?:same|ditto|dito|idem|as above|see above|see previous|同上)\b.*")
_SOME = re.compile(
    r"(?:multiple|several|many|various|some|few|a few|one|two|three|four|five|six|seven|eight|nine|ten|mehrere|"
    r"einige|viele|plusieurs|diverse|varie|varias|varios|多种|多个|数种|一|二|两|三|四|五)(?:种|个| )?(.*)"
)
_EXCUSE = re.compile(  # in words that do not look like a disease
    r"unab|unavail|obtain|refus|declin|availab|data|info|record|await|waiting|pend|investigat|evaluat|check|recall|"
    r"remember|know|clarif|confirm|determin|disclos|answer|\b(?:say|tell|ask)|verweiger|angab|bekannt|connu|conoc|rifiut|"
    r"rechaz|attente|attesa|拒|缺|待|不|未|无|资料|记录|获取"
)
_SHORT = {"w/o": "without", "w/": " with ", "r/o": "rule out", "d/t": "due to", "and/or": "or"}
_SIGN = re.compile(r"[(\[\s]*(?:-+|\++)[)\]\s]*")
_REMEDY = "write a number such as 2, the names separated by commas, or none; or leave the cell empty"


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a text says: the number of diseases (NaN if unknown), and why to check it ("" if there is no doubt)."""

    count: float
    doubt: str = ""


def read(text: str) -> Reading:
    """Counts the distinct diseases in a free text, or reads the number that it holds.

    Separators: `, ; / | + &`, line breaks, bullets, list numbers (`1. ... 2. ...`), a full stop between words,
    "and" (und, et, y, e, 和, 及, ...), Chinese punctuation, a blank between Chinese words, several blanks. Not
    separators: a blank between other words, the dot of an abbreviation or a number, and anything in brackets.

    Returns: the number; 0 for denials (`none`, `no known comorbidities`, `无`) and for a dash; NaN for words
      that say it is unknown (`?`, `N.A.`, `refused`, `不详`) and for an empty text.
    Raises: ValueError for numbers that are fractional or larger than MAX_DISEASES, for text that says there are
      diseases but not how many ("yes", "several"), and for text that begins with a number or contains a denial
      that is not understood, such as "2 diseases" or "no diabetes".
    """
    folded = vocabulary.fold(_without_numbering(html.unescape(text))).strip()
    for short, words in _SHORT.items():
        folded = re.sub(rf"\b{short}(?![a-z])", words, folded)
    plain = " ".join(folded.split()).strip()
    if _SIGN.fullmatch(plain) and "-" in plain:
        return Reading(0.0, "a dash counts as none")
    if is_unknown(plain):
        return Reading(math.nan)
    if re.fullmatch(r"\d+(\.0+)?\.?", plain):
        return _number(text, float(plain.rstrip(".")))
    if match := re.fullmatch(r"(\d+)(?: ?[(:]| -) ?([^()]+)\)?", plain):
        return _number_and_names(text, float(match[1]), match[2])
    if vocabulary.denies(_without_label(plain)):
        return Reading(0.0, "is not certain" if "?" in plain else "")
    return _count(text, _pieces(folded))


def is_unknown(text: str) -> bool:
    """Whether a text is empty or says that the diseases are unknown; dashes and plus signs do not say so."""
    return vocabulary.is_unknown(text) and not _SIGN.fullmatch(vocabulary.fold(text))


def read_all(texts: Sequence[str]) -> tuple[list[float], pd.DataFrame, dict[str, str]]:
    """Reads a column of texts.

    If all texts are yes, no or unknown, they count as 1, 0 and NaN: whether there is any disease.

    Returns: the counts, NaN also for refused texts; the doubtful texts, each once, with columns text, count
      (diseases), patients (how many have this text), why; and the reason for each refused text.
    """
    counts = collections.Counter(texts)
    answers = {text: vocabulary.answer(text) for text in counts if not is_unknown(text)}
    if True in answers.values() and None not in answers.values():
        readings = {
            text: Reading(float(said), "yes and no: whether any, not how many") for text, said in answers.items()
        }
        refused = {}
    else:
        readings, refused = _read_each(counts)
    missing = Reading(math.nan)
    doubts = [(text, said.count, counts[text], said.doubt) for text, said in readings.items() if said.doubt]
    listed = pd.DataFrame(doubts, columns=["text", "count", "patients", "why"])
    return [readings.get(text, missing).count for text in texts], listed, refused


def _read_each(texts: Iterable[str]) -> tuple[dict[str, Reading], dict[str, str]]:
    readings, refused = {}, {}
    for text in texts:
        try:
            readings[text] = read(text)
        except ValueError as error:
            refused[text] = str(error)
    return readings, refused


def _number(text: str, number: float) -> Reading:
    if number > MAX_DISEASES:
        raise ValueError(
            f"diseases {text.strip()!r} cannot be counted: a number of diseases is at most {MAX_DISEASES}; leave the "
            "cell empty if the code means unknown"
        )
    return Reading(number)


def _number_and_names(text: str, number: float, names: str) -> Reading:
    """Reads `2 (hypertension, diabetes)`; refuses a number that does not match the names."""
    if read(names).count != number:
        raise ValueError(f"diseases {text.strip()!r} cannot be counted: it does not name {number:g}; {_REMEDY}")
    return _number(text, number)


def _pieces(folded: str) -> list[str]:
    """Splits a text at separators, keeping its blanks; rewrites verdicts in brackets after a colon."""
    folded = re.sub(rf"({_BRACKETS})", _verdict, folded)
    folded = _without_brackets(_without_label(folded))
    kept: list[str] = []
    for pattern in (_ONE_NAME, _HISTORY):
        for found in pattern.findall(folded):
            kept.append(found if pattern is _ONE_NAME else "")
            folded = folded.replace(found, f"\ue000{len(kept) - 1}\ue001", 1)
    folded = _FULL_STOP.sub(_stop, folded)
    pieces = _STRONG.split(folded)
    pieces = [part for piece in pieces for part in _split_blanks(piece)]
    restored = [re.sub("\ue000(\\d+)\ue001", lambda m: kept[int(m[1])], piece) for piece in pieces]
    return [re.sub(r"^\s*-+\s*(?!\d)", "", piece).strip(" \t.:'\"") for piece in restored]


def _stop(match: re.Match) -> str:
    before = re.search(r"[^\W\d_]*$", match.string[: match.start()])[0]
    return match[0] if re.fullmatch(_ABBREVIATIONS, before) else ";"


def _split_blanks(piece: str) -> list[str]:
    """Splits a piece at blanks between Chinese words; a part without a name stays with the word before it."""
    parts: list[str] = []
    for part in (p for rough in _CJK_BLANK.split(piece) for p in _MIXED_BLANK.split(rough)):
        alone = re.fullmatch(r"[\di]+ ?型", parts[-1].strip()) if parts else None
        if parts and (alone or vocabulary.is_general(part)):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def _verdict(match: re.Match) -> str:
    inside = match[0][1:-1].strip()
    if inside in ("+", "-") or vocabulary.answer(inside) is not None:
        return f": {'no' if inside == '-' else 'yes' if inside == '+' else inside} "
    return match[0]


def _without_brackets(text: str) -> str:
    text = text.replace("(?)", "?")
    count = 1
    while count:  # brackets in brackets
        text, count = re.subn(rf"[ \t]*(?:{_BRACKETS})[ \t]*", " ", text)
    return text


def _without_label(text: str) -> str:
    label, colon, rest = text.partition(":")
    return rest if colon and rest.strip() and vocabulary.is_general(label) else text


def _without_numbering(text: str) -> str:
    """Replaces the list numbers of `1. hypertension 2. diabetes` or `①...②...` with semicolons."""
    marks = list(_NUMBERING.finditer(text))
    numbers = [int(m[1]) if m[1] else ord(m[2]) - 0x245F for m in marks]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        return text
    return _NUMBERING.sub(";", text)


def _count(text: str, pieces: list[str]) -> Reading:
    names: dict[str, None] = {}
    said: dict[str, None] = {}  # statements besides names
    doubts: dict[str, None] = {}
    for piece in filter(None, pieces):
        piece, verdict = _answered(piece)
        if not _MORE.fullmatch(piece) and _MORE_AT_END.search(piece):
            said["more"] = None
            piece = _MORE_AT_END.sub("", piece)
        if verdict is False:
            said["denied by name"] = None
        elif verdict == "unknown" or vocabulary.is_unknown(piece):
            said["unknown"] = None
        elif vocabulary.denies(piece):
            said[
                "none" if not re.search(r"other|else|further|weiter|autre|altr|otr|其[他它]", piece) else "no other"
            ] = None
        elif _MORE.fullmatch(piece):
            said["more"] = None
        else:
            _check_name(text, piece)
            found, doubt = _names(piece)
            names |= dict.fromkeys(found)
            doubts |= {doubt: None} if doubt else {}
    return _decide(text, names, said, doubts)


def _decide(text: str, names: dict[str, None], said: dict[str, None], doubts: dict[str, None]) -> Reading:
    if not names:
        if "more" in said or not said:
            raise ValueError(f"diseases {text.strip()!r} cannot be counted; {_REMEDY}")
        if "unknown" in said:
            return Reading(math.nan, "says unknown and none" if len(said) > 1 else "")
        return Reading(0.0, "denies the diseases it names" if "denied by name" in said else "")
    if "unknown" in said:
        doubts["names diseases and says unknown: the named ones count"] = None
    if "none" in said:
        doubts["names diseases and says none: the named ones count"] = None
    if "more" in said:
        doubts["names diseases and says that there are more: the named ones count"] = None
    return Reading(float(len(names)), "; ".join(doubts))


def _answered(piece: str) -> tuple[str, bool | str | None]:
    """Splits `diabetes: no` or `HIV negative` into the name and True, False, "unknown" or None."""
    signs = {"+": True, "1": True, "-": False, "0": False}
    named = re.fullmatch(r"(.+?)\s*[:=]\s*(.+)", piece)
    match = named or re.fullmatch(r"(.*[^\W\d_]{2})\s+(\D\S*)", piece)
    if not match or vocabulary.is_general(match[1]) or _REFUSED.match(piece):
        return piece, None
    said = signs.get(match[2], vocabulary.answer(match[2]))
    if named and said is None and vocabulary.is_unknown(match[2]):
        said = "unknown"
    return (piece, None) if said is None else (match[1], said)


def _check_name(text: str, piece: str) -> None:
    """Raises ValueError for a piece that does not name a disease."""
    words = " ".join(piece.split())
    some = _SOME.fullmatch(words)
    if (some and (not some[1].strip() or vocabulary.is_general(some[1]))) or vocabulary.answer(words):
        raise ValueError(f"diseases {text.strip()!r} cannot be counted ({words!r} does not say how many); {_REMEDY}")
    letters = re.search(rf"[^\W\d_].*[^\W\d_]|{_CJK}", words) or disease_names.codes(words)
    unclear = _REFUSED.match(words) or (_EXCUSE.search(words) and not disease_names.looks_like_one(words))
    if unclear or _ELSEWHERE.fullmatch(words) or not letters or re.search(r"[()\[\]]", words):
        raise ValueError(f"diseases {text.strip()!r} cannot be counted ({words!r} is not understood); {_REMEDY}")


def _names(piece: str) -> tuple[list[str], str]:
    """Lists the diseases of a piece, one name each, and why to check them ("" if there is no doubt)."""
    words = " ".join(piece.split())
    wide = [part.strip() for part in _WIDE_BLANK.split(piece)]
    if len(wide) > 1 and all(disease_names.looks_like_one(part) and not vocabulary.is_general(part) for part in wide):
        return [disease_names.one_name(part) for part in wide], "names are separated by several blanks"
    if len(disease_names.codes(words)) > 1:
        return disease_names.codes(words), "codes are separated by blanks"
    known = disease_names.known_in(words)
    if len(set(known)) > 1 and (
        disease_names.only_names(words) or all(map(disease_names.is_known, _LOOSE.split(words)))
    ):
        return known, "names are separated by a blank, a dash or 'with'"
    return [disease_names.one_name(words)], _doubt(words, several=len(set(known)) > 1)


def _doubt(words: str, *, several: bool) -> str:
    """Says why to check a piece that counts as one disease, or ""."""
    if several or ("-" in words and _LOOSE.search(words)):
        return "may name several diseases: counted as one"
    if vocabulary.is_general(words):
        return "names no disease: counted as one"
    if _UNCERTAIN.search(words):
        return "is not certain: counted as one"
    if _INNER_DENIAL.search(words):
        return "denies something: counted as one"
    return "" if disease_names.looks_like_one(words) else f"{words!r} does not look like a disease: counted as one"
