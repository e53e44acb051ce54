"""The reader of words that fits a checkpoint's encoders: from the pass that the tone has already paid for."""

from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import CheckpointError
from fas_core.words.reader import WordsReader
from fas_core.words.text_model import SHIPPED, TextModel
from fas_core.words.transcriber import Transcriber


def find_reader(
    extractor: FeatureExtractor, streams: dict, text_model: str | None = None
) -> tuple[WordsReader | None, str | None]:
    """A reader of the frames that `extractor.with_frames` gives, or None and why there is none.

    Args:
        streams: of the checkpoint, with encoders where they lie on this machine (`local_streams`).
        text_model: as of `TextModel.from_pretrained`; by default the shipped one.

    Raises:
        CheckpointError: a text model that was asked for and cannot be loaded.
    """
    whisper = extractor.whisper
    if whisper is None:
        return None, "none of its encoders is a Whisper, which could write down what was said"
    try:
        model = TextModel.from_pretrained(text_model or SHIPPED)
    except CheckpointError as error:
        if text_model is not None:
            raise
        return None, str(error)
    source = streams["semantic" if whisper is extractor.semantic else "acoustic"]["model"]
    try:
        return WordsReader(Transcriber(source, whisper.backbone, languages=model.languages), model), None
    except CheckpointError:
        return None, "its Whisper has no decoder, or no tokenizer, to write down what was said"
