"""The words of rationales, in English and Chinese: questions, the sentences of templates, and what names a level when it is read.

No template uses a word that names an emotion beside the one that is meant (`fas_alm.conversations.naming`).
"""

QUESTIONS = {
    "en": (
        "Describe how the voice sounds and what it says, then name the emotion.",
        "How does the speaker sound? Say what you hear first, then the emotion.",
        "Think aloud: pace, pitch, loudness and words, and then the emotion of the voice.",
        "Which emotion does the voice express? Give your reasons first.",
    ),
    "zh": (
        "请先描述声音的特点和所说的内容，再说出情绪。",
        "说话人听起来怎么样？先说你听到了什么，再说情绪。",
        "请逐步思考：语速、音调、音量和内容，然后说出情绪。",
        "这段语音表达了什么情绪？请先说明理由。",
    ),
}
# What templates call a level; C2SER's "medium" is what people call moderate or normal.
SAID = {
    "en": {
        "rate": {"low": ("slow", "leisurely"), "medium": ("moderate", "normal"), "high": ("fast", "rapid")},
        "pitch": {"low": ("low",), "medium": ("medium", "normal"), "high": ("high",)},
        "loudness": {"low": ("quiet", "soft"), "medium": ("moderate", "normal"), "high": ("loud", "high")},
    },
    "zh": {
        "rate": {"low": ("缓慢", "较慢"), "medium": ("适中", "正常"), "high": ("较快", "很快")},
        "pitch": {"low": ("较低", "偏低"), "medium": ("适中", "正常"), "high": ("较高", "偏高")},
        "loudness": {"low": ("较小", "偏小"), "medium": ("适中", "正常"), "high": ("较大", "很大")},
    },
}
PHRASES = {
    "en": {
        "rate": ("a {level} pace", "a {level} speaking rate", "a {level} tempo"),
        "pitch": ("a {level} pitch", "a {level}-pitched tone"),
        "loudness": ("a {level} volume", "a {level} level of loudness"),
    },
    "zh": {
        "rate": ("语速{level}", "说话速度{level}"),
        "pitch": ("音调{level}", "音高{level}"),
        "loudness": ("音量{level}", "响度{level}"),
    },
}
# {sound}: the phrases; {said}: what is said, or nothing; {emotion}: its name.
FRAMES = {
    "en": (
        "The speaker talks with {sound}{said}. From how the voice sounds, the emotion is {emotion}.",
        "I hear {sound}{said}. Together this points to one emotion: {emotion}.",
        "What stands out is {sound}{said}. The emotion of the voice is therefore {emotion}.",
        "The voice has {sound}{said}. Taken together, the speaker sounds {emotion}.",
        "There is {sound} in this voice{said}. Based on the speech characteristics, the emotion is inferred to be {emotion}.",
    ),
    "zh": (
        "说话人{sound}{said}。从声音听，情绪是{emotion}。",
        "我听到{sound}{said}。综合来看，情绪为{emotion}。",
        "这段语音{sound}{said}。根据语音特征推断，情绪是{emotion}。",
        "声音{sound}{said}。由此可以判断情绪：{emotion}。",
        "{sound}{said}。结合语音特征，说话人的情绪是{emotion}。",
    ),
}
SAYS = {
    "en": (", saying “{text}”", ", and the words are “{text}”", ", while the text is “{text}”"),
    "zh": ("，说的是“{text}”", "，内容是“{text}”", "，话语为“{text}”"),
}
JOINED = {"en": (", ", " and "), "zh": ("，", "，")}  # between phrases, and before the last

# What names a level in a rationale, whoever wrote it.
NOUNS = {
    "en": {
        "rate": "pace rate speed tempo",
        "pitch": "pitch pitched tone",
        "loudness": "volume loudness energy",
    },
    "zh": {"rate": "语速|说话速度|速度|节奏", "pitch": "音调|音高|声调|语调", "loudness": "音量|响度|声音大小"},
}
_MEDIUM = "moderate moderately medium normal average steady even"
NAMES = {
    "en": {
        "rate": {"low": "slow slower slowly leisurely unhurried low", "medium": _MEDIUM,
                 "high": "fast faster quick quickly rapid rapidly brisk hurried high"},
        "pitch": {"low": "low lower deep", "medium": _MEDIUM, "high": "high higher raised elevated"},
        "loudness": {"low": "low lower quiet quietly soft softly faint", "medium": _MEDIUM, "high": "high higher loud loudly strong"},
    },
    "zh": {
        "rate": {"low": "缓慢|慢", "medium": "适中|正常|中等|平稳", "high": "快|急促"},
        "pitch": {"low": "低沉|低", "medium": "适中|正常|中等|平稳", "high": "高"},
        "loudness": {"low": "小|低|轻", "medium": "适中|正常|中等", "high": "大|高|响亮"},
    },
}  # fmt: skip
# Words that name a level of an attribute without its noun.
ALONE = {
    "en": {
        "rate": {"low": "slowly", "medium": "", "high": "quickly rapidly"},
        "loudness": {"low": "quietly softly", "medium": "", "high": "loudly"},
    },
    "zh": {},
}

# Table I of C2SER, as it is printed; where something was not measured its part is left out.
INSTRUCTION = {
    "en": (
        "Based on the provided speech features—including {features}— along with {content}the emotion {emotion}, generate a natural and "
        "logical emotional description. Here is an example: ‘The speaker spoke {example}{quoted}. Based on the analysis of speech "
        "characteristics, the emotion was inferred to be {emotion}.’ Ensure including all speech features and logic of the description."
    ),
    "zh": (
        "根据所给的语音特征（{features}）、{content}以及情绪“{emotion}”，写一段自然而有逻辑的情绪描述。例如：‘说话人{example}{quoted}。"
        "根据语音特征分析，推断情绪为{emotion}。’请包含全部语音特征和推断的逻辑。"
    ),
}
FEATURES = {
    "en": {
        "rate": "a speaking rate of {level}",
        "loudness": "a volume level of {level}",
        "pitch": "a pitch of {level}",
    },
    "zh": {"rate": "语速{level}", "loudness": "音量{level}", "pitch": "音调{level}"},
}
EXAMPLE = {
    "en": {"rate": "at a {level} pace", "pitch": "with a {level} tone", "loudness": "and {level} level"},
    "zh": {"rate": "语速{level}", "pitch": "音调{level}", "loudness": "音量{level}"},
}
CONTENT = {"en": "the text content ‘{text}’ and ", "zh": "文本内容‘{text}’"}
QUOTED = {"en": ": “{text}”", "zh": "，说“{text}”"}
LEVEL_NAMES = {
    "en": {"low": "low", "medium": "medium", "high": "high"},
    "zh": {"low": "低", "medium": "中等", "high": "高"},
}
