"""What turns an item into speech: any OpenAI-compatible `/v1/audio/speech` endpoint, or espeak-ng with rules of prosody.

espeak-ng is there so that every step can be tried without a model. Its tones are caricatures by rule: a set for publication
needs an expressive generator and a panel that hears it.
"""

import io
import json
import os
import re
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from fas_core.errors import FASError, MissingDependencyError
from fas_core.http import strict_options
from fas_core.provenance import package_versions
from fas_core.synth.corpus import SAMPLE_RATE, ClipPlan, render_clip
from fas_core.synth.espeak import Synthesizer
from fas_core.synth.prosody import Prosody, sample_prosody
from fas_eval.case.scenarios import Scenario

DELIVERY = json.loads(Path(__file__).with_name("delivery.json").read_text(encoding="utf-8"))
ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn"}
FORMATS = ("wav", "flac", "mp3")
_ESPEAK = "espeakng-loader"
KEY_VARIABLE = "OPENAI_API_KEY"


class SpeechError(FASError):
    """One item that a generator could not speak; the others can go on."""


class Generator(Protocol):
    """Something that speaks an item in the tone of its acoustic emotion.

    Attributes:
        title: as the published manifest names it.
    """

    title: str

    def identity(self) -> dict:
        """JSON-ready: what decides the sound besides item, voice and instructions; no addresses, no keys."""

    def instructions(self, item: Scenario) -> str:
        """How the item is to be spoken, in words."""

    def speak(self, item: Scenario, voice: str) -> bytes:
        """The bytes of an audio file; raises SpeechError for this item, another FASError where no item can succeed."""


def describe_delivery(item: Scenario) -> str:
    """The instruction for an expressive generator, in the item's language (English where we have no other)."""
    words = DELIVERY.get(item.language, DELIVERY["en"])
    return words["template"].format(scenario=item.scenario.strip(), **words[item.acoustic_emotion])


class EndpointSpeech:
    """An OpenAI-compatible endpoint. The key is read from the environment variable OPENAI_API_KEY and kept nowhere.

    Args:
        base_url: such as http://localhost:8000/v1. model: its name there.
        response_format: one of `FORMATS`. retries: of connection errors, 408, 409, 429 and 5xx, with back-off, or as long as
            the endpoint's Retry-After says. timeout: seconds of one attempt.

    Raises:
        MissingDependencyError: no package openai. FASError: a format or address that cannot be used.
    """

    def __init__(self, base_url: str, model: str, *, response_format="wav", retries: int = 5, timeout: float = 120):
        try:
            import openai
        except ImportError:
            raise MissingDependencyError(
                "speech from an endpoint needs the package openai: pip install openai"
            ) from None
        if response_format not in FORMATS:
            raise FASError(f"--format {response_format!r}; expected one of {', '.join(FORMATS)}")
        if not re.match(r"https?://[^/\s]+", base_url):
            raise FASError(f"--endpoint {base_url!r}; expected an address such as http://localhost:8000/v1")
        self._openai, self._model, self._format = openai, model, response_format
        self.title = f"{model}, by instructions, through an OpenAI-compatible endpoint"
        self._answered = False  # of an endpoint that nobody reached, no item can succeed
        key = os.environ.get(KEY_VARIABLE) or "none"  # servers of one's own ask for no key, the client insists on one
        http = openai.DefaultHttpxClient(timeout=timeout, **strict_options())
        self._client = openai.OpenAI(
            base_url=base_url, api_key=key, max_retries=retries, timeout=timeout, http_client=http
        )

    def identity(self) -> dict:
        return {"type": "openai-speech", "model": self._model, "format": self._format}

    def instructions(self, item: Scenario) -> str:
        return describe_delivery(item)

    def speak(self, item: Scenario, voice: str) -> bytes:
        openai = self._openai
        try:
            content = self._client.audio.speech.create(
                model=self._model,
                voice=voice,
                input=item.text,
                instructions=self.instructions(item),
                response_format=self._format,
            ).content
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise FASError(
                f"the endpoint refuses every request ({_reason(error)}); "
                f"check --endpoint, --model and the environment variable {KEY_VARIABLE}"
            ) from None
        except openai.OpenAIError as error:
            never = isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)
            if never and not self._answered:
                raise FASError(f"the endpoint cannot be reached ({_reason(error)}); check --endpoint") from None
            raise SpeechError(_reason(error)) from None
        self._answered = True
        return content


def _reason(error: Exception) -> str:
    """One line: status and the beginning of what the endpoint said."""
    status = getattr(error, "status_code", None)
    body = getattr(error, "body", None)
    said = body.get("message", body) if isinstance(body, dict) else str(error)
    return " ".join(f"{f'status {status}: ' if status else ''}{said}".split())[:200]


class EspeakSpeech:
    """espeak-ng with the rules of `fas_core.synth.prosody`; English and Mandarin, FLAC at 16 kHz.

    Strength and detail of a tone vary from item to item by the seed and the item's id. The library carries a little state from
    one call to the next: an interrupted run may differ in the last bits from one in a single piece.

    Raises:
        MissingDependencyError: no package espeakng_loader.
    """

    def __init__(self, seed: int = 42):
        self._seed, self._synthesizer = seed, Synthesizer()
        self._version = package_versions((_ESPEAK,))[_ESPEAK]
        self.title = f"espeak-ng ({_ESPEAK} {self._version}), by rules of prosody (fas_core.synth)"

    def identity(self) -> dict:
        return {"type": "espeak-ng", "version": self._version, "seed": self._seed, "languages": ESPEAK_LANGUAGES}

    def instructions(self, item: Scenario) -> str:
        changes = {name: v if isinstance(v, str) else round(v, 2) for name, v in asdict(self.prosody(item)).items()}
        return ", ".join(f"{name} {value}" for name, value in changes.items())

    def prosody(self, item: Scenario) -> Prosody:
        return sample_prosody(item.acoustic_emotion, np.random.default_rng([self._seed, zlib.crc32(item.id.encode())]))

    def speak(self, item: Scenario, voice: str) -> bytes:
        if item.language not in ESPEAK_LANGUAGES:
            raise SpeechError(
                f"no espeak-ng voice is chosen for {item.language!r}; it speaks {', '.join(ESPEAK_LANGUAGES)} here"
            )
        plan = ClipPlan(
            id=item.id,
            split="test",
            emotion=item.acoustic_emotion,
            semantic_emotion=item.semantic_emotion,
            text=item.text.rstrip(" .!?…。！？"),  # the tone brings its own ending
            voice=f"{ESPEAK_LANGUAGES[item.language]}+{voice}",
            prosody=self.prosody(item),
        )
        file = io.BytesIO()
        soundfile.write(file, render_clip(plan, self._synthesizer), SAMPLE_RATE, subtype="PCM_16", format="FLAC")
        return file.getvalue()
