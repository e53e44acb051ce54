"""The page that `fas page` shows beside a running server: record or drop audio, see what was heard, ask about it."""

import os

from fas_core.answer_table import CONFLICTING
from fas_core.audio import AudioLimits, load_audio
from fas_core.errors import FASError, MissingDependencyError
from fas_core.plots import tone_against_words, waveform
from fas_serve.client import Client, user_message

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
try:
    import gradio
except ImportError:
    raise MissingDependencyError("the page needs gradio: pip install 'fas-alm[demo]'") from None

TITLE = "# What does this voice feel?\nTone, words, and whether they agree. For research; not for judging people."
KEPT_FOR = 3600  # seconds that Gradio keeps uploaded audio in its folder
HINT = "Drop or record a few seconds of speech; then press *Listen*."


def build(client: Client, can_chat: bool) -> gradio.Blocks:
    """The page of a server.

    Args:
        can_chat: whether the server has a language model.
    """
    with gradio.Blocks(title="FAS-ALM", analytics_enabled=False, delete_cache=(KEPT_FOR, KEPT_FOR)) as page:
        gradio.Markdown(TITLE)
        with gradio.Row():
            with gradio.Column(scale=1):
                audio = gradio.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="audio",
                    elem_id="audio",
                    buttons=["download"],
                )
                words = gradio.Checkbox(True, label="write down the words")
                below = gradio.Number(
                    None, label="unsure below (0 to 1; empty: as the checkpoint says)", minimum=0, maximum=1
                )
                listen = gradio.Button("Listen", variant="primary", elem_id="listen")
                summary = gradio.Markdown(HINT, elem_id="summary")
            label = gradio.Label(label="emotion", num_top_classes=7, scale=1)
            sides = gradio.Plot(show_label=False, scale=1)
        wave = gradio.Plot(show_label=False)
        outputs = [label, sides, wave, summary]
        listen.click(
            lambda path, words, below: show(client, path, words, below),
            [audio, words, below],
            outputs,
            api_name="listen",
        )
        if can_chat:
            _add_chat(client, audio)
    return page


def _add_chat(client: Client, audio: gradio.Audio) -> None:
    messages = gradio.State([])
    chatbot = gradio.Chatbot(label="ask about it", height=300, elem_id="chat", buttons=["copy"])
    question = gradio.Textbox(
        placeholder="How does she feel, and do her words agree?", show_label=False, submit_btn=True, elem_id="question"
    )
    question.submit(
        lambda text, path, shown, history: (yield from ask(client, text, path, shown, history)),
        [question, audio, chatbot, messages], [question, chatbot, messages], api_name="ask",
    )  # fmt: skip
    audio.change(lambda: ([], []), None, [chatbot, messages])  # another voice, another conversation


def show(client: Client, path: str | None, words: bool, below: float | None = None):
    """Probabilities, the two pictures, and a line of text for one file."""
    if not path:
        raise gradio.Error("no audio yet: record or drop some first")
    try:
        answer = _emotion(client, path, words, below)
        audio = load_audio(path, limits=AudioLimits(max_seconds=600))
    except FASError as error:
        raise gradio.Error(str(error).replace("audio[0]: ", "")) from None
    tone, said = ((answer[side] or {}).get("probabilities") for side in ("tone", "words"))
    picture = waveform(audio, answer["kept_tokens"] or {})
    return answer["probabilities"], tone_against_words(tone, said), picture, describe(answer)


def _emotion(client: Client, path: str, words: bool, below: float | None) -> dict:
    options = {"tokens": True} | ({} if below is None else {"unsure_below": below})
    try:
        return client.emotion(path, words=words, **options)
    except FASError as error:
        if getattr(error, "code", None) != "not_available":
            raise
        return client.emotion(path, **options)  # a server that does not write words down


def describe(answer: dict) -> str:
    """What was heard, in words."""
    if answer["label"] is None:
        return "**nobody speaks**: no emotion is named"
    lines = [f"**{answer['label']}**, {answer['probabilities'][answer['label']]:.0%}"]
    if answer["unsure"]:
        lines.append(f"**unsure**: do not rely on it{_how_probable(answer)}")
    lines += [_said(answer), *_of_the_language_model(answer["language_model"])]
    if answer["speech"] is not None and answer["speech"] < 0.5:
        lines.append(f"speech: {answer['speech']:.0%} of it")
    if answer["audio"]["channel"] == "mix":
        lines.append(f"its {answer['audio']['channels']} channels were mixed; of a call each may be a person")
    return "\n\n".join(lines)


def _how_probable(answer: dict) -> str:
    """With what is known of why."""
    if answer["confidence"] is None:
        return ""
    return f"; right with probability {answer['confidence']:.2f}; familiarity {answer['familiarity']:.2f}"


def _said(answer: dict) -> str:
    """The transcript beside what it is compared with, or why there is none."""
    words, tone = answer["words"], answer["tone"]
    if words is None:
        return f"no words: {answer['words_missing']}"
    said = f"“{_plain(words['transcript'])}”: the words say {words['label']}"
    if answer["conflict"] is None:
        return said
    kind = "a conflict" if answer["conflict"] >= CONFLICTING else "no conflict"
    return f"{said}, the tone says {tone['label']}: {kind}, {answer['conflict']:.2f}"


def _of_the_language_model(heard: dict | None) -> list[str]:
    if heard is None:
        return []
    lines = [f"the language model says {heard['label']}, {heard['probabilities'][heard['label']]:.0%}"]
    if heard["words"]:
        lines[0] += f", of the words {heard['words']['label']}"
    if heard["option_mass"] < 0.5:
        lines.append(f"the seven options hold {heard['option_mass']:.0%} of its answer: do not trust it")
    return lines


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+!|" else c for c in text)


def ask(client: Client, question: str, path: str | None, shown: list, history: list):
    """The conversation as it grows; the audio goes along with the first question."""
    if not question.strip():
        yield question, shown, history
        return
    message = user_message(question, [path] if path and not history else [])
    shown = [*shown, {"role": "user", "content": question}, {"role": "assistant", "content": ""}]
    answer = ""
    try:
        parts = message["content"][:-1]
        for piece in client.stream(question, parts, history=history):
            answer += piece
            shown[-1] = {"role": "assistant", "content": answer}
            yield "", shown, history
    except FASError as error:
        raise gradio.Error(str(error)) from None
    yield "", shown, [*history, message, {"role": "assistant", "content": answer}]


def launch(client: Client, can_chat: bool, host: str, port: int, password: str | None, max_size: str) -> None:
    """Show the page until it is stopped.

    Args:
        can_chat: as of `build`. password: of the user fas; None: anybody may look. max_size: of an upload, like 25mb.
    """
    build(client, can_chat).launch(
        server_name=host, server_port=port, share=False, auth=("fas", password) if password else None,
        max_file_size=max_size, footer_links=[], ssr_mode=False, pwa=False,
    )  # fmt: skip
