"""What is quoted in Markdown shows as it was written, and does nothing else."""

import pytest

from fas_core.markdown import cell, code, plain, table

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=1>", "[x](http://evil.example)", "![x](http://evil.example/a.png)",
    "http://evil.example", "HTTPS://evil.example", "www.evil.example", "a@b.example", "`code`", "**bold**", "__x__", "~~x~~",
    "$x$", "# heading", "> quote", "- item", "+ item", "1. item", "2) item", "---", "===", "a\n# b", "a\r\n\r\n| b |", "a | b",
    "&lt;b&gt;", "<!-- x", "[x]: http://evil.example", "\\[x](y)", "\x1b[2J", "\u202ex", "{{ x }}",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("around", ["{}", "a {} b"])
def test_nothing_is_marked_up_linked_or_fetched(text, around):
    """By a renderer, markdown-it with GitHub's tables, strikethrough and links: one paragraph with text alone."""
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(plain(around.format(text)))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} <= {"text", "text_special", "entity"}
    shown = "".join(child.content for child in tokens[1].children)
    expected = " ".join(around.format(text).split())
    assert shown.replace("\N{REPLACEMENT CHARACTER}", "") == "".join(c for c in expected if c not in "\x1b\u202e")
    assert "://" not in plain(text) and "www." not in plain(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_keeps_its_columns(text):
    lines = table(["a", "b"], [[plain(text), "x"]]).splitlines()
    assert len(lines) == 3 and cell(plain(text)).replace("\\|", "").count("|") == 0


@pytest.mark.parametrize("text", ["`", "a`b", "``", "a\nb", "x"])
def test_code_ends_where_it_should(text):
    assert code(text).count("`") == 2 and "\n" not in code(text)
