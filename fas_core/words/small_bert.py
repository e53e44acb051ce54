"""A BERT small enough to ship: few word pieces and layers, weights in 8 bits; read by torch and the package tokenizers.

Devlin, Chang, Lee and Toutanova, "BERT", NAACL 2019; the classifier reads the first token. Files of a directory: `config.json` (kind,
order of the emotions, languages, temperature, heads), `tokenizer.json`, `model.safetensors` (names as in transformers; each
matrix in 8 bits with a scale for each row, computed with in float32).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS
from fas_core.model_files import read_object, reads_checkpoint
from fas_core.words.ngrams import MOST_CHARACTERS, UNKNOWN

KIND = "fas-words-bert"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
WINDOW = 64  # tokens that are read at once, [CLS] and [SEP] counted; longer texts are the mean of their windows
AT_ONCE = 32  # windows of one length
EPSILON = 1e-12  # of BERT's normalisations
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # numbers 0 to 3
_SCALE = ".scale"
_EMBEDDINGS = "embeddings.word_embeddings.weight"
_QUOTES = str.maketrans("’‘ʼ`´", "'''''")


@dataclass
class SmallBert:
    """What the files hold.

    Attributes:
        tokenizer: its first numbers are `SPECIAL`. tensors: name in transformers, without "bert." -> float32. heads: of each layer.
        temperature: divides the logits. languages: codes of the languages that it reads.
    """

    tokenizer: Tokenizer
    tensors: dict[str, Tensor]
    heads: int
    temperature: float = 1.0
    languages: tuple[str, ...] = ("en",)

    def __post_init__(self):
        self.layers = len({name.split(".")[2] for name in self.tensors if name.startswith("encoder.layer.")})
        says = [any(c.isalpha() for c in self.tokenizer.id_to_token(i)) for i in range(self.tokenizer.get_vocab_size())]
        self._says = np.array(says) & (np.arange(len(says)) >= len(SPECIAL))

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 7), divided by the temperature; a text without a known word is neutral and nothing else."""
        windows = [self._windows(text) for text in texts]
        places = defaultdict(list)  # length -> (text, its window)
        for text, parts in enumerate(windows):
            for part in parts:
                places[len(part)].append((text, part))
        sums = np.zeros((len(windows), len(EMOTIONS)))
        for found in places.values():
            for start in range(0, len(found), AT_ONCE):
                rows, parts = zip(*found[start : start + AT_ONCE], strict=True)
                np.add.at(sums, list(rows), self._read(torch.tensor(parts)))
        sums /= np.maximum([[len(parts)] for parts in windows], 1) if len(windows) else 1
        nothing = [not parts for parts in windows]
        sums[nothing] = np.where(np.array(EMOTIONS) == "neutral", UNKNOWN * self.temperature, 0.0)
        return sums / self.temperature

    def to(self, device: str | torch.device) -> SmallBert:
        """Itself, computing there."""
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return self

    def _windows(self, text: str) -> list[list[int]]:
        """Token numbers with [CLS] and [SEP]; none for a text of which no word is known."""
        clean = text[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8").translate(_QUOTES)
        ids = self.tokenizer.encode(clean, add_special_tokens=False).ids
        size = WINDOW - 2
        if not self._says[ids].any():
            return []
        return [[SPECIAL.index("[CLS]"), *ids[at : at + size], SPECIAL.index("[SEP]")] for at in range(0, len(ids), size)]

    @torch.inference_mode()
    def _read(self, ids: Tensor) -> np.ndarray:
        """(B, T) token numbers, none of them padding -> (B, 7) logits."""
        ids = ids.to(self.tensors[_EMBEDDINGS].device)
        x = self.tensors[_EMBEDDINGS][ids] + self.tensors["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._normalised("embeddings.LayerNorm", x + self.tensors["embeddings.token_type_embeddings.weight"][0])
        for layer in range(self.layers):
            x = self._layer(f"encoder.layer.{layer}.", x)
        pooled = torch.tanh(self._linear("pooler.dense", x[:, 0]))
        return self._linear("classifier", pooled).double().cpu().numpy()

    def _layer(self, name: str, x: Tensor) -> Tensor:
        parts = ("query", "key", "value")
        q, k, v = (self._linear(f"{name}attention.self.{part}", x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, T, width)
        x = self._normalised(f"{name}attention.output.LayerNorm", x + self._linear(f"{name}attention.output.dense", heard))
        wide = F.gelu(self._linear(f"{name}intermediate.dense", x))
        return self._normalised(f"{name}output.LayerNorm", x + self._linear(f"{name}output.dense", wide))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def _normalised(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], EPSILON)

    def save(self, directory: str | Path) -> None:
        """The three files."""
        tensors = {}
        for name, tensor in self.tensors.items():
            if tensor.ndim == 1:
                tensors[name] = tensor
                continue
            scale = tensor.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127
            tensors |= {name: (tensor / scale).round().to(torch.int8), name + _SCALE: scale[:, 0].contiguous()}
        config = {"kind": KIND, "emotions": EMOTIONS, "languages": self.languages, "temperature": self.temperature, "heads": self.heads}
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILES[0]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (directory / FILES[1]).write_text(self.tokenizer.to_str() + "\n", encoding="utf-8")
        (directory / FILES[2]).write_bytes(save(tensors))

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
        tensors = _tensors(weights_path, tokenizer.get_vocab_size(), heads)
        return cls(tokenizer, tensors, heads, float(temperature), tuple(languages))


def _tensors(path: Path, pieces: int, heads: int) -> dict[str, Tensor]:
    with reads_checkpoint(path, "weights of a text model"), safe_open(str(path), "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}
    tensors = {}
    for name, tensor in stored.items():
        if not name.endswith(_SCALE):
            scale = stored.get(name + _SCALE)
            fits = scale is None or scale.shape == tensor.shape[:1]
            _expect(fits, path, f"{name}{_SCALE} of another shape", "one for each row")
            tensors[name] = tensor.float() if scale is None else tensor.float() * scale.float()[:, None]
            _expect(bool(tensors[name].isfinite().all()), path, f"{name} that are not finite", "numbers")
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    width = found.get(_EMBEDDINGS, (0, 0))[-1]
    shapes = _shapes(found, pieces, width)
    for name in sorted(shapes | found):
        _expect(found.get(name) == shapes.get(name), path, f"{name} of shape {found.get(name)}", str(shapes.get(name)))
    _expect(width % heads == 0, path, f"width {width}", f"a multiple of the {heads} heads")
    return tensors


def _shapes(found: dict[str, tuple[int, ...]], pieces: int, width: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a model with the layers and the inner width that were found."""
    layers = len({name.split(".")[2] for name in found if name.startswith("encoder.layer.")})
    inner = found.get("encoder.layer.0.intermediate.dense.bias", (0,))[0]
    linear = {"pooler.dense": (width, width), "classifier": (len(EMOTIONS), width)}
    norms = ["embeddings.LayerNorm"]
    for at in (f"encoder.layer.{layer}." for layer in range(layers)):
        linear |= {f"{at}attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        linear |= {f"{at}attention.output.dense": (width, width)}
        linear |= {f"{at}intermediate.dense": (inner, width), f"{at}output.dense": (width, inner)}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    embeddings = {"word": pieces, "position": WINDOW, "token_type": 1}
    return (
        {f"embeddings.{name}_embeddings.weight": (count, width) for name, count in embeddings.items()}
        | {f"{name}.weight": shape for name, shape in linear.items()}
        | {f"{name}.bias": shape[:1] for name, shape in linear.items()}
        | {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    )


def _expect(is_right: bool, path: Path, found: str, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"{path}: {found}; expected {expected}")
