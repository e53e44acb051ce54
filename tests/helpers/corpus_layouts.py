"""Synthetic trees of official layouts with empty files: readers do not decode."""

import json


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def make_casia(root):
    touch(
        root, *(f"{speaker}/{emotion}/201.wav" for speaker in ("liuchanhg", "wangzhe") for emotion in ("angry", "sad"))
    )


def utterance(speaker, emotion, text="好的"):
    """An utterance of M3ED's annotation.json, with the fields of the official file."""
    votes = {f"EmoAnnotator{n}": emotion for n in (1, 2, 3)}
    label = {**votes, "final_mul_emo": emotion, "final_main_emo": emotion}
    return {"StartTime": "0:0:1:0", "EndTime": "0:0:2:0", "Text": text, "Speaker": speaker, "EmoAnnotation": label}


def make_m3ed(root):
    content = {}
    for series, part in (("anjia", "train"), ("humamaoba", "val"), ("woju", "test")):
        names = (f"{series}_1_1", f"{series}_1_2")
        people = {"A": {"Name": "房似锦", "Age": "young"}, "B": {"Name": "徐文昌", "Age": "mid"}}
        dialog = {names[0]: utterance("A", "Happy"), names[1]: utterance("B", "Anger", "走")}
        content[series] = {f"{series}_1": {"SpeakerInfo": people, "Dialog": dialog}}
        write(root / f"splitInfo/movie_list_{part}.txt", f"{series}\nanother{part}")
        touch(root, f"modality_speech/A_{names[0]}.wav", f"modality_speech/B_{names[1]}.wav")
    write(root / "annotation.json", json.dumps(content, ensure_ascii=False))


def make_emov_db(root):
    touch(root, "bea_Amused/amused_1-28_0001.wav", "sam_Disgusted/disgust_1-28_0001.wav")
    touch(root, "josh_Sleepy/sleepiness_1-28_0011.wav", "jenie_Angry/anger_1-28_0001.wav")


def make_asvp_esd(root):
    touch(root, "Audio/actor_36/03-01-04-01-10-36-03-03-01.wav", "Audio/actor_36/03-01-09-01-06-36-02-02-01-39.wav")
    touch(
        root, "Audio/actor_101/03-02-06-01-42-101-02-01-00-16.wav", "Audio/actor_12/03-01-06-01-02-12-02-01-02-16.wav"
    )


def make_mesd(root):
    folder = "Mexican Emotional Speech Database (MESD)"
    touch(
        root, f"{folder}/Anger_C_A_abajo.wav", f"{folder}/Happiness_F_B_buenos_dias.wav", f"{folder}/Fear_M_A_atrás.wav"
    )


def make_fau_aibo(root):
    chunks = {
        "Ohm_01_000_00": "N",
        "Ohm_01_000_01": "E",
        "Ohm_31_002_00": "A",
        "Mont_01_000_00": "P",
        "Mont_02_003_01": "R",
    }
    write(
        root / "labels/IS2009EmotionChallenge/chunk_labels_5cl_corpus.txt",
        "".join(f"{chunk} {label} 0.8\n" for chunk, label in chunks.items()),
    )
    touch(root, *(f"wav/{chunk}.wav" for chunk in chunks))


def make_cmu_mosei(root):
    head = (
        '"HITId","Input.VIDEO_ID","Input.CLIP",'
        + ",".join(f'"Answer.{e}"' for e in MOSEI)
        + ',"Answer.sentiment","Approve","Reject"'
    )
    ratings = {"a1_0": [(0, 0, 0, 2, 0, 0), (0, 0, 0, 1, 1, 0)], "a1_1": [(0,) * 6, (0,) * 6], "-b2_0": [(3, 0, 0, 0, 0, 0)],
               "-b2_1": [(1, 0, 0, 0, 1, 0)], "c3_0": [(0, 1, 0, 0, 0, 0)]}  # fmt: skip
    lines = [head]
    for clip, votes in ratings.items():
        video, number = clip.rsplit("_", 1)
        lines += [",".join(f'"{cell}"' for cell in ("hit", video, number, *vote, 1)) for vote in votes]
    write(root / "Raw/Labels/Batch_2980374_batch_results.csv", "\n".join(lines) + "\n")
    for video, segments in {"a1": 2, "-b2": 2, "c3": 2}.items():
        times = [f"{video}___{n}___{n - 0.4}___{n + 1.5}___well, {n}___ok" for n in range(segments)]
        write(root / f"Raw/Transcript/Segmented/Combined/{video}.txt", "\n".join(times) + "\n")
        touch(root, f"Raw/Audio/Full/WAV_16000/{video}.wav")


