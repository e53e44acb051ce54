"""Does vLLM answer as transformers does? `python -m fas_alm.vllm.parity DIR [--lora DIR]`.

Both get the same chat messages: without audio, with one and with two, of 3 s, 30.02 s and 60 s, in float32, greedy.
Answers must be the same token for token, and the log-probabilities of the likeliest tokens of each step within a
tolerance; so must those of vLLM alone when it answers one request at a time and all at once. In bfloat16 neither holds.
"""

from __future__ import annotations

import argparse
import base64
import copy
import io
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch

from fas_alm.cues import with_cues
from fas_alm.prompts import choice_prompt
from fas_alm.transcript import Said, with_transcripts
from fas_alm.vllm.offline import start_vllm
from fas_core.atomic import write_json
from fas_core.audio import SAMPLE_RATE
from fas_core.errors import INPUT_ERRORS, error_line
from fas_core.words.types import NoWords

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.lora.request import LoRARequest

LAYOUTS = {
    "no audio": (),
    "3 s": (3.0,),
    "30.02 s": (30.02,),
    "60 s": (60.0,),
    "3 s and 2 s": (3.0, 2.0),
    "60 s and 3 s": (60.0, 3.0),
}
QUESTIONS = (
    choice_prompt(),
    choice_prompt(language="zh"),
    "What does the tone of voice say, and what do the words say?",
    "Describe the speaker in one sentence.",
)
CUES = (("high", "low", "medium", "high", "zq", "low"), None)  # cycled, too
SPOKEN = (
    Said('She said "stop" <|im_end|>', "en"),
    None,
    NoWords("unclear"),
)  # behind the audios of a conversation, in turn
LIKELIEST = 5  # tokens of each step whose log-probabilities are compared
TOLERANCE = 1e-3


@dataclass
class Generated:
    """What one implementation made of one prompt.

    Attributes:
        prompt_ids: ids of the prompt, audio tokens in place.
        ids: of the answer, the end included.
        logprobs: of each step, token id -> log-probability of the likeliest tokens.
    """

    prompt_ids: list[int]
    ids: list[int]
    logprobs: list[dict[int, float]]


@dataclass
class Parity:
    """Two lists of answers to the same prompts.

    Attributes:
        prompts: how many; same_prompts, same_answers: how many have the same ids.
        largest_difference: between log-probabilities of the same token after the same prefix.
    """

    prompts: int
    same_prompts: int
    same_answers: int
    largest_difference: float

    def holds(self, tolerance: float = TOLERANCE) -> bool:
        return self.same_prompts == self.same_answers == self.prompts and self.largest_difference <= tolerance

    def __str__(self) -> str:
        return (
            f"{self.same_prompts} of {self.prompts} prompts and {self.same_answers} answers with the same tokens, "
            f"log-probabilities within {self.largest_difference:.1e}"
        )


def conversations() -> list[list[dict]]:
    """Every question about every layout of audio, as OpenAI's chat messages; the audio is synthetic."""
    pairs = itertools.product(LAYOUTS.values(), QUESTIONS)
    return [
        with_transcripts(
            with_cues(
                [{"role": "user", "content": [*_audio_parts(durations, number), {"type": "text", "text": question}]}],
                itertools.cycle(CUES),
            ),
            itertools.cycle(SPOKEN),
        )
        for number, (durations, question) in enumerate(pairs)
    ]


def _audio_parts(durations: Sequence[float], seed: int) -> list[dict]:
    clips = [_synthetic(seconds, len(LAYOUTS) * seed + number) for number, seconds in enumerate(durations)]
    return [{"type": "input_audio", "input_audio": {"data": _wav(clip), "format": "wav"}} for clip in clips]


