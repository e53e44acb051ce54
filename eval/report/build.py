"""Everything that is made of results.json: report.html, report.md, scores.csv and the pages of clips."""

from pathlib import Path

from fas_core.atomic import write_text
from fas_core.labels import EMOTIONS
from fas_eval.report import sections
from fas_eval.report.brief import command_line, render_brief
from fas_eval.report.clip_pages import write_clip_pages
from fas_eval.report.clips import Index, choose_clips, emotions_of, index_answers
from fas_eval.report.cues import COLUMNS, cue_tables
from fas_eval.report.details import COLOURED, benchmark_sections
from fas_eval.report.formats import METRIC_NAMES, unique_slugs
from fas_eval.report.long_csv import write_scores
from fas_eval.report.pages import render
from fas_eval.report.reading import Run, read_run
from fas_eval.report.scoretable import ScoreTable, ablations, published_notes, score_table, usual_setting
from fas_eval.report.summary import caveats, compared, findings, legend


def build_report(folder: str | Path, audio: bool | None = None, clip_pages: int = 40, progress: bool = True) -> Path:
    """Write the report of an evaluation into its folder; the same files give the same bytes.

    Args:
        folder: with results.json, and answers.csv and clips.jsonl where clips are to be shown.
        audio: True copies the audio of the shown clips next to their pages, False none; None only that of benchmarks marked
            as synthetic, because the licences of most corpora do not let their speech be passed on.
        clip_pages: at most so many clips of each benchmark get a page. progress: show bars.

    Returns:
        Path of report.html, which is written last.

    Raises:
        FASError: no results.json of the suite in `folder`.
    """
    run = read_run(folder)
    index = index_answers(run)
    shown = choose_clips({name: index[name] for name in run.benchmarks if name in index}, clip_pages)
    slugs = unique_slugs(run.benchmarks)
    table = score_table(run)
    write_scores(run)
    write_text(run.folder / "report.md", render_brief(run, table))
    write_clip_pages(run, shown, slugs, audio, progress)
    return write_text(
        run.folder / "report.html", render("report.html", _content(run, table, index, slugs) | {"shown": shown})
    )


def _content(run: Run, table: ScoreTable, index: Index, slugs: dict[str, str]) -> dict:
    ways, answers = sections.answer_counts(run)
    failures, failed_total = sections.failures(run)
    return {
        "run": run,
        "table": table,
        "slugs": slugs,
        "metrics": METRIC_NAMES,
        "emotions": EMOTIONS,
        "settings": {name: usual_setting(run, name) for name in run.benchmarks},
        "compared": compared(run, table),
        "findings": findings(run, table),
        "caveats": caveats(run, table),
        "published_notes": published_notes(run, table.benchmarks),
        "legend": legend(run),
        "ablations": ablations(run),
        "comparisons": sections.comparisons(run),
        "tone_or_words": sections.tone_or_words(run),
        "cue_columns": COLUMNS,
        "cue_tables": cue_tables(run),
        "sections": benchmark_sections(run, slugs),
        "maps": sections.maps(run, emotions_of(index)),
        "curves": sections.training_curves(run),
        "costs": sections.costs(run),
        "coloured": COLOURED,
        "ways": ways,
        "answers": answers,
        "failures": failures,
        "failed_total": failed_total,
        "command": command_line(run),
    }