MOSEI = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def make_mer2024(root):
    rows = [f"sample_{n:08d},{('Happy', 'worried', 'sad')[n % 3]},0.5" for n in range(9)]
    write(root / "label-disdim.csv", "name,discrete,valence\n" + "\n".join(rows) + "\n")
    write(root / "label-transcription.csv", "name,chinese,english\n" + 'sample_00000000,"好的，走","Well, go"\n')
    touch(root, *(f"video-labeled/sample_{n:08d}.mp4" for n in range(8)), "video-unlabeled/sample_00000099.mp4")


def make_nemo(root):
    speakers = ("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0")
    touch(root, *(f"samples/{speaker}_{emotion}_13.wav" for speaker in speakers for emotion in ("anger", "surprised")))
    head = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    write(
        root / "data.tsv", head + 'EB0_anger_13.wav\tanger\tInteresuje mnie "historia".\tinteresuje\tEB0\tfemale\t27\n'
    )


def make_ased(root):
    for speaker in range(1, 66):
        touch(root, f"01Neutral/n1-01-01-02-{speaker:02d}.wav", f"04Sad/S4-04-02-01-{speaker:02d}.wav")


def make_korean(root):
    for speaker, folder in (
        ("nea", "emotional-to-emotional"),
        ("emh", "plain-to-emotional"),
        ("neb", "emotional-to-emotional"),
    ):
        touch(root, *(f"{folder}/{speaker}/wav/{speaker}{number:05d}.wav" for number in (1, 100, 101, 300, 301)))
    write(root / "emotional-to-emotional/nea/script/nea00001.txt", "\ufeff안녕하세요.\n")
    write(root / "emotional-to-emotional/nea/transcript/nea00001.txt", "an njeong\n")


def make_emota(root):
    touch(
        root,
        *(f"{folder}/{n:02d}_18_{folder[:3]}.wav" for n in range(1, 23) for folder in ("angry", "happy", "neutral")),
    )


def make_subesco(root):
    touch(
        root,
        *(f"{g}_{n:02d}_MONIKA_S_10_{e}_5.wav" for g in "FM" for n in range(1, 11) for e in ("NEUTRAL", "SURPRISE")),
    )


def make_banglaser(root):
    touch(root, *(f"Actor_{n:02d}/03-01-{e}-01-02-01-{n:02d}.wav" for n in range(1, 35) for e in ("01", "03", "05")))


def make_aesdd(root):
    touch(
        root, *(f"{folder}/{folder[0]}03 ({n}).wav" for n in range(1, 7) for folder in ("anger", "disgust", "sadness"))
    )


def make_cafe(root):
    touch(root, *(f"Colère/Faible/{n:02d}-{e}-1-3.wav" for n in range(1, 13) for e in "CJT"))


def make_shemo(root):
    touch(root, *(f"female/F{n:02d}W01.wav" for n in range(1, 32)), *(f"male/M{n:02d}S112.wav" for n in range(1, 57)))


def make_resd(root):
    for side, letters in (("train", "he"), ("test", "h")):
        names = [f"32_happiness_enthusiasm_{letter}_{side}" for letter in letters]
        emotions = {"h": "happiness", "e": "enthusiasm"}
        rows = [
            f"{name},32_happiness_enthusiasm/{name}.wav,{emotions[letter]}"
            for name, letter in zip(names, letters, strict=True)
        ]
        write(root / f"{side}.csv", "name,path,emotion\n" + "\n".join(rows) + "\n")
        touch(root, *(f"{side}/32_happiness_enthusiasm/{name}.wav" for name in names))


