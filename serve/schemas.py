"""What `/v1/emotion` takes and gives; FastAPI makes the OpenAPI schema of it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fas_core.answers import AudioFacts, Pathways, Tone
from fas_core.certainty import LEVELS
from fas_core.words.types import Words

Probabilities = Annotated[
    dict[str, float],
    Field(
        description="the seven emotions and their calibrated probabilities, summing to 1",
        examples=[dict(angry=0.7, disgust=0.1, fear=0.05, happy=0.05, neutral=0.04, sad=0.03, surprise=0.03)],
    ),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InputAudio(Strict):
    data: str = Field(description="base64 of an audio file: wav, flac, ogg, opus, mp3, m4a, webm ...")
    format: str = Field("wav", description="as in OpenAI's API; the content decides")


class InputAudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: InputAudio


class AudioURL(Strict):
    url: str = Field(description="data: URL, or an address on a host that the server lists")


class AudioURLPart(Strict):
    type: Literal["audio_url"]
    audio_url: AudioURL


class EmotionOptions(Strict):
    """The options of a request, in JSON and as form fields."""

    model: str | None = Field(None, description="name of `/v1/models`")
    words: bool | None = Field(
        None,
        description="what was said and what that says; by default where this server can, true: an error where it cannot, "
        "and the language model reads the transcript too",
    )
    unsure_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="an answer whose confidence is less is unsure; 0: none is; default: what the server was told",
    )
    label_sets: float | None = Field(
        None, ge=LEVELS[0], le=LEVELS[-1], description="also labels that hold the right one so often, e.g. 0.9"
    )
    rationale: bool = Field(False, description="a sentence or two on why; needs a language model")
    tokens: bool = Field(False, description="with the times of the tokens that FAS listened to")
    language: Literal["en", "zh"] = Field("en", description="of the questions put to the language model")
    channels: Literal["mix", "each"] | Annotated[int, Field(ge=1)] = Field(
        "mix", description="of a file with several: their mean, an answer for each, or the number of one, from 1"
    )
    timeline: bool = Field(False, description="also an answer for each window; for recordings of minutes and hours")
    window: float = Field(4.0, ge=0.5, le=30, description="seconds of a window of the timeline")
    hop: float = Field(2.0, ge=0.25, le=30, description="seconds from one window to the next, a quarter of it or more")
    stream: bool = Field(False, description="server-sent events: each window as it is answered, then the summary")

    @property
    def first_channel(self) -> int | str:
        return 1 if self.channels == "each" else self.channels

    @model_validator(mode="after")
    def _windows_follow_each_other(self) -> "EmotionOptions":
        if not self.window / 4 <= self.hop <= self.window:
            raise PydanticCustomError("hop", "hop: expected a quarter of the window to all of it")
        return self


Clip = Annotated[
    InputAudioPart | AudioURLPart | str, Field(description="an audio part as in a chat request, or a data: URL")
]


class EmotionRequest(EmotionOptions):
    """One clip or a list of them."""

    audio: Clip | list[Clip] = Field(description="one clip or a list of them")


class ErrorDetail(BaseModel):
    message: str = Field(description="what was wrong and what is expected")
    type: str
    param: str | None = Field(None, description="the field or part at fault, such as audio[1]")
    code: str | None = Field(None, description="a word to compare, such as silent_audio")


class ErrorResponse(BaseModel):
    """OpenAI's shape."""

    error: ErrorDetail


class LanguageModelAnswer(BaseModel):
    """What the language model says of the same clip."""

    label: str = Field(description="the most probable of its lettered options")
    probabilities: Probabilities
    option_mass: float = Field(
        description="how much of its answer the seven options hold, 0 to 1; low: do not trust it",
    )
    words: Tone | None = Field(None, description="what the words say, as it reads the transcript; with words=true")
    conflict: float | None = Field(
        None,
        description="probability of its letter for words and tone that contradict each other, not calibrated; with words=true, of a "
        "model that has learned to read transcripts",
    )
    rationale: str | None = Field(None, description="its own words, not to be taken for a measurement")


class ClipEmotion(BaseModel):
    """The answer to one clip: the fields of Python's `Answer`, all of them always there, and four of the server's own."""

    file: str | None = Field(description="name of the uploaded file")
    label: str | None = Field(None, description="the emotion of the voice; null where nobody speaks")
    unsure: bool = Field(False, description="true: do not rely on the label")
    confidence: float | None = Field(
        None,
        description="probability that the label is right, for voices and recordings that were never heard; null without calibration",
    )
    familiarity: float | None = Field(
        None,
        description="how near the clip is to those of the training: share of left-out clips that are further away, 0 to 1",
    )
    label_set: list[str] | None = Field(None, description="emotions that hold the right one; with label_sets")
    probabilities: Probabilities | None = Field(None, description="those of the label; where nobody speaks each is 0")
    tone: Tone | None = Field(None, description="what the tone of the voice says, whatever the words")
    words: Words | None = Field(None, description="what was said, and what that says by itself")
    words_missing: str | None = Field(
        None, description="why words is null: no speech, unclear, language: xx, or off", examples=["unclear"]
    )
    conflict: float | None = Field(
        None, description="probability that the words carry an emotion and the tone another; of a long clip the mean"
    )
    conflict_max: float | None = Field(None, description="of a long clip, the largest conflict of its windows")
    disagreement: float | None = Field(None, description="probability that the labels differ, neutral counted")
    speech: float | None = Field(None, description="share of the clip that is speech, 0 to 1")
    audio: AudioFacts = Field(AudioFacts(), description="what was heard of the file; seconds, Hz, dB")
    kept_tokens: dict[str, list[dict]] | None = Field(
        None, description="stream -> start, end (seconds), score of the tokens that FAS kept; with tokens=true"
    )
    start: float | None = Field(None, description="seconds; of an answer in a timeline")
    end: float | None = None
    pathways: Pathways | None = Field(None, description="FAS's own heads, and their Jensen-Shannon divergence (base 2)")
    error: str | None = Field(None, description="what was wrong with the clip, and what is expected")
    index: int = Field(description="place of the clip in the request")
    code: str | None = Field(None, description="of the error, a word to compare, such as invalid_audio")
    language_model: LanguageModelAnswer | None = Field(None, description="null without one, or without speech")
    timeline: list["ClipEmotion"] | None = Field(
        None, description="an answer for each window, if asked for; the other fields are their summary"
    )


class EmotionResponse(BaseModel):
    object: Literal["emotion.list"] = "emotion.list"
    model: str
    data: list[ClipEmotion] = Field(description="one entry a clip, or a channel of it, in the order of the request")
