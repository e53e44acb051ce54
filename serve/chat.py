"""The command `fas chat`, which is `python -m serve.chat`: a question about audio, or a conversation."""

from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, run
from fas_core.errors import INPUT_ERRORS, error_line
from fas_core.paths import exists
from fas_core.text import printable_lines
from fas_serve.client import DEFAULT_URL, Client, ServerError, audio_part, user_message

HELP = """/audio FILE   the next question is about this file too
/emotion      probabilities of the files so far
/clear        forget conversation and files
/quit         or Ctrl-D"""


app = App()


@app.command()
def main(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILES] [QUESTION]", help="audio files, then a question; none: interactive"),
    ] = None,
    url: Annotated[str, typer.Option(help="of the server")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="FAS_API_KEY", help="of the server")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="of the answer")] = None,
    temperature: Annotated[float, typer.Option(help="0: always the same answer")] = 0.0,
) -> None:
    """Ask a server of `fas serve` about audio.

    Examples:

      fas chat a.wav "How does she feel, and do her words agree?"

      fas chat a.wav           goes on interactively

    Exit code: 0; 1 when the server could not answer; 2 for a file that cannot be read.
    """
    files, question = split_arguments(arguments or [])
    options = {"temperature": temperature} | ({"max_tokens": max_tokens} if max_tokens else {})
    try:
        with Client(url, api_key) as client:
            conversation = ChatSession(client, options, files)
            if question is not None:
                conversation.ask(question)
            else:
                interact(conversation)
    except ServerError as error:
        typer.echo(f"error: {error_line(error)}", err=True)
        raise typer.Exit(1) from None


def split_arguments(arguments: list[str]) -> tuple[list[str], str | None]:
    """Files, and the question: the last argument, where it is no file and looks like none."""
    if arguments and not exists(arguments[-1]) and (" " in arguments[-1] or not Path(arguments[-1]).suffix):
        return arguments[:-1], arguments[-1]
    return arguments, None


class ChatSession:
    """Questions, answers, and the audio that the next question brings along."""

    def __init__(self, client: Client, options: dict, files: list[str]):
        self.client, self.options = client, options
        self.waiting = [audio_part(file) for file in files]
        self.heard: list[dict] = []
        self.messages: list[dict] = []

    def ask(self, question: str) -> None:
        """Prints the answer as it comes."""
        answer = ""
        for piece in self.client.stream(question, self.waiting, history=self.messages, **self.options):
            answer += piece
            typer.echo(printable_lines(piece), nl=False)  # what a server sends moves no cursor
        typer.echo()
        self.messages += [user_message(question, self.waiting), {"role": "assistant", "content": answer}]
        self.heard, self.waiting = self.heard + self.waiting, []

    def add(self, file: str) -> None:
        self.waiting.append(audio_part(file))

    def emotions(self) -> None:
        """Prints what `/v1/emotion` says about each file."""
        parts = [*self.heard, *self.waiting]
        answers = self.client.emotion(parts) if parts else []
        for answer in answers:
            typer.echo(printable_lines(describe(answer)))
        if not answers:
            typer.echo("no audio yet: /audio FILE")

    def clear(self) -> None:
        self.waiting, self.heard, self.messages = [], [], []


def describe(answer: dict) -> str:
    """One line for one clip."""
    number = f"{answer['index'] + 1}: "
    if answer["error"]:
        return number + answer["error"]
    if answer["label"] is None:
        return f"{number}nobody speaks"
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    text = ", ".join(f"{emotion} {p:.2f}" for emotion, p in ranked[:3])
    sides = [f"{side} {answer[side]['label']}" for side in ("tone", "words") if answer[side]]
    conflict = "" if answer["conflict"] is None else f"; conflict {answer['conflict']:.2f}"
    said = f" “{answer['words']['transcript']}”" if answer["words"] else ""
    return f"{number}{text} ({', '.join(sides)}{conflict}){said}"


def interact(conversation: ChatSession) -> None:
    """Reads lines until the end; an error is told and the conversation goes on."""
    typer.echo(HELP)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if line == "/quit":
            return
        try:
            _obey(conversation, line)
        except INPUT_ERRORS as error:
            typer.echo(f"error: {error_line(error)}", err=True)


def _obey(conversation: ChatSession, line: str) -> None:
    command, _, rest = line.partition(" ")
    if command == "/audio" and rest:
        conversation.add(rest.strip())
    elif command == "/emotion":
        conversation.emotions()
    elif command == "/clear":
        conversation.clear()
    elif command.startswith("/"):
        typer.echo(HELP)
    elif line:
        conversation.ask(line)


if __name__ == "__main__":
    run(app, "python -m serve.chat")
