"""Which of the seven emotions a text names, and which option letters, in English and Chinese; what is denied is not named."""

import re

from fas_alm.conversations.wordings import SYNONYMS
from fas_alm.prompts import EMOTION_NAMES, OPTION_LETTERS
from fas_core.labels import EMOTIONS

TERMS = {
    emotion: {emotion, *SYNONYMS[emotion], *(names[emotion] for names in EMOTION_NAMES.values())}
    for emotion in EMOTIONS
}
EMOTION_OF = {term: emotion for emotion, terms in TERMS.items() for term in terms}


def _either(words) -> str:
    """A pattern of the longest word that fits."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


ENGLISH = rf"\b(?:{_either(t for t in EMOTION_OF if t.isascii())})\b"
CHINESE = _either(t for t in EMOTION_OF if not t.isascii())
# ASCII: a Chinese character beside an English word is the end of the word, and no other alphabet's letter stands for "s" or "i".
FLAGS = re.IGNORECASE | re.ASCII
NAMED = re.compile(f"{ENGLISH}|{CHINESE}", FLAGS)
# A letter alone. "A" also begins sentences: as an option it is followed by punctuation or by the end.
LETTER = re.compile(rf"(?<![A-Za-z])(?:[{OPTION_LETTERS[1:]}](?![A-Za-z'’])|A(?=\s*(?:[^\w\s'’]|$)))")
# Between "not" and what it denies may stand a few words, and other things that it denies as well: "not really sad or angry".
_FILLER = (
    "really|very|so|quite|particularly|especially|necessarily|exactly|at all|any|a|an|the|of|feel|feeling|sound|sounding|seem|be|"
    "being|express|expressing|show|showing|signs|option|letter|answer|clearly|to|is|it|he|she"
)
_THING = rf"(?:{ENGLISH}|[{OPTION_LETTERS}]\b)\W?"
_ENGLISH_NO = r"(?:\bnot|n['’]t|\bcannot|\bno|\bno longer|\bnever|\bneither|\bnor|\bwithout|\brather than|\binstead of|\black(?:s|ing)?)"
_CHINESE_THING = f"(?:{CHINESE})(?:或者?|和|、|也不是?)"
DENIED = re.compile(
    rf"{_ENGLISH_NO}\s+(?:(?:{_FILLER})\s+)*(?:{_THING}\s*(?:or|nor|and|/)\s+(?:(?:{_FILLER})\s+)*)*[\"'“(*]*$"
    rf"|(?:并?不(?:是|太|很|像|算|选|觉得|感到)*|没有?|并非|而非|毫?无)(?:任何|明显的?|表现出|表达|选)*(?:{_CHINESE_THING})*$",
    FLAGS,
)
BEFORE = 80  # characters that are searched for a "not"
CLAUSE = re.compile(r"[.;:!?。；：！？\n]|\bbut\b|而是|但")


def named_emotions(text: str) -> dict[str, int]:
    """Emotion -> where it is first named without being denied.

    Examples:
        >>> named_emotions("not angry or afraid but sad")
        {'sad': 24}
        >>> named_emotions("不是愤怒，而是悲伤")
        {'sad': 7}
    """
    places: dict[str, int] = {}
    for match in NAMED.finditer(text):
        if not _is_denied(text, match.start()):
            places.setdefault(EMOTION_OF[match.group().lower()], match.start())
    return places


def option_letters(text: str) -> set[str]:
    """Letters that stand alone as options do and are not denied.

    Examples:
        >>> sorted(option_letters("A voice like this is not B but (D)"))
        ['D']
    """
    return {match.group() for match in LETTER.finditer(text) if not _is_denied(text, match.start())}


def _is_denied(text: str, start: int) -> bool:
    clause = CLAUSE.split(text[max(0, start - BEFORE) : start])[-1]
    return DENIED.search(clause) is not None
