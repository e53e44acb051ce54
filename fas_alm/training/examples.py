"""From messages to token ids: each answer of a conversation is an example of its own, after all that came before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fas_alm.conversations.conversation import Conversation, audio_paths, parts_of
from fas_alm.processing import FASAudioProcessor
from fas_alm.prompts import OPTION_LETTERS, option_letter
from fas_alm.training.audio import AudioInputs
from fas_core.labels import EMOTIONS

IGNORED = -100  # of labels


@dataclass(frozen=True)
class Example:
    """A prompt and its answer.

    Attributes:
        prompt: ids of the prompt as the model meets it in use, audio tokens in place.
        answer: ids of the answer, with the token that ends a turn; empty where only the prompt is scored.
        files: audio files, in the order of their tokens.
        label: index of the right option, for scoring, or where the answer begins with its letter; -100 elsewhere.
        order: of a lettered answer about the tone, the index in `EMOTIONS` of each option; empty elsewhere.
        learned: False where it only keeps several processes in step.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    files: tuple[str, ...]
    label: int = IGNORED
    order: tuple[int, ...] = ()
    learned: bool = True


class ExampleEncoder:
    """Renders messages with the chat template of the processor and expands each audio to its tokens.

    Args:
        processor: of the model.
        audio: says how many windows a file has, and how long they are.
    """

    def __init__(self, processor: FASAudioProcessor, audio: AudioInputs):
        self.processor, self.audio = processor, audio
        self.end = self._end_of_turn()
        self.ids = lru_cache(maxsize=4096)(self._ids)  # the same question is asked of many clips

    def prompt(
        self, messages: Sequence[dict], label: int = IGNORED, answer: Sequence[int] = (), order: Sequence[int] = ()
    ) -> Example:
        """What comes before an answer. Raises `KeyError` for a file without features."""
        files = tuple(audio_paths(messages))
        counted = self.processor.window_tokens.of_window
        counts = iter([sum(map(counted, self.audio.frames(file))) for file in files])
        token = self.processor.audio_token_id
        ids = self.ids(self._render(messages, True))
        expanded = [i for id in ids for i in ((id,) if id != token else (id,) * next(counts))]
        return Example(tuple(expanded), tuple(answer), files, label, tuple(order))

    def examples(self, conversation: Conversation) -> list[Example]:
        """One for each answer of the assistant; lettered are those that are the letter of an emotion and nothing else."""
        messages = conversation.messages
        found = []
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                label = _option(conversation, _text(message))
                order = _order(conversation) if label != IGNORED else ()
                found.append(self.prompt(messages[:number], label, self.ids(_text(message)) + self.end, order))
        return found

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def _render(self, messages: Sequence[dict], ask: bool) -> str:
        return self.processor.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)

    def _end_of_turn(self) -> tuple[int, ...]:
        """What the template writes after an answer, up to the token at which generation stops."""
        mark = "@@answer@@"
        text = self._render([{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}], False)
        ids = self._ids(text.rpartition(mark)[2])
        stop = self.processor.tokenizer.eos_token_id
        return ids[: ids.index(stop) + 1] if stop in ids else (stop,)


def _order(conversation: Conversation) -> list[int]:
    """Of what FAS can teach, which hears the tone."""
    return [EMOTIONS.index(emotion) for emotion in conversation.order] if conversation.task == "choose" else []


def _option(conversation: Conversation, answer: str) -> int:
    if conversation.task == "words" and conversation.order:
        return OPTION_LETTERS.index(answer) if answer in tuple(OPTION_LETTERS) else IGNORED
    if conversation.task != "choose" or not conversation.order or not conversation.emotion:
        return IGNORED
    is_right = answer == option_letter(conversation.emotion, conversation.order)
    return conversation.order.index(conversation.emotion) if is_right else IGNORED


def _text(message: dict) -> str:
    return "\n".join(part["text"] for part in parts_of(message))
