"""What audio language models are asked: one JSON file a prompt and version, never edited once it is published.

A wording that changes is a new version, so that a figure and the cached answers behind it say what was asked. tests/eval/test_prompts.py
holds the sha256 of every published file.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fas_core.errors import FASError
from fas_core.paths import expanded, is_file

FOLDER = Path(__file__).parent
KINDS = ("options", "free")
SLOTS = ("{transcript}", "{answer}")  # of the cascade's and the judge's prompts


@dataclass(frozen=True)
class Prompt:
    """A question.

    Attributes:
        name, version: "options-en", 1; together "options-en@1". source: where the wording comes from.
        language: of the question, ISO code.
        kind: "options": seven lettered emotions in the order of `EMOTIONS`, answered by a letter; "free": answered by words.
        system: system message, empty for none. user: the question; `{transcript}` or `{answer}` stands for what `fill` puts there.
    """

    name: str
    version: int
    source: str
    language: str
    kind: str
    system: str
    user: str

    def __post_init__(self):
        if self.kind not in KINDS:
            raise FASError(f"prompt {self.name}: kind {self.kind!r}; expected one of {', '.join(KINDS)}")

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """sha256 (hex) of what is asked."""
        asked = {key: value for key, value in asdict(self).items() if key != "source"}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict:
        """For `System.identity`."""
        return {"prompt": self.id, "sha256": self.digest}

    def fill(self, **slots: str) -> str:
        """The question with its slots filled; braces in what fills them are text.

        Raises:
            FASError: a slot that is missing, or one that the prompt does not have.

        Examples:
            >>> load_prompt("cascade-en@1").fill(transcript="I am {fine}.").splitlines()[0]
            'Someone says: "I am {fine}."'
        """
        wanted = {slot.strip("{}") for slot in SLOTS if slot in self.user}
        if wanted != set(slots):
            raise FASError(f"prompt {self.id}: filled with {sorted(slots)}; expected {sorted(wanted)}")
        text = self.user
        for name, value in slots.items():  # a prompt has one slot
            text = text.replace("{" + name + "}", value.strip())
        return text

    def messages(self, content: str | list[dict]) -> list[dict]:
        """Chat messages: the system message where there is one, then the user's."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


def load_prompt(name: str) -> Prompt:
    """A published prompt, or one of the user's own.

    Args:
        name: "options-en@1"; without a version the latest; a path that ends in .json.

    Raises:
        FASError: there is none, or a file with other fields.
    """
    path = expanded(name) if name.endswith(".json") else FOLDER / f"{_latest(name)}.json"
    if not is_file(path):
        raise FASError(f"prompt {name!r}: expected one of {', '.join(list_prompts())}, or the path of a JSON file")
    try:
        prompt = Prompt(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        fields = ", ".join(Prompt.__dataclass_fields__)
        raise FASError(f"prompt {name!r}: {error}; expected a JSON object with {fields}") from None
    return prompt


def list_prompts() -> list[str]:
    """Names of all published prompts, versions included."""
    return sorted(path.stem for path in FOLDER.glob("*@*.json"))


def _latest(name: str) -> str:
    if "@" in name:
        return name
    versions = [int(each.partition("@")[2]) for each in list_prompts() if each.partition("@")[0] == name]
    return f"{name}@{max(versions)}" if versions else name
