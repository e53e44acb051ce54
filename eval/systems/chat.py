"""What a chat endpoint answered as an answer of the suite, and the LLM that reads what the rules cannot; the client itself is
`fas_alm.endpoint`.
"""

from fas_alm.endpoint import OPTIONS, ChatEndpoint, Completion, EndpointError
from fas_eval.prompts import Prompt, load_prompt
from fas_eval.systems.base import SystemAnswer
from fas_eval.systems.extraction import Judge, option_answer, text_answer
from fas_eval.systems.options import check_options

MIN_MASS = 0.1  # letters that hold less than this are not what the model is answering with


def answer_of(completion: Completion, clip: str, prompt: Prompt, judge: Judge | None = None, **more) -> SystemAnswer:
    """What an endpoint answered of a clip: by the options where the letters hold some mass, else by the text, else by whatever the letters hold.

    Raises:
        EndpointError: the judge gave no answer.
    """
    more |= {"retries": completion.retries}
    letters = completion.letters() if prompt.kind == "options" else None
    by_options = option_answer(clip, letters, text=completion.text, **more) if letters else None
    if by_options and by_options.mass >= MIN_MASS:
        return by_options
    by_text = text_answer(clip, completion.text, prompt, judge, **more)
    return by_options if by_options and by_text.label is None else by_text


class EndpointJudge:
    """An LLM that reads the label out of an answer that the rules cannot read.

    Args:
        chat: a text model. prompt: with the slot `{answer}`.
    """

    def __init__(self, chat: ChatEndpoint, prompt: Prompt):
        self.chat, self.prompt = chat, prompt

    @classmethod
    def from_options(cls, options: dict | None) -> "EndpointJudge | None":
        """Of `judge:` in a system's options: those of `ChatEndpoint`, and `prompt` (judge@1). None for None."""
        if options is None:
            return None
        check_options({"name": "judge", **options}, (*OPTIONS, "prompt"), ("model",))
        return cls(ChatEndpoint.from_options(options), load_prompt(options.get("prompt", "judge@1")))

    def identity(self) -> dict:
        return {**self.chat.identity(), **self.prompt.identity()}

    def __call__(self, text: str) -> str | None:
        """One of `EMOTIONS`, or None. Raises `EndpointError` without an answer."""
        try:
            said = self.chat.ask(self.prompt.messages(self.prompt.fill(answer=text)), max_tokens=16, temperature=0)
        except EndpointError as error:
            raise EndpointError(f"judge: {error}", error.retries) from None
        return text_answer("", said.text, self.prompt).label
