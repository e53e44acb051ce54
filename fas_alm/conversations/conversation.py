"""One conversation: chat messages with audio parts, and what it is about."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fas_alm.chat import check_messages
from fas_alm.conversations.questions import Question
from fas_core.cues.attributes import ATTRIBUTES
from fas_core.cues.levels import LEVELS
from fas_core.data.splits import SPLITS
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.paths import is_file
from fas_core.segments import file_of

ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """Messages, each with role and content: text, or parts {"type": "text", "text"} and {"type": "audio", "path"}.

    Attributes:
        id: name of the clip or of the conversation.
        messages: ends with an answer of the assistant; every answer is learned.
        task: one of `TASKS`, or any other word.
        emotion: of the tone, where it is known.
        levels: of a rationale, the level of each attribute that its answer names (`fas_alm.conversations.rationales`).
        order: the options as they are lettered, of the tasks "choose" and "words".
    """

    id: str
    messages: list[dict]
    corpus: str | None = None
    split: str = "train"
    task: str = "chat"
    emotion: str | None = None
    order: list[str] | None = None
    levels: dict[str, str] | None = None

    @classmethod
    def about(cls, row: Mapping, question: Question) -> "Conversation":
        """Question and right answer about a clip, a row of a corpus (`fas_core.data`); its words, if they are to be told, are
        its "spoken" (`fas_alm.transcript.Spoken`), its acoustic cues its "cues".
        """
        audio = {"type": "audio", "path": row["audio"]}
        answer = question.answer(row["emotion"], row["semantic_emotion"])
        messages = [
            {"role": "user", "content": question.content(audio, row.get("spoken"), row.get("cues"))},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
        order = list(question.order) if question.task in ("choose", "words") else None
        return cls(row["id"], messages, row["corpus"], row["split"], question.task, row["emotion"], order)

    @classmethod
    def from_dict(cls, record: Mapping, name: str, folder: Path) -> "Conversation":
        """Check a record and make it a conversation.

        Args:
            record: as `to_dict` writes it; only `messages` is needed.
            name: id where the record has none.
            folder: that relative paths of audio start from.

        Raises:
            FASError: a field that is missing or not what it should be; the message names it.
        """
        if not isinstance(record, Mapping) or not isinstance(record.get("messages"), list):
            raise FASError("expected an object with 'messages', a list")
        unknown = sorted(set(record) - set(cls.__dataclass_fields__))
        if unknown:
            raise FASError(f"field {unknown[0]!r} is unknown; expected {', '.join(cls.__dataclass_fields__)}")
        for field, valid in (("split", SPLITS), ("emotion", (*EMOTIONS, None))):
            if field in record and record[field] not in valid:
                raise FASError(f"{field}: {record[field]!r}, expected one of {', '.join(str(v) for v in valid)}")
        if record.get("order") is not None and sorted(map(str, record["order"])) != sorted(EMOTIONS):
            raise FASError(f"order: {record['order']}, expected each of {', '.join(EMOTIONS)} once")
        _check_levels(record.get("levels"))
        _check_roles(record["messages"])
        messages = [_resolved(message, folder) for message in record["messages"]]
        return cls(**{"id": name} | dict(record) | {"messages": messages})

    def to_dict(self, folder: Path | None = None) -> dict:
        """JSON-ready; audio below `folder` by its path from there."""
        messages = [m | {"content": [_relative(p, folder) for p in parts_of(m)]} for m in self.messages]
        record = asdict(self) | {"messages": messages}
        return {name: value for name, value in record.items() if name != "levels" or value is not None}

    @property
    def audio_paths(self) -> list[str]:
        """Of its audio parts, in order."""
        return audio_paths(self.messages)


def audio_paths(messages: Sequence[Mapping]) -> list[str]:
    """The files of the audio parts, in order."""
    return [part["path"] for message in messages for part in parts_of(message) if part["type"] == "audio"]


def parts_of(message: Mapping) -> list[dict]:
    """The content as a list of parts."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _check_levels(levels) -> None:
    """Raises `FASError` for what is not attribute -> level."""
    is_right = levels is None or (
        isinstance(levels, Mapping) and set(levels) <= set(ATTRIBUTES) and set(levels.values()) <= set(LEVELS)
    )
    if not is_right:
        expected = f"{{ATTRIBUTE: LEVEL}}, attributes {', '.join(ATTRIBUTES)}, levels {', '.join(LEVELS)}"
        raise FASError(f"levels: {levels!r}; expected {expected}")


def _check_roles(messages: list) -> None:
    check_messages(messages)
    roles = [message.get("role") for message in messages]
    for number, role in enumerate(roles):
        if role not in ROLES:
            raise FASError(f"message {number}: role {role!r}, expected one of {', '.join(ROLES)}")
        if role != "user" and any(part["type"] != "text" for part in parts_of(messages[number])):
            raise FASError(f"message {number}: audio of the {role}; expected audio in messages of the user only")
        if role == "assistant" and roles[number - 1 : number] != ["user"]:
            raise FASError(f"message {number}: an answer that follows no question; expected a user message before it")
    if not roles or roles[-1] != "assistant":
        raise FASError("messages: expected an answer of the assistant at the end")


def _resolved(message: dict, folder: Path) -> dict:
    return message | {"content": [_local(part, folder) for part in parts_of(message)]}


def _local(part: dict, folder: Path) -> dict:
    if part["type"] == "text":
        return part
    path = part.get("path") or part.get("audio")
    if part["type"] != "audio" or not isinstance(path, str):
        raise FASError(f"audio part with {', '.join(sorted(part))}: expected {{'type': 'audio', 'path': FILE}}")
    path = os.path.join(folder, os.path.expanduser(path))
    if not is_file(file_of(path)):
        raise FASError(f"audio part: no file {path}")
    return {"type": "audio", "path": path}


def _relative(part: dict, folder: Path | None) -> dict:
    if part["type"] != "audio" or folder is None:
        return part
    path = os.path.relpath(part["path"], folder)
    return part if path.startswith(os.pardir) else part | {"path": path}
