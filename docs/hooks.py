"""Makes pages of the site out of the files that stand at the root of the repository, so that each text is written once."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",  # security.md is another page
    "LICENSES.md": "licences.md",
}
LINK = re.compile(r"\[([^]\n]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def from_root(found: re.Match[str]) -> str:
    """Rewrites a link of a root page for the site: a file that is no page of it loses its link, and keeps its name."""
    text, target, anchor = found[1], found[2], found[3] or ""
    is_page = target in PAGES or target.startswith("docs/")
    if is_page or not (ROOT / target).exists():  # strict mode names what is not there
        return f"[{text}]({PAGES.get(target, target.removeprefix('docs/'))}{anchor})"
    return text


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the root pages that are there, their links rewritten."""
    for name, page in PAGES.items():
        if (ROOT / name).is_file():
            text = LINK.sub(from_root, (ROOT / name).read_text(encoding="utf-8"))
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links of pages to root files, `../README.md`, to the pages that are made of them."""
    return re.sub(r"\]\(\.\./([A-Z]+\.md)", lambda found: f"]({PAGES.get(found[1], found[0])}", markdown)
