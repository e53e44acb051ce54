"""Conversations on disk: a line of JSON each, in the chat format that people know."""

import json
from collections.abc import Iterable
from pathlib import Path

from fas_alm.conversations.conversation import Conversation
from fas_core.atomic import write_text
from fas_core.data.tables import parse_json, read_text
from fas_core.errors import CorpusError, FASError
from fas_core.paths import expanded, is_file


def write_conversations(path: str | Path, conversations: Iterable[Conversation]) -> Path:
    """Write JSONL, atomically. Audio below the file's folder is named from there, other audio by its whole path."""
    folder = expanded(path).resolve().parent
    lines = [json.dumps(c.to_dict(folder), ensure_ascii=False) for c in conversations]
    return write_text(expanded(path), "".join(line + "\n" for line in lines))


def read_conversations(path: str | Path) -> list[Conversation]:
    """Read JSONL; audio by paths from the file's folder, or whole paths.

    Raises:
        CorpusError: no such file, no conversation in it, or a line that is not one; the message names file, line and
            field.
    """
    path = expanded(path)
    if not is_file(path):
        raise CorpusError(f"{path}: no such file; `python -m fas_alm.conversations` writes one")
    folder = path.resolve().parent
    conversations = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            conversations.append(_conversation(line, path, number, folder))
    if not conversations:
        raise CorpusError(f"{path}: no conversation; expected a line of JSON for each")
    return conversations


def numbered(path: str | Path, conversations: list[Conversation]) -> list[tuple[int, Conversation]]:
    """The conversations of a file with the numbers of their lines."""
    lines = read_text(expanded(path)).split("\n")
    return list(zip([i for i, line in enumerate(lines, start=1) if line.strip()], conversations, strict=True))


def _conversation(line: str, path: Path, number: int, folder: Path) -> Conversation:
    where = f"{path}, line {number}"
    record = parse_json(where, line)
    try:
        return Conversation.from_dict(record, f"{path.stem}:{number}", folder)
    except FASError as error:
        raise CorpusError(f"{where}: {error}") from None
