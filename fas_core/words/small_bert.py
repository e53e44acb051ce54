"""A BERT small enough to ship: few word pieces and layers, weights in 8 bits; read by torch and the package tokenizers.

Files of a directory: `config.json` (kind, order of the emotions, languages, temperature, heads), `tokenizer.json`,
`model.safetensors` (names of `Bert`; each matrix in 8 bits with a scale for each row, computed with in float32).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS
from fas_core.model_files import read_object, reads_checkpoint
from fas_core.words.bert import Bert
from fas_core.words.ngrams import MOST_CHARACTERS, UNKNOWN

KIND = "fas-words-bert"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
WINDOW = 64  # tokens that are read at once, [CLS] and [SEP] counted; longer texts are the mean of their windows
AT_ONCE = 32  # windows of one length
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # numbers 0 to 3
_SCALE = ".scale"
_QUOTES = str.maketrans("’‘ʼ`´", "'''''")


@dataclass
class SmallBert:
    """What the files hold.

    Attributes:
        tokenizer: its first numbers are `SPECIAL`. bert: in float32. temperature: divides the logits.
        languages: codes of the languages that it reads.
    """

    tokenizer: Tokenizer
    bert: Bert
    temperature: float = 1.0
    languages: tuple[str, ...] = ("en",)

    def __post_init__(self):
        self.bert.eval()
        says = [any(c.isalpha() for c in self.tokenizer.id_to_token(i)) for i in range(self.tokenizer.get_vocab_size())]
        self._says = np.array(says) & (np.arange(len(says)) >= len(SPECIAL))

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 7), divided by the temperature; a text without a known word is neutral and nothing else."""
        windows = [self.ids(text) for text in texts]
        windows = [parts if any(self._says[part].any() for part in parts) else [] for parts in windows]
        places = defaultdict(list)  # length -> (text, its window)
        for text, parts in enumerate(windows):
            for part in parts:
                places[len(part)].append((text, part))
        sums = np.zeros((len(windows), len(EMOTIONS)))
        for found in places.values():
            for start in range(0, len(found), AT_ONCE):
                rows, parts = zip(*found[start : start + AT_ONCE], strict=True)
                np.add.at(sums, list(rows), self._read(torch.tensor(parts)))
        means = sums / np.array([max(len(parts), 1) for parts in windows])[:, None] / self.temperature
        means[[not parts for parts in windows]] = np.where(np.array(EMOTIONS) == "neutral", UNKNOWN, 0.0)
        return means

    def ids(self, text: str) -> list[list[int]]:
        """Token numbers of its windows, each with [CLS] and [SEP]; at least one window."""
        clean = text[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8").translate(_QUOTES)
        ids, size = self.tokenizer.encode(clean, add_special_tokens=False).ids, WINDOW - 2
        starts = range(0, max(len(ids), 1), size)
        return [[SPECIAL.index("[CLS]"), *ids[at : at + size], SPECIAL.index("[SEP]")] for at in starts]

    def to(self, device: str | torch.device) -> SmallBert:
        """Itself, computing there."""
        self.bert.to(device)
        return self

    @torch.inference_mode()
    def _read(self, ids: Tensor) -> np.ndarray:
        return self.bert(ids.to(self.bert.classifier.weight.device)).double().cpu().numpy()

    def rounded(self) -> SmallBert:
        """As it will be read from its files."""
        parts = _in_eight_bits(self.bert)
        self.bert.load_state_dict(_in_floats(parts))
        return self

    def save(self, directory: str | Path) -> None:
        """The three files."""
        config = {"kind": KIND, "emotions": EMOTIONS, "languages": self.languages}
        config |= {"temperature": self.temperature, "heads": self.bert.heads}
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILES[0]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (directory / FILES[1]).write_text(self.tokenizer.to_str() + "\n", encoding="utf-8")
        (directory / FILES[2]).write_bytes(save(_in_eight_bits(self.bert)))

    @classmethod
    def load(cls, directory: str | Path) -> SmallBert:
        """What `save` wrote.

        Raises:
            CheckpointError: a file is missing or damaged, of another kind or order of emotions, or its parts do not fit.
        """
        config_path, tokenizer_path, weights_path = (Path(directory) / name for name in FILES)
        config = read_object(config_path)
        _expect(config.get("kind") == KIND, config_path, f"kind {config.get('kind')!r}", repr(KIND))
        _expect(config.get("emotions") == list(EMOTIONS), config_path, "emotions of another order", ", ".join(EMOTIONS))
        languages, temperature, heads = (config.get(name) for name in ("languages", "temperature", "heads"))
        are_codes = isinstance(languages, list) and languages and all(isinstance(each, str) for each in languages)
        _expect(are_codes, config_path, f"languages {languages!r}", "codes such as 'en'")
        is_positive = isinstance(temperature, float | int) and 0 < temperature < np.inf
        _expect(is_positive, config_path, f"temperature {temperature!r}", "a positive number")
        _expect(type(heads) is int and heads > 0, config_path, f"heads {heads!r}", "a whole number")
        read_object(tokenizer_path)
        with reads_checkpoint(tokenizer_path, "a tokenizer of the package tokenizers"):
            tokenizer = Tokenizer.from_file(str(tokenizer_path))
        known = tuple(tokenizer.id_to_token(number) for number in range(len(SPECIAL)))
        _expect(known == SPECIAL, tokenizer_path, f"first tokens {known}", ", ".join(SPECIAL))
        bert = _bert(weights_path, tokenizer.get_vocab_size(), heads)
        return cls(tokenizer, bert, float(temperature), tuple(languages))


def _in_eight_bits(bert: Bert) -> dict[str, Tensor]:
    """Matrices as whole numbers of -127 to 127 and a scale for each row."""
    found = {}
    for name, tensor in bert.state_dict().items():
        tensor = tensor.detach().float().cpu()
        if tensor.ndim == 1:
            found[name] = tensor.clone()
        else:
            scale = tensor.abs().amax(1).clamp(min=1e-9) / 127
            found |= {name: (tensor / scale[:, None]).round().to(torch.int8), name + _SCALE: scale}
    return found


def _in_floats(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor.float() for name, tensor in stored.items() if not name.endswith(_SCALE)}
    return {
        name: tensor * stored[name + _SCALE][:, None] if name + _SCALE in stored else tensor
        for name, tensor in found.items()
    }


def _bert(path: Path, pieces: int, heads: int) -> Bert:
    with reads_checkpoint(path, "weights of a text model"), safe_open(str(path), "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    for name, shape in found.items():
        of = found.get(name.removesuffix(_SCALE), ())
        _expect(not name.endswith(_SCALE) or shape == of[:1], path, f"{name} of shape {shape}", str(of[:1]))
        _expect(bool(stored[name].float().isfinite().all()), path, f"{name} that are not finite", "numbers")
    width = (*found.get("embeddings.word_embeddings.weight", ()), 0, 0)[1]
    inner = (*found.get("encoder.layer.0.intermediate.dense.bias", ()), 0)[0]
    layers = len({name.split(".")[2] for name in found if name.startswith("encoder.layer.")})
    _expect(width > 0 and width % heads == 0, path, f"width {width}", f"a multiple of the {heads} heads")
    bert = Bert(pieces, WINDOW, width, inner, layers, heads, len(EMOTIONS))
    shapes = {name: tuple(tensor.shape) for name, tensor in bert.state_dict().items()}
    floats = _in_floats(stored)
    for name in sorted(shapes | dict.fromkeys(floats, ())):
        _expect(found.get(name) == shapes.get(name), path, f"{name} of shape {found.get(name)}", str(shapes.get(name)))
    bert.load_state_dict(floats)
    return bert


def _expect(is_right: bool, path: Path, found: str, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"{path}: {found}; expected {expected}")
