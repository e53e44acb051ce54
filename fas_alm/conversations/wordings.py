"""The words of questions and answers, in English and Chinese. The lettered question is `fas_alm.prompts`' own."""

QUESTIONS = {
    "words": {
        "en": (
            "Which emotion do the words express?\n{options}\nAnswer with one letter.",
            "What do the words alone say?\n{options}\nReply with the letter only.",
            "Read what is said and choose its emotion.\n{options}\nGive one letter.",
        ),
        "zh": (
            "这些话表达了什么情绪？\n{options}\n只回答一个字母。",
            "只看话语内容，是什么情绪？\n{options}\n请用一个字母回答。",
            "请根据所说的内容选择情绪。\n{options}\n只写字母。",
        ),
    },
    "conflict": {
        "en": (
            "Do the words and the tone of voice contradict each other?\n{options}\nAnswer with one letter.",
            "Does the speaker say one thing and sound like another?\n{options}\nReply with the letter only.",
            "Compare words and tone: is there a conflict?\n{options}\nGive one letter.",
        ),
        "zh": (
            "话语内容和语气互相矛盾吗？\n{options}\n只回答一个字母。",
            "说话人是不是说的是一回事，语气却是另一回事？\n{options}\n请用一个字母回答。",
            "请比较话语和语气：有冲突吗？\n{options}\n只写字母。",
        ),
    },
    "name": {
        "en": (
            "Name the emotion in this voice, in one word.",
            "What does the speaker feel, by the sound of the voice? One word.",
            "In one word, how does this person sound?",
        ),
        "zh": (
            "用一个词说出这段语音的情绪。",
            "从语气听，说话人是什么情绪？用一个词回答。",
            "说话人听起来怎么样？请用一个词回答。",
        ),
    },
    "tone_words": {
        "en": (
            "What does the tone say, and what do the words say?",
            "Which emotion is in the voice, and which is in the words?",
            "Compare the tone of voice with what is being said.",
        ),
        "zh": (
            "语气表达了什么情绪？话语内容又表达了什么情绪？",
            "声音里是什么情绪，话里是什么情绪？",
            "请比较说话人的语气和所说的内容。",
        ),
    },
    "agree": {
        "en": (
            "Do the tone and the words agree?",
            "Does the speaker sound the way the words read?",
            "How does the speaker feel, and do the words agree?",
        ),
        "zh": (
            "语气和话语内容一致吗？",
            "说话人的语气与所说的话相符吗？",
            "说话人的情绪如何？和话语内容一致吗？",
        ),
    },
    "json": {
        "en": ('Answer as JSON: {{"emotion": one of {emotions}}}', 'Emotion of the voice ({emotions}) as {{"emotion": ...}}, JSON only.'),
        "zh": ('请用 JSON 回答：{{"emotion": {emotions} 之一}}', '语音的情绪（{emotions}），只输出 JSON：{{"emotion": ...}}'),
    },
    "json_words": {
        "en": (
            'Answer as JSON: {{"emotion": the tone, "words": the words, "agree": true or false}}, emotions being {emotions}.',
            'Tone and words, each one of {emotions}, as JSON with "emotion", "words" and "agree".',
        ),
        "zh": (
            '请用 JSON 回答：{{"emotion": 语气, "words": 话语内容, "agree": true 或 false}}，情绪为 {emotions} 之一。',
            '语气和话语内容各是什么情绪（{emotions}）？用含 "emotion"、"words"、"agree" 的 JSON 回答。',
        ),
    },
}  # fmt: skip

TONE_AND_WORDS = {
    "en": "The tone is {tone}; the words are {words}.",
    "zh": "语气是{tone}；话语内容是{words}。",
}
# Words that carry another emotion; the same emotion; no emotion, which contradicts no tone (`fas_core.conflict`).
AGREE = {
    "en": {
        "conflict": "No: the tone is {tone}, but the words are {words}.",
        "same": "Yes: both the tone and the words are {tone}.",
        "none": "Yes: the tone is {tone}, and the words carry no emotion.",
    },
    "zh": {
        "conflict": "不一致：语气是{tone}，而话语内容是{words}。",
        "same": "一致：语气和话语内容都是{tone}。",
        "none": "一致：语气是{tone}，话语内容不带情绪。",
    },
}
YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}  # as `fas_alm.prompts.CONFLICT` lists them

# What people and models say for the seven, beside their names; to read free text, never to write it.
SYNONYMS = {
    "angry": ("anger", "angered", "furious", "fury", "mad", "rage", "enraged", "outraged", "irritated", "irritation", "annoyed",
              "annoyance", "生气", "愤怒", "气愤", "恼火", "恼怒", "发怒", "愤慨"),
    "disgust": ("disgusted", "disgusting", "revolted", "repulsed", "revulsion", "厌恶", "恶心", "反感", "嫌弃", "憎恶"),
    "fear": ("fearful", "afraid", "scared", "frightened", "terrified", "anxious", "anxiety", "恐惧", "害怕", "恐慌", "惊恐", "惧怕"),
    "happy": ("happiness", "joy", "joyful", "joyous", "glad", "cheerful", "delighted", "excited", "excitement",
              "高兴", "开心", "快乐", "愉快", "喜悦", "欢快", "兴奋"),
    "neutral": ("calm", "neutrality", "unemotional", "emotionless", "中性", "平静", "中立", "平和"),
    "sad": ("sadness", "unhappy", "sorrow", "sorrowful", "depressed", "melancholy", "grief", "悲伤", "难过", "伤心", "悲痛", "忧伤",
            "伤感"),
    "surprise": ("surprised", "surprising", "astonished", "astonishment", "amazed", "amazement", "shocked", "惊讶", "吃惊", "惊奇",
                 "诧异", "震惊", "惊喜"),
}  # fmt: skip
