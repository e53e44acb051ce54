"""The seven emotions of every logit, and the one place that maps the labels of each corpus onto them.

A label without a place among the seven stands in its table with None: such clips are left out and counted, never guessed. A
label that no table knows is an error that names it. In the tables "our choice" marks what the corpus leaves open; every other
line only renames.
"""

from fas_core.errors import CorpusError, FASError

UNKNOWN = "unknown label: "  # how `unplaced_reason` begins for a label that no table knows
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# The seven in the words and the three-letter codes that corpora use for them, known in every corpus; anything else has to be
# said corpus by corpus.
_SYNONYMS = {
    "angry": ("angry", "anger", "ang"),
    "disgust": ("disgust", "disgusted", "dis"),
    "fear": ("fear", "fearful", "afraid", "scared", "fea"),
    "happy": ("happy", "happiness", "joy", "joyful", "hap"),
    "neutral": ("neutral", "neu"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised", "sur"),
}
_PLAIN: dict[str, str | None] = {word: emotion for emotion, words in _SYNONYMS.items() for word in words}

CORPUS_LABELS: dict[str, dict[str, str | None]] = {
    # Poria et al., ACL 2019: the seven classes of the *_sent_emo.csv files.
    "meld": {
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "joy": "happy",
        "neutral": "neutral",
        "sadness": "sad",
        "surprise": "surprise",
    },
    # Busso et al., Language Resources and Evaluation 2008: EmoEvaluation. Excitement as happiness is the
    # usual merge; frustration, other and "no agreement" (xxx) have no place.
    "iemocap": {
        "ang": "angry",
        "dis": "disgust",
        "fea": "fear",
        "hap": "happy",
        "exc": "happy",
        "neu": "neutral",
        "sad": "sad",
        "sur": "surprise",
        "fru": None,
        "xxx": None,
        "oth": None,
    },
    # Bagher Zadeh et al., ACL 2018: six emotions; "neutral" is what is left when all six are rated zero.
    "cmu-mosei": dict(_PLAIN),
    # Lian et al., MER 2024: six classes. Worry is not simply fear, so it is left out (our choice).
    "mer2024": {
        "angry": "angry",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprise": "surprise",
        "worried": None,
    },
    # Livingstone and Russo, PLOS ONE 2018: third field of the file name. Calm as neutral, as in the
    # FAS paper.
    "ravdess": {
        "01": "neutral",
        "02": "neutral",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    # Zhou et al., Speech Communication 2022: folder names.
    "esd": {"angry": "angry", "happy": "happy", "neutral": "neutral", "sad": "sad", "surprise": "surprise"},
    # Huang et al. 2026, Table 7: surprised, angry, happy, sad, fear, hate (its disgust), neutral; for the words also tension
    # and excited.
    "case": _PLAIN | {"hate": "disgust", "tension": "fear", "excited": "happy"},
    # Zhao et al. 2025 (C2SER): field "emotion" of Emo-Emilia-ALL.jsonl, seven classes.
    "emo-emilia": dict(_PLAIN),
    # Costantini et al., LREC 2014: disgusto, gioia, neutrale, paura, rabbia, sorpresa, tristezza.
    "emovo": {
        "dis": "disgust",
        "gio": "happy",
        "neu": "neutral",
        "pau": "fear",
        "rab": "angry",
        "sor": "surprise",
        "tri": "sad",
    },
    # Burkhardt et al., Interspeech 2005: sixth letter of the file name (Wut, Langeweile, Ekel, Angst, Freude,
    # Trauer, neutral).
    "emodb": {
        "w": "angry",
        "e": "disgust",
        "a": "fear",
        "f": "happy",
        "n": "neutral",
        "t": "sad",
        "l": None,
    },
    # Pichora-Fuller and Dupuis 2020: last field of the file name; "ps" is pleasant surprise.
    "tess": {
        "angry": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "ps": "surprise",
    },
    # Cao et al., IEEE Trans. Affective Computing 2014: third field of the file name, the intended emotion.
    "crema-d": {
        "ang": "angry",
        "dis": "disgust",
        "fea": "fear",
        "hap": "happy",
        "neu": "neutral",
        "sad": "sad",
    },
    # Haq and Jackson, AVSP 2009: letters before the sentence number.
    "savee": {
        "a": "angry",
        "d": "disgust",
        "f": "fear",
        "h": "happy",
        "n": "neutral",
        "sa": "sad",
        "su": "surprise",
    },
    # CASIA Chinese emotional corpus (Institute of Automation): folder names, six classes; the part with sentences of
    # each speaker's own says normal for neutral.
    "casia": {
        "angry": "angry",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "normal": "neutral",
        "sad": "sad",
        "surprise": "surprise",
    },
    # Zhao et al., ACL 2022: final_main_emo of annotation.json.
    "m3ed": {
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprise": "surprise",
    },
    # Adigwe et al. 2018: folder names in both spellings of its releases. Amused as happy: our choice.
    "emov-db": {
        "amused": "happy",
        "angry": "angry",
        "anger": "angry",
        "disgust": "disgust",
        "disgusted": "disgust",
        "neutral": "neutral",
        "sleepy": None,
        "sleepiness": None,
    },
    # Landry et al. 2020, Zenodo 7132783: third field of the file name. Excitement, pleasure and disappointment are
    # classes of their own beside happy and sad there, so they are left out rather than merged (our choice).
    "asvp-esd": {
        "01": None,
        "02": "neutral",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
        "09": None,
        "10": None,
        "11": None,
        "12": None,
        "13": None,
    },
    # Duville et al. 2021 (Mexican Spanish): first field of the file name, in English.
    "mesd": {
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happiness": "happy",
        "neutral": "neutral",
        "sadness": "sad",
    },
    # Steidl 2009; Schuller et al., Interspeech 2009 challenge: five classes, as words and as letters. Anger
    # there also holds touchy and reprimanding. Positive (motherese, joyful) as happy: our choice.
    "fau-aibo": {
        "anger": "angry",
        "a": "angry",
        "emphatic": None,
        "e": None,
        "neutral": "neutral",
        "n": "neutral",
        "positive": "happy",
        "p": "happy",
        "rest": None,
        "r": None,
    },
    # Latif et al., FIT 2018: folder names, and the letter of the file name.
    "urdu": {
        "angry": "angry",
        "a": "angry",
        "happy": "happy",
        "h": "happy",
        "neutral": "neutral",
        "n": "neutral",
        "sad": "sad",
        "s": "sad",
    },
    # Christop, LREC-COLING 2024: second field of the file name, six classes.
    "nemo": dict(_PLAIN),
    # Retta et al. 2022: first field of the file name.
    "ased": {"n1": "neutral", "f2": "fear", "h3": "happy", "s4": "sad", "a5": "angry"},
    # emotiontts_open_db (Selvas AI, KAIST): the hundred of the clip's number, which its reader names.
    "korean": {"neutral": "neutral", "happy": "happy", "sad": "sad", "angry": "angry"},
    # Thevakumar et al., CHiPSAL 2025: last field of the file name, three letters.
    "emota": dict(_PLAIN),
    # Sultana et al., PLOS ONE 2021: sixth field of the file name, seven classes.
    "subesco": dict(_PLAIN),
    # Das et al., Data in Brief 2022: third field of the file name.
    "banglaser": {"01": "happy", "02": "sad", "03": "angry", "04": "surprise", "05": "neutral"},
    # Vryzas et al., Journal of the AES 2018: first letter of the file name; no neutral.
    "aesdd": {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "s": "sad"},
    # Gournay et al., MMSys 2018: colère, dégoût, joie, neutre, peur, surprise, tristesse.
    "cafe": {"c": "angry", "d": "disgust", "j": "happy", "n": "neutral", "p": "fear", "s": "surprise", "t": "sad"},
    # Mohamad Nezami et al., Language Resources and Evaluation 2019: letter after the speaker; W is surprise.
    "shemo": {"a": "angry", "f": "fear", "h": "happy", "n": "neutral", "s": "sad", "w": "surprise"},
    # Aniemore, Russian Emotional Speech Dialogs: column emotion. Enthusiasm is a class beside happiness, so it is left out (our choice).
    "resd": _PLAIN | {"enthusiasm": None},
    # Noriy et al. 2023: column emotion. Excited is a class beside happy, so it is left out (our choice).
    "emns": _PLAIN | {"excited": None, "sarcastic": None},
    # Xin et al. 2023: second field of the file name, six classes; no neutral.
    "jvnv": dict(_PLAIN),
    # Catania et al.: column emotion_expressed, seven classes.
    "emozionalmente": _PLAIN | {"neutrality": "neutral"},
    # Corrêa et al., ICASSP 2026: second and third field of the file name, four classes.
    "emis": dict(_PLAIN),
    # LISTEN 2025: answer and explicit_emotion. Excitement and frustration are classes beside happiness and anger there, so they are
    # left out (our choice).
    "listen": _PLAIN | {"excitement": None, "excited": None, "frustration": None, "frustrated": None, "ridicule": None},
    # Wang et al. 2026, task 4: the seven classes of the challenge.
    "humdial-conflict": dict(_PLAIN),
    # Tables of the user's own: the plain words only.
    "manifest": dict(_PLAIN),
}

# What classifiers of texts say beside the plain words: GoEmotions' 28 as its authors group them (Demszky et al., ACL 2020,
# ekman_mapping.json of their release); terms of other sets that mean the same (our choice).
TEXT_LABELS: dict[str, str] = {
    **{word: emotion for word, emotion in _PLAIN.items() if emotion},
    **dict.fromkeys(("annoyance", "disapproval", "rage"), "angry"),
    **dict.fromkeys(("nervousness", "terror", "anxiety"), "fear"),
    **dict.fromkeys(
        (
            "amusement",
            "approval",
            "excitement",
            "gratitude",
            "love",
            "optimism",
            "relief",
            "pride",
            "admiration",
            "desire",
            "caring",
        ),
        "happy",
    ),
    **dict.fromkeys(("disappointment", "embarrassment", "grief", "remorse"), "sad"),
    **dict.fromkeys(("realization", "confusion", "curiosity"), "surprise"),
    **dict.fromkeys(("no emotion", "no_emotion", "others"), "neutral"),
}

# What a code stands for, for the labels that are left out: a count of "l" would tell a reader nothing.
_CODE_NAMES = {
    "emodb": {"l": "boredom"},
    "iemocap": {"fru": "frustration", "xxx": "no agreement (xxx)", "oth": "other"},
    "asvp-esd": {
        "01": "boredom",
        "09": "excitement",
        "10": "pleasure",
        "11": "pain",
        "12": "disappointment",
        "13": "breath",
    },
    "fau-aibo": {"e": "emphatic", "r": "rest"},
}


def map_label(corpus: str, raw: str) -> str | None:
    """One of `EMOTIONS` for a raw label of a corpus; None where its table says that it has no place.

    Case and surrounding space do not matter; the plain words (angry or anger, ...) are known in every corpus.

    Raises:
        CorpusError: the corpus has no table, or nothing knows the label.

    Examples:
        >>> map_label("tess", "PS"), map_label("case", "hate"), map_label("meld", "Happiness")
        ('surprise', 'disgust', 'happy')
        >>> map_label("emodb", "L") is None
        True
    """
    table, label = _table(corpus), normal(raw)
    if label not in table:
        raise CorpusError(f"{corpus}: unknown label {str(raw).strip()!r}; expected one of {', '.join(table)}")
    return table[label]


def unplaced_reason(corpus: str, raw: str) -> str | None:
    """Why a raw label gives no emotion, as it is counted in `Reading.excluded`; None where it gives one.

    Examples:
        >>> unplaced_reason("emodb", "L"), unplaced_reason("emodb", "Q"), unplaced_reason("emodb", "W")
        ('boredom has no place', 'unknown label: Q', None)
    """
    table, label = _table(corpus), normal(raw)
    if label not in table:
        return f"{UNKNOWN}{str(raw).strip()}"
    if table[label] is not None:
        return None
    return f"{_CODE_NAMES.get(corpus, {}).get(label, label)} has no place"


def map_text_label(raw: str) -> str:
    """One of `EMOTIONS` for a label of a classifier of texts.

    Raises:
        FASError: nothing knows the label.

    Examples:
        >>> map_text_label("Joy"), map_text_label("curiosity")
        ('happy', 'surprise')
    """
    if normal(raw) not in TEXT_LABELS:
        raise FASError(f"label {str(raw)!r} has no place among the seven; expected one of {', '.join(TEXT_LABELS)}")
    return TEXT_LABELS[normal(raw)]


def _table(corpus: str) -> dict[str, str | None]:
    if corpus not in CORPUS_LABELS:
        known = ", ".join(sorted(CORPUS_LABELS))
        raise CorpusError(f"corpus {corpus!r} has no label table; expected one of {known}")
    return CORPUS_LABELS[corpus] | {word: e for word, e in _PLAIN.items() if word not in CORPUS_LABELS[corpus]}


def normal(raw: str) -> str:
    """A label as it stands in the tables: small letters, single spaces."""
    return " ".join(str(raw).casefold().split())