def make_emns(root):
    head = "id|utterance|description|emotion|date_created|status|gender|age|level|audio_recording|user_id\n"
    rows = [
        "1|Well, go.|a girl|Happy|x|Complete|Female|20s|6|wavs/a-1.webm|3",
        "2|No!|a girl|Sarcastic|x|Complete|Female|20s|6|wavs/a-2.webm|3",
    ]
    rows += ["3|Oh.|a girl|Sad|x|Complete|Female|20s|6|wavs/a-3.webm|3"]
    write(root / "metadata.csv", head + "\n".join(rows) + "\n")
    touch(root, *(f"cleaned_webm/a-{n}.webm" for n in (1, 2, 3)))


def make_jvnv(root):
    touch(
        root,
        *(
            f"jvnv_v1/{s}/{e}/regular/{s}_{e}_regular_01.wav"
            for s in ("F1", "F2", "M1", "M2")
            for e in ("anger", "surprise")
        ),
    )
    write(root / "jvnv_v1/transcription.csv", "anger_regular_01|おい|おい、待て。\n")


def make_emozionalmente(root):
    rows = [f"{n}.wav,{('joy', 'neutrality')[n % 2]},{n // 2}" for n in range(20)]
    write(root / "metadata/samples.csv", "file_name,emotion_expressed,actor\n" + "\n".join(rows) + "\n")
    touch(root, *(f"audio/{n}.wav" for n in range(19)))


def make_emis(root):
    touch(root, "7_happy_explicit_sad_0011_cosyvoice.wav", "7_happy_explicit_happy_0011_cosyvoice.wav")
    touch(root, "91_neutral_angry_0015_f5tts.wav", "12_sad_implicit_neutral_0015_styletts.wav")


def make_listen(root):
    rows = [
        {
            "id": "a",
            "experiment_type": "1",
            "answer": "anger",
            "explicit_emotion": "neutral",
            "transcription": "It is four.",
        },
        {
            "id": "b",
            "experiment_type": "2B",
            "answer": "happiness",
            "explicit_emotion": "happiness",
            "transcription": "Great!",
        },
        {
            "id": "c",
            "experiment_type": "3B",
            "answer": "sadness",
            "explicit_emotion": "happiness",
            "transcription": "Great.",
        },
        {
            "id": "d",
            "experiment_type": "3B",
            "answer": "frustration",
            "explicit_emotion": "anger",
            "transcription": "Oh.",
        },
        {"id": "e", "experiment_type": "4", "answer": "fear", "explicit_emotion": "", "transcription": ""},
    ]
    touch(root, *(f"audio/{row['id']}.wav" for row in rows))
    lines = (json.dumps({"file_name": f"audio/{row['id']}.wav", "choices": ["anger", "fear"], **row}) for row in rows)
    write(root / "metadata.jsonl", "\n".join(lines))


def make_humdial(root):
    for language in ("en", "zh"):
        touch(root, f"{language}/1.wav", f"{language}/2.wav")
        rows = [{"file_name": f"{n}.wav", "emotion": "sad", "text_emotion": "happy", "text": "Fine."} for n in (1, 2)]
        lines = (json.dumps({"id": f"{language}-{n}", **row}) for n, row in enumerate(rows))
        write(root / language / "metadata.jsonl", "\n".join(lines))


def make_neutral_words(root):
    touch(
        root,
        "ravdess/Actor_01/03-01-05-01-01-01-01.wav",
        "tess/OAF_back_fear.wav",
        "nemo/EB0_anger_1.wav",
        "emodb/03a01Fa.wav",
    )


MAKERS = {
    "emis": make_emis,
    "listen": make_listen,
    "humdial-conflict": make_humdial,
    "neutral-words": make_neutral_words,
    "emota": make_emota,
    "subesco": make_subesco,
    "banglaser": make_banglaser,
    "aesdd": make_aesdd,
    "cafe": make_cafe,
    "shemo": make_shemo,
    "resd": make_resd,
    "emns": make_emns,
    "jvnv": make_jvnv,
    "emozionalmente": make_emozionalmente,
    "nemo": make_nemo,
    "ased": make_ased,
    "korean": make_korean,
    "cmu-mosei": make_cmu_mosei,
    "mer2024": make_mer2024,
    "casia": make_casia,
    "m3ed": make_m3ed,
    "emov-db": make_emov_db,
    "asvp-esd": make_asvp_esd,
    "mesd": make_mesd,
    "fau-aibo": make_fau_aibo,
}