def _synthetic(seconds: float, seed: int) -> np.ndarray:
    """A tone of its own pitch for each seed, in noise, swelling and fading: no speech."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * (100 + seed) * k * times) / k for k in range(1, 12))
    return (0.05 * (tone + rng.standard_normal(len(times))) * (1.2 + np.sin(6 * times + seed))).astype(np.float32)


def _wav(samples: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")  # read back bit by bit
    return base64.b64encode(file.getvalue()).decode()


def transformers_answers(
    directory: str | Path, messages: Sequence[list[dict]], max_tokens: int, lora: str | Path | None = None
) -> list[Generated]:
    """Greedy answers of transformers in float32, with an adapter merged into the LLM if one is given."""
    from fas_alm.adapters import with_lora
    from fas_alm.artifacts import load_model_directory

    model, processor = load_model_directory(Path(directory), torch.float32)
    if lora is not None:
        model.language_model = with_lora(model.language_model, Path(lora)).merge_and_unload()
    answers = []
    for conversation in messages:
        inputs = processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True, transcript=None)
        answers.append(_generate(model, inputs, max_tokens))
    return answers


def _generate(model, inputs, max_tokens: int) -> Generated:
    settings = copy.deepcopy(model.generation_config)
    settings.update(do_sample=False, temperature=None, top_p=None, top_k=None, repetition_penalty=None)
    output = model.generate(
        **inputs,
        generation_config=settings,
        max_new_tokens=max_tokens,
        output_scores=True,
        return_dict_in_generate=True,
    )
    prompt_ids = inputs["input_ids"][0].tolist()
    ids = output.sequences[0].tolist()[len(prompt_ids) :]
    steps = torch.log_softmax(torch.cat(output.scores).float(), -1).topk(4 * LIKELIEST)
    logprobs = [
        dict(zip(*step, strict=True)) for step in zip(steps.indices.tolist(), steps.values.tolist(), strict=True)
    ]
    return Generated(prompt_ids, ids, logprobs)


def vllm_answers(
    llm: LLM,
    messages: Sequence[list[dict]],
    max_tokens: int,
    lora: LoRARequest | None = None,
    at_once: bool = True,
) -> list[Generated]:
    """Greedy answers of vLLM, to all conversations at once or to one after the other; nothing comes from a cache."""
    from vllm import SamplingParams

    llm.reset_prefix_cache()
    llm.reset_mm_cache()
    llm.llm_engine.reset_encoder_cache()
    sampling = SamplingParams(temperature=0, max_tokens=max_tokens, logprobs=LIKELIEST)
    batches = [list(messages)] if at_once else [[conversation] for conversation in messages]
    outputs = [
        output for batch in batches for output in llm.chat(batch, sampling, lora_request=lora, use_tqdm=False)
    ]  # fmt: skip
    return [_answer(output) for output in outputs]


def _answer(output) -> Generated:
    best = output.outputs[0]
    logprobs = [{token: entry.logprob for token, entry in step.items()} for step in best.logprobs]
    return Generated(list(output.prompt_token_ids), list(best.token_ids), logprobs)


def compare(reference: Sequence[Generated], answers: Sequence[Generated]) -> Parity:
    """Raises `ValueError` for lists of different length."""
    pairs = list(zip(reference, answers, strict=True))
    differences = [_difference(a, b) for a, b in pairs]
    return Parity(
        prompts=len(pairs),
        same_prompts=sum(a.prompt_ids == b.prompt_ids for a, b in pairs),
        same_answers=sum(a.ids == b.ids for a, b in pairs),
        largest_difference=max(differences, default=0.0),
    )


def _difference(reference: Generated, answer: Generated) -> float:
    """Up to and with the first step at which the answers part; what follows has another prefix."""
    common = 0
    for mine, theirs in zip(reference.ids, answer.ids, strict=False):
        common += 1
        if mine != theirs:
            break
    largest = 0.0
    for step, other in zip(reference.logprobs[:common], answer.logprobs[:common], strict=True):
        likeliest = sorted(other, key=other.get, reverse=True)[:LIKELIEST]
        largest = max(largest, *(abs(other[token] - step.get(token, -np.inf)) for token in likeliest))
    return largest


def check_parity(directory: str | Path, max_tokens: int, lora: str | Path | None = None) -> dict[str, Parity]:
    """What `main` prints: transformers against vLLM, and vLLM at once against one by one."""
    messages = conversations()
    reference = transformers_answers(directory, messages, max_tokens, lora)
    llm, adapter = start_vllm(directory, lora is not None), None
    if lora is not None:
        from vllm.lora.request import LoRARequest

        adapter = LoRARequest("adapter", 1, str(lora))
    at_once = vllm_answers(llm, messages, max_tokens, adapter)
    single = vllm_answers(llm, messages, max_tokens, adapter, at_once=False)
    return {"transformers and vLLM": compare(reference, at_once), "single and concurrent": compare(single, at_once)}


def main(argv: Sequence[str] | None = None) -> int:
    """0 where parity holds, 1 where it does not, 2 for a directory that cannot be used."""
    parser = argparse.ArgumentParser("python -m fas_alm.vllm.parity", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="model directory of python -m fas_alm.export")
    parser.add_argument("--lora", type=Path, help="PEFT directory; vLLM serves it, transformers merges it")
    parser.add_argument("--max-tokens", type=int, default=24, help="length of an answer (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="of log-probabilities (%(default)s)")
    parser.add_argument("--output", type=Path, help="JSON of the comparison")
    arguments = parser.parse_args(argv)
    try:
        found = check_parity(arguments.directory, arguments.max_tokens, arguments.lora)
    except INPUT_ERRORS as error:
        print(f"error: {error_line(error)}", file=sys.stderr)
        return 2
    for name, comparison in found.items():
        print(f"{name}: {comparison}")
    if arguments.output:
        write_json(arguments.output, {name: vars(comparison) for name, comparison in found.items()})
    return 0 if all(comparison.holds(arguments.tolerance) for comparison in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
