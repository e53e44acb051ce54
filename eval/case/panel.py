"""The listening page: one HTML file a language, to be opened from disk or put on any web space; it talks to nobody.

A listener learns neither the target, nor the words' emotion, nor the item's id: clips carry keys that say nothing and lie in
the order of these; what is heard and in which order it comes is all there is. Order of clips and of options is seeded by
the listener's code.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

from fas_core.atomic import atomic_path, write_text
from fas_core.labels import EMOTIONS
from fas_core.paths import file_name
from fas_eval.case.rendering import Take

_TEMPLATE = Path(__file__).with_name("panel.html")
_WORDS = json.loads(Path(__file__).with_name("panel_words.json").read_text(encoding="utf-8"))
CLIPS = "clips"


def panel_id(takes: Sequence[Take]) -> str:
    """Name of a panel: changes with any of its clips."""
    return hashlib.sha256("/".join(sorted(take.key for take in takes)).encode()).hexdigest()[:12]


def write_pages(takes: Sequence[Take], folder: str | Path, out: str | Path, *, embed: bool = True) -> dict[str, Path]:
    """A page for each language that the takes have, `panel-LANGUAGE.html`.

    Args:
        takes: of one folder. folder: where they lie. out: folder to write to.
        embed: put the audio into the page; otherwise beside it, in `clips/`, under its keys.

    Returns:
        Language -> page. The page's own words are English where we have none in the language.
    """
    languages = sorted({take.item.language for take in takes})
    return {
        language: _write_page(
            [t for t in takes if t.item.language == language], language, Path(folder), Path(out), embed
        )
        for language in languages
    }


def _write_page(takes: Sequence[Take], language: str, folder: Path, out: Path, embed: bool) -> Path:
    source = _embedded if embed else _copied
    words = _WORDS.get(language, _WORDS["en"])
    data = {
        "panel": panel_id(takes),
        "language": language,
        "emotions": EMOTIONS,
        "words": words,
        "clips": [
            {"key": take.key, "src": source(take, folder, out)} for take in sorted(takes, key=lambda take: take.key)
        ],
    }
    content = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # nothing in it can end the script element
    page = Template(_TEMPLATE.read_text(encoding="utf-8"))
    text = page.substitute(data=content, language=language if language in _WORDS else "en", title=words["title"])
    return write_text(out / f"panel-{file_name(language)}.html", text)


def _embedded(take: Take, folder: Path, out: Path) -> str:
    return "data:audio/flac;base64," + base64.b64encode((folder / take.file).read_bytes()).decode()


def _copied(take: Take, folder: Path, out: Path) -> str:
    name = f"{CLIPS}/{take.key}.flac"
    with atomic_path(out / name) as temporary:
        shutil.copyfile(folder / take.file, temporary)
    return name
