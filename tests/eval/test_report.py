"""The report, from a made-up evaluation (tests/helpers/report_fixture.py; no figure in it is real)."""

import csv
import itertools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_fixture import BENCHMARKS, SYSTEMS, write_fixture
from repository import ROOT
from warm import PYTHON

from fas_core.errors import FASError
from fas_eval.report import pooling
from fas_eval.report.__main__ import main
from fas_eval.report.build import build_report
from fas_eval.report.clips import ClipAnswers, choose_clips
from fas_eval.report.formats import markdown_text, percent, unique_slugs, without_places
from fas_eval.report.pairs import Pairs
from fas_eval.report.reading import read_run
from fas_eval.report.scoretable import ablations, score_table
from fas_eval.report.summary import findings, interval_text
from fas_eval.report.waveform import bands, outline

SECTIONS = "summary scores ablations comparisons tone benchmarks maps training cost answers missing failures provenance".split()


class Page(HTMLParser):
    """Ids, addresses and scripts of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.addresses, self.tags, self.text = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has a handler {name}"
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href", "srcset", "action", "data"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = write_fixture(tmp_path_factory.mktemp("report"), clips=160)
    build_report(place, clip_pages=3, progress=False)
    return place


@pytest.fixture(scope="module")
def page(folder):
    return Page(folder / "report.html")


@pytest.fixture
def small(tmp_path):
    """Two systems, for tests that change results.json."""
    return write_fixture(tmp_path / "small", clips=56, audio=1, systems=("fas", "cascade"))


def changed(folder: Path, change) -> Path:
    path = folder / "results.json"
    results = json.loads(path.read_text())
    change(results)
    path.write_text(json.dumps(results))
    return folder


class TestPage:
    def test_every_section_is_there_once(self, page):
        assert len(page.ids) == len(set(page.ids))
        assert set(SECTIONS) <= set(page.ids)
        assert {f"benchmark-{name}" for name in BENCHMARKS} <= set(page.ids)

    def test_nothing_comes_from_outside(self, folder, page):
        for path in [folder / "report.html", *folder.glob("clips/*/*.html")]:
            text = path.read_text()
            assert not re.search(r"url\((?!#)", text.replace("url('#", "url(#")) and "@import" not in text
            for address in Page(path).addresses:
                assert not re.match(r"(?i)(https?:|//|javascript:|file:)", address), address
        assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)

    def test_every_link_leads_somewhere(self, folder, page):
        for path in [folder / "report.html", *folder.glob("clips/*/*.html")]:
            for address in set(Page(path).addresses):
                file, _, anchor = address.partition("#")
                assert (path.parent / file).exists(), address
                assert not anchor or anchor in page.ids, address  # every anchor is the report's
        assert "clips/ravdess/3.html" in page.addresses and "clips/ravdess/4.html" not in page.addresses

    def test_plots_are_inline_and_share_no_ids(self, folder, page):
        text = (folder / "report.html").read_text()
        assert text.count('<svg class="plot"') == sum(tag == "svg" for tag in page.tags) - text.count('class="swatch"')
        assert "#010101" not in text and "var(--ink)" in text  # coloured by the page, so that dark mode works
        assert "<metadata" not in text and text.count("<style") == 1

    def test_figures_are_those_of_results_json(self, folder):
        run, text = read_run(folder), (folder / "report.html").read_text()
        for (benchmark, system), scores in run.scores.items():
            value = np.mean([score["ua"] for score in scores])
            assert f'data-v="{value}"' in text, (benchmark, system)

    def test_published_figures_are_marked(self, folder):
        text = (folder / "report.html").read_text()
        table = text[text.index('id="scores"') : text.index('id="ablations"')]
        body = table[table.index('<tbody class="published">') :]
        assert body.count('<span class="badge">published</span>') >= 12
        assert "62.3" in body and "test sides" in table  # Whisper on RAVDESS in the paper's Table 2

    def test_figures_on_other_clips_say_so_beside_the_figure(self, folder):
        brief, page = ((folder / f"report.{form}").read_text() for form in ("md", "html"))
        assert "68.8 †" in brief and "68.8 <span title" in page  # Whisper on EmoDB, boredom included
        for text in (brief, page):
            assert "† EmoDB: not comparable" in text.replace("<br>", "") and "boredom included" in text
        assert "62.3 †" not in brief

    def test_no_path_of_the_machine(self, folder):
        for path in [folder / "report.html", folder / "report.md", *folder.glob("clips/*/*.html")]:
            text = path.read_text()
            assert "/data/home" not in text and str(folder) not in text and "/tmp/" not in text, path

    def test_no_script_but_ours(self, folder):
        text = (folder / "report.html").read_text()
        assert text.count("<script") == 1 and re.search(r"script-src 'sha256-[\w+/=]{44}'", text)


class TestOtherFiles:
    def test_scores_csv_agrees(self, folder):
        rows = list(csv.DictReader((folder / "scores.csv").open()))
        found = {(r["benchmark"], r["system"], r["seed"], r["metric"]): r for r in rows}
        assert len(found) == len(rows)
        for score in json.loads((folder / "results.json").read_text())["scores"]:
            seed = "" if score["seed"] is None else str(score["seed"])
            for metric in ("accuracy", "ua", "macro_f1"):
                row = found[score["benchmark"], score["system"], seed, metric]
                assert [float(row[k]) for k in ("value", "low", "high")] == [score[metric], *score["intervals"][metric]]
            if score["tone_or_words"]:
                row = found[score["benchmark"], score["system"], seed, "follows_tone"]
                assert float(row["value"]) == score["tone_or_words"]["shares"]["tone"]
                row = found[score["benchmark"], score["system"], seed, "conflicting_answer_ua"]
                assert float(row["value"]) == score["halves"]["conflicting"]["answers"]["answer"]["ua"]

    def test_markdown_agrees(self, folder):
        run, text = read_run(folder), (folder / "report.md").read_text()
        section = text[text.index("## UA") : text.index("## macro-F1")]
        rows = {
            line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:]
            for line in section.splitlines()
            if "|" in line
        }
        for name, system in run.systems.items():
            title = system["title"] + (" (random weights)" if name == "pooled-wavlm" else "")
            for benchmark, cell in zip(run.benchmarks, rows[title], strict=True):
                figure = pooling.figure(run.scores[benchmark, name], "ua")
                assert cell.replace("**", "").removesuffix(" ≈") == interval_text(figure)

    def test_markdown_tables_are_whole(self, folder):
        lines = (folder / "report.md").read_text().splitlines()
        for above, line in itertools.pairwise(lines):
            if above.startswith("|") and line.startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", above)) == len(re.findall(r"(?<!\\)\|", line))

    def test_the_same_files_give_the_same_bytes(self, small):
        def made():
            build_report(small, clip_pages=2, progress=False)
            return {p.relative_to(small): p.read_bytes() for p in small.rglob("*") if p.is_file()}

        first = made()
        (small / "clips" / "ravdess" / "99.html").write_text("of another run")
        assert made() == first and len(first) > 10


class TestClipPages:
    def test_conflict_first_then_disagreement(self):
        index = {
            "b": {
                "agreed": ClipAnswers("agreed", "sad", "", ["sad"] * 3),
                "split": ClipAnswers("split", "sad", "", ["sad", "happy", ""]),
                "congruent": ClipAnswers("congruent", "sad", "sad", ["fear", "happy", "sad"]),
                "conflict": ClipAnswers("conflict", "sad", "happy", ["sad"] * 3),
            }
        }
        assert [clip.id for clip in choose_clips(index, 3)["b"]] == ["conflict", "split", "congruent"]
        assert choose_clips(index, 0)["b"] == []

    def test_answers_and_words_are_on_the_page(self, folder):
        clip = folder / "clips" / "conflict-synth" / "1.html"
        text = clip.read_text()
        assert "They cancelled the party &amp; nobody told me." in text and "tone against words" in text
        for title, *_ in SYSTEMS.values():
            assert title in text
        assert text.count("<rect") == 2 * (8 + 16) and 'class="wave"' in text and "random weights" in text

    def test_what_was_heard_stands_beside_the_conflict(self, folder):
        pages = ["".join(Page(path).text) for path in sorted(folder.glob("clips/conflict-synth/*.html"))]
        assert all("words that were heard" in page and "disagreement" in page for page in pages)
        assert any("“we are <home>”" in page for page in pages) and any("none: unclear" in page for page in pages)

    @pytest.mark.parametrize(("audio", "copied"), [(None, {"conflict-synth"}), (True, set(BENCHMARKS)), (False, set())])
    def test_audio_only_where_allowed(self, small, audio, copied):
        build_report(small, audio=audio, clip_pages=1, progress=False)
        assert {path.parent.name for path in small.glob("clips/*/*.wav")} == copied
        for name in BENCHMARKS:
            page = Page(small / "clips" / name / "1.html")
            assert ("audio" in page.tags) == (name in copied)
            assert ("CC BY-NC-SA" in "".join(page.text)) == (name not in copied)

    def test_broken_audio_is_said_and_not_fatal(self, small):
        for wav in small.glob("audio/*/*.wav"):
            wav.write_bytes(b"no audio")
        shutil.rmtree(small / "audio" / "tess")
        build_report(small, clip_pages=1, progress=False)
        for name in BENCHMARKS:
            text = (small / "clips" / name / "1.html").read_text()
            assert "No waveform" in text and "kept" in text and str(small) not in text

    def test_envelope_and_bands(self):
        path = outline(np.array([0.0, 0.5, -0.25, 0.0], dtype=np.float32), bins=2)
        assert path == "M0 0L1000 50L1000 75L0 50Z"
        assert outline(np.zeros(10, dtype=np.float32)).startswith("M0 50")
        found = bands([{"pathway": "acoustic", "start": 0.5, "end": 1.5, "score": 2}, {"start": 1, "end": 1}], 1.0)
        assert found == {"acoustic": [{"x": 500.0, "width": 500.0, "start": 0.5, "end": 1.5, "score": 1}]}


class TestHostileInput:
    EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> $\\alpha$ | `x` [a](http://evil)"

    def test_names_texts_and_errors_are_escaped(self, small):
        def change(results):
            results["systems"]["fas"]["title"] = results["benchmarks"]["tess"]["title"] = self.EVIL
            results["systems"]["fas"]["group"] = results["benchmarks"]["tess"]["source"] = self.EVIL
            results["missing"] = [
                {"kind": "system", "name": self.EVIL, "why": self.EVIL, "where": "javascript:alert(1)"}
            ]
            results["scores"][0]["failed"] = [{"clip": self.EVIL, "error": self.EVIL}]
            results["provenance"]["command"] = [self.EVIL]

        clips = small / "clips.jsonl"
        clips.write_text(
            clips.read_text().replace("They cancelled the party & nobody told me.", json.dumps(self.EVIL)[1:-1])
        )
        answers = small / "answers.csv"
        answers.write_text(answers.read_text().replace("tess-00000", '"' + self.EVIL.replace('"', '""') + '"'))
        build_report(changed(small, change), clip_pages=14, progress=False)
        for path in [small / "report.html", *small.glob("clips/*/*.html")]:
            page = Page(path)  # asserts that there are no handlers
            assert page.tags.count("script") == 1 and "img" not in page.tags
            assert "$\\alpha$" in "".join(page.text) or path.parent.name != "tess"
        text = re.sub(r"(?m)^- command: `[^`]*`$", "", (small / "report.md").read_text())  # code shows as it is
        assert "<script" not in text and "<img" not in text and "](http" not in text.replace("\\](http", "")

    def test_names_of_benchmarks_stay_inside_the_folder(self, small):
        for path in (small / "answers.csv", small / "results.json", small / "clips.jsonl"):
            path.write_text(path.read_text().replace('"emodb"', '"../../up"').replace("emodb,", "../../up,"))
        build_report(small, clip_pages=1, progress=False)
        assert {p.name for p in (small / "clips").iterdir()} == {"ravdess", "_.._up", "tess", "conflict-synth"}
        assert "clips/_.._up/1.html" in Page(small / "report.html").addresses

    def test_slugs_are_unique_where_case_does_not_count(self):
        assert unique_slugs(["a b", "a/b", "A_B", "..", "."]) == {
            "a b": "a_b",
            "a/b": "a_b-2",
            "A_B": "A_B-3",
            "..": "_",
            ".": "_-2",
        }

    def test_formulas_are_text_in_a_spreadsheet(self, small):
        def change(results):
            results["scores"] = results["scores"][:1]
            results["scores"][0]["system"] = "=cmd()"

        build_report(changed(small, change), progress=False)
        assert ",'=cmd()," in (small / "scores.csv").read_text()


class TestGaps:
    def test_nan_and_none_leave_a_dash(self, small):
        def change(results):
            results["benchmarks"]["tess"] = {"title": "TESS"}
            results["systems"]["fas"] = {"title": "FAS", "curves": {"42": [None, float("nan"), 0.5]}}
            for score in results["scores"][:2]:
                score |= {
                    "ua": float("nan"),
                    "intervals": None,
                    "recall": {"angry": None},
                    "reliability": None,
                    "ece": None,
                }
            results["scores"][3] = {"benchmark": "emodb", "system": "fas"}
            results["comparisons"][0] |= {"difference": None, "p": float("nan"), "interval": None}

        build_report(changed(small, change), clip_pages=1, progress=False)
        text = (small / "report.html").read_text()
        assert not re.search(r">\s*(nan|None|Undefined)\b", text) and "NaN" not in text
        assert "nan" not in (small / "scores.csv").read_text()

    def test_results_alone_with_one_system_and_one_score(self, tmp_path):
        scores = [{"benchmark": "mine", "system": "fas", "seed": None, "accuracy": 0.5, "ua": 0.4}]
        (tmp_path / "results.json").write_text(json.dumps({"scores": scores}))
        page = Page(build_report(tmp_path, progress=False))
        assert {"scores", "benchmarks", "cost"} <= set(page.ids) and not {
            "maps",
            "tone",
            "ablations",
            "training",
        } & set(page.ids)
        assert "The only system here." in "".join(page.text)
        assert "| fas | 40.0 |" in (tmp_path / "report.md").read_text()

    def test_without_scores_at_all(self, tmp_path):
        (tmp_path / "results.json").write_text(
            '{"scores": [], "missing": [{"kind": "system", "name": "x", "why": "gone"}]}'
        )
        assert "gone" in "".join(Page(build_report(tmp_path, progress=False)).text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [(None, "not found"), ("{", "not results"), ('{"a": 1}', "not results"), ('{"scores": [{}]}', r"scores\[0\]")],
    )
    def test_bad_input_is_one_clear_error(self, tmp_path, capsys, text, message):
        if text is not None:
            (tmp_path / "results.json").write_text(text)
        with pytest.raises(FASError, match=message):
            build_report(tmp_path)
        assert main([str(tmp_path)]) == 2 and "results.json" in capsys.readouterr().err


class TestFiguresOverSeeds:
    def test_mean_spread_and_bounds(self):
        scores = [{"ua": v, "intervals": {"ua": [v - 0.1, v + 0.2]}} for v in (0.4, 0.5, 0.6)] + [{"ua": None}]
        found = pooling.figure(scores, "ua")
        assert [found.value, found.spread, found.low, found.high] == pytest.approx([0.5, 0.1, 0.4, 0.7])
        assert interval_text(found) == "50.0 ± 10.0 [40.0, 70.0]"
        assert pooling.figure(scores, "accuracy") is None

    def test_reliability_is_weighted_by_counts(self):
        bins = [
            {"reliability": {"counts": [1, 0], "accuracy": [1.0, None], "confidence": [0.2, None]}},
            {"reliability": {"counts": [3, 0], "accuracy": [0.0, None], "confidence": [0.4, None]}},
        ]
        found = pooling.reliability(bins)
        assert found["counts"].tolist() == [4, 0]
        assert found["accuracy"].tolist() == [0.25, 0] and found["confidence"].tolist() == pytest.approx([0.35, 0])

    def test_random_weights_are_never_the_best(self, small):
        def change(results):
            results["systems"]["fas"]["weights"] = "random"

        run = read_run(changed(small, change))
        assert all(not c.best and not c.mark for row in score_table(run).rows for c in row.cells.values())
        assert {finding.best for finding in findings(run, score_table(run))} == {SYSTEMS["cascade"][0]}


def comparison(a, b, difference, significant, p=0.5, **more):
    row = {"benchmark": "x", "a": a, "b": b, "metric": "ua", "difference": difference, "significant": significant}
    return row | {"mcnemar_p_corrected": p, **more}


class TestMarks:
    def run(self, tmp_path, comparisons):
        scores = [
            {"benchmark": "x", "system": s, "accuracy": v, "ua": v} for s, v in zip("abc", (0.9, 0.8, 0.3), strict=True)
        ]
        systems = {"a": {}, "b": {"group": "g", "ablation_of": "a"}, "c": {}}
        content = {"scores": scores, "systems": systems, "comparisons": comparisons}
        (tmp_path / "results.json").write_text(json.dumps(content))
        return read_run(tmp_path)

    def test_not_significantly_different_from_the_best(self, tmp_path):
        pairs = [("a", "b", 0.1, False), ("c", "a", -0.6, True, 0.001), ("b", "c", 0.5, True)]
        run = self.run(tmp_path, [comparison(*pair) for pair in pairs])
        table = score_table(run)
        marks = {row.name: (row.cells["x", "ua"].best, row.cells["x", "ua"].mark) for row in table.rows}
        assert marks == {"a": (True, ""), "b": (False, "≈"), "c": (False, "")}
        assert table.rows[2].cells["x", "accuracy"].mark == ""  # McNemar: below the level
        (finding,) = findings(run, table)
        assert finding.details == ["Significantly better than c. Not distinguishable from b."]

    def test_one_reference(self, tmp_path):
        run = self.run(tmp_path, [comparison("a", "b", 0.1, True, 0.2), comparison("c", "b", -0.5, True, 0.001)])
        table = score_table(run)
        assert [row.cells["x", "ua"].mark for row in table.rows] == ["▲", "", "▼"]
        assert [row.cells["x", "accuracy"].mark for row in table.rows] == ["≈", "", "▼"]
        (finding,) = findings(run, table)
        assert finding.details == ["Significantly better than b. Not tested against 1 system."]
        text = build_report(tmp_path, progress=False).read_text()
        assert "all systems were compared with b" in text and "Every system against one reference" in text

    def test_seeds_have_to_agree(self):
        rows = [comparison("a", "b", 0.1, True), comparison("b", "a", 0.1, True)]
        verdict = Pairs(rows, 0.05).verdict("x", "a", "b")
        assert (verdict.difference, verdict.significant) == (0, False)
        assert Pairs(rows[:1], 0.05).verdict("x", "b", "a").difference == -0.1
        assert Pairs(rows, 0.05).differ("x", "a", "z", "ua") is None

    def test_differences_of_an_ablation(self, tmp_path):
        run = self.run(tmp_path, [comparison("b", "a", -0.1, True)])
        ((table, base),) = ablations(run).values()
        assert base == "a" and [row.name for row in table.rows] == ["a", "b"]
        cell = table.rows[1].cells["x", "ua"]
        assert cell.delta == pytest.approx(-0.1) and cell.delta_significant is True
        assert "Δ −10.0 *" in build_report(tmp_path, progress=False).read_text()


class TestFormats:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("/home/me/data/a.wav: broken", "…/a.wav: broken"),
            ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
            ("FAS w/o top-k, runs/mine/x", "FAS w/o top-k, runs/mine/x"),
            ("--data /srv/x/ --output ~/out/run", "--data …/ --output …/run"),
            (r"C:\Users\me\a.wav", "…/a.wav"),
        ],
    )
    def test_places_of_a_machine(self, text, expected):
        assert without_places(text) == expected

    def test_markdown_shows_what_was_written(self):
        assert markdown_text("a*b_[x](http://y) <b>\n`c`") == r"a\*b\_\[x\](http&#58;//y) &lt;b> \`c\`"

    def test_percent(self):
        assert percent(0.12345) == "12.3" and percent(None) == percent(float("nan")) == "-"


def test_command_line_and_benchmark(tmp_path):
    output = tmp_path / "report.json"
    command = [PYTHON, "-m", "benchmarks.report", "--clips", "40", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(output.read_text())
    assert result["clips"] == 40 and result["systems"] == 10 and result["pages"] == 40
    assert result["answers"] == 400 and result["pairs_tested"] == 45
    assert result["seconds"] > 0 and 20 < result["peak_memory_mb"] < 2000


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["report.html", "clips/conflict-synth/1.html"])
def test_nothing_overflows_in_a_browser(folder, tmp_path, width, name):
    """Everything unfolded, in a frame of the width of a phone or a laptop: only boxes that scroll are wider than the page."""
    page = tmp_path / "page.html"
    html = re.sub(r'<meta http-equiv="Content-Security.*?>', "", (folder / name).read_text()).replace(
        "<details", "<details open"
    )
    probe = "<script>onload = () => { document.title = document.documentElement.scrollWidth; }</script>"
    page.write_text(html + probe)
    frame = tmp_path / "frame.html"
    report = "onload = () => setTimeout(() => document.body.append('WIDTH ' + frames[0].document.title), 300)"
    frame.write_text(
        f'<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe><script>{report}</script>'
    )
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
    ]
    command = [
        CHROMIUM,
        *flags,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1400,900",
        "--dump-dom",
        frame.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"WIDTH (\d+)", done.stdout)
    assert found and int(found[1]) <= width
