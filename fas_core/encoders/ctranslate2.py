"""Whisper weights of the CTranslate2 binary format, as tensors named the way `transformers` names them.

`model.bin` is a plain list of named arrays (CTranslate2, `python/ctranslate2/specs/model_spec.py`): version,
name and revision of the specification, the variables (name, rank, dimensions, data type, bytes), aliases.
Integers are little-endian; a string is a uint16 length and its bytes, the last of them NUL. Reading executes
nothing, and every read is checked against the end of the file: damage gives a `CheckpointError`.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from fas_core.errors import CheckpointError

BINARY_VERSION = 6
# int8 carries flags and quantised weights; bfloat16 (5) has no NumPy type and is refused.
_DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_MAX_RANK = 8


@dataclass(frozen=True)
class CTranslate2Model:
    """A decoded `model.bin`.

    Attributes:
        spec: name of the specification, "WhisperSpec" for Whisper.
        revision: its revision.
        variables: name to array; the arrays are read-only views of the file's bytes. Aliases are resolved.
    """

    spec: str
    revision: int
    variables: dict[str, np.ndarray]


class _Cursor:
    """A position in a buffer that never reads beyond its end."""

    def __init__(self, data: bytes, source: str):
        self.data, self.source, self.position = data, source, 0

    def fail(self, problem: str) -> CheckpointError:
        return CheckpointError(
            f"{self.source}: {problem} at byte {self.position}; expected an undamaged CTranslate2 model.bin "
            f"(binary version {BINARY_VERSION}); reinstall or download it again"
        )

    def take(self, size: int) -> int:
        """Start of the next `size` bytes."""
        start = self.position
        if size > len(self.data) - start:
            raise self.fail(f"the file ends early: {size} bytes wanted, {len(self.data) - start} left")
        self.position += size
        return start

    def integers(self, code: str, count: int = 1) -> tuple[int, ...]:
        layout = f"<{count}{code}"
        return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout)))

    def string(self) -> str:
        (size,) = self.integers("H")
        start = self.take(size)
        raw = bytes(self.data[start : start + size])
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("a name is not UTF-8") from None
        if not text.endswith("\0"):
            raise self.fail("a name has no terminating NUL")
        return text[:-1]

    def array(self) -> np.ndarray:
        (rank,) = self.integers("B")
        if rank > _MAX_RANK:
            raise self.fail(f"an array of rank {rank}, at most {_MAX_RANK} is possible")
        shape = self.integers("I", rank)
        (kind,) = self.integers("B")
        if kind not in _DTYPES:
            raise self.fail(f"data type {kind} (known: {sorted(_DTYPES)})")
        dtype, (size,) = np.dtype(_DTYPES[kind]), self.integers("I")
        if size != math.prod(shape) * dtype.itemsize:
            raise self.fail(f"{size} bytes for an array of shape {shape} and type {dtype}")
        start = self.take(size)
        return np.ndarray(shape, dtype, self.data, start)


def read_ctranslate2(data: bytes, source: str = "model.bin") -> CTranslate2Model:
    """Decode the bytes of a CTranslate2 `model.bin`.

    Args:
        data: the whole file.
        source: how errors call it.

    Raises:
        CheckpointError: another binary version, a truncated or damaged file, or bytes after its end.
    """
    cursor = _Cursor(data, source)
    (version,) = cursor.integers("I")
    if version != BINARY_VERSION:
        raise cursor.fail(f"binary version {version}")
    spec, (revision,) = cursor.string(), cursor.integers("I")
    variables: dict[str, np.ndarray] = {}
    for _ in range(*cursor.integers("I")):
        name = cursor.string()
        if name in variables:
            raise cursor.fail(f"the variable {name!r} appears twice")
        variables[name] = cursor.array()
    for _ in range(*cursor.integers("I")):
        alias, name = cursor.string(), cursor.string()
        if name not in variables:
            raise cursor.fail(f"the alias {alias!r} names {name!r}, which is not there")
        variables[alias] = variables[name]
    if cursor.position != len(data):
        raise cursor.fail(f"{len(data) - cursor.position} bytes too many")
    return CTranslate2Model(spec, revision, variables)


class _Weights:
    """Variables of a Whisper, fetched with the shape that they must have."""

    def __init__(self, model: CTranslate2Model, source: str):
        if model.spec != "WhisperSpec":
            raise CheckpointError(f"{source}: specification {model.spec!r}; expected 'WhisperSpec'")
        self.variables, self.source = model.variables, source

    def get(self, name: str, *shape: int | None) -> np.ndarray:
        """The float variable `name` of this shape (None: any size)."""
        value = self.variables.get(name)
        if value is None:
            raise CheckpointError(f"{self.source}: no variable {name!r}; expected every weight of a Whisper")
        if value.dtype.kind != "f":
            raise CheckpointError(
                f"{self.source}: {name!r} is {value.dtype}; expected float16 or float32 "
                "(convert with --quantization float16)"
            )
        if value.ndim != len(shape) or any(w not in (None, g) for w, g in zip(shape, value.shape, strict=True)):
            raise CheckpointError(f"{self.source}: {name!r} has shape {value.shape}; expected {shape}")
        return value

    def scalar(self, name: str) -> int:
        value = self.variables.get(name)
        if value is None or value.shape != () or value.dtype.kind != "i" or value < 1:
            raise CheckpointError(f"{self.source}: {name!r} is missing or not a positive integer")
        return int(value)

    def layers(self, side: str) -> int:
        count = 0
        while f"{side}/layer_{count}/ffn/linear_0/weight" in self.variables:
            count += 1
        if count == 0:
            raise CheckpointError(f"{self.source}: no layer in {side!r}; expected at least one")
        return count

    def linear(self, name: str, rows: int, columns: int, *parts: str) -> dict[str, np.ndarray]:
        """Weight and bias of the linear maps `parts`, which the file keeps stacked in one matrix."""
        weight = np.split(self.get(f"{name}/weight", len(parts) * rows, columns), len(parts))
        bias = np.split(self.get(f"{name}/bias", len(parts) * rows), len(parts))
        return {f"{p}.weight": w for p, w in zip(parts, weight, strict=True)} | {
            f"{p}.bias": b for p, b in zip(parts, bias, strict=True)
        }

    def norm(self, name: str, size: int, part: str) -> dict[str, np.ndarray]:
        return {
            f"{part}.weight": self.get(f"{name}/gamma", size),
            f"{part}.bias": self.get(f"{name}/beta", size),
        }

    def attention(self, name: str, d: int, part: str, *fused: tuple[str, ...]) -> dict[str, np.ndarray]:
        """One attention and the norm before it; `fused` says which projections share a matrix."""
        tensors = self.norm(f"{name}/layer_norm", d, f"{part}_layer_norm")
        for i, projections in enumerate(fused):
            tensors |= self.linear(f"{name}/linear_{i}", d, d, *(f"{part}.{p}_proj" for p in projections))
        if np.any(tensors.pop(f"{part}.k_proj.bias")):  # dropping another model's would change its output
            raise CheckpointError(f"{self.source}: {name!r} has a key bias; expected a Whisper, whose keys have none")
        return tensors

    def layer(self, name: str, d: int, d_ffn: int, *, decoder: bool) -> dict[str, np.ndarray]:
        tensors = self.attention(f"{name}/self_attention", d, "self_attn", ("q", "k", "v"), ("out",))
        if decoder:
            tensors |= self.attention(f"{name}/attention", d, "encoder_attn", ("q",), ("k", "v"), ("out",))
        tensors |= self.norm(f"{name}/ffn/layer_norm", d, "final_layer_norm")
        tensors |= self.linear(f"{name}/ffn/linear_0", d_ffn, d, "fc1")
        return tensors | self.linear(f"{name}/ffn/linear_1", d, d_ffn, "fc2")

    def stack(self, side: str, d: int) -> tuple[dict[str, int], dict[str, np.ndarray]]:
        """Sizes and weights of what the encoder and the decoder have in common."""
        positions = self.get(f"{side}/position_encodings/encodings", None, d)
        d_ffn = self.get(f"{side}/layer_0/ffn/linear_0/weight", None, d).shape[0]
        heads, count = self.scalar(f"{side}/num_heads"), self.layers(side)
        if d % heads:
            raise CheckpointError(f"{self.source}: {side!r} has {heads} heads; expected a divisor of the width {d}")
        tensors = {"embed_positions.weight": positions} | self.norm(f"{side}/layer_norm", d, "layer_norm")
        for i in range(count):
            layer = self.layer(f"{side}/layer_{i}", d, d_ffn, decoder=side == "decoder")
            tensors |= {f"layers.{i}.{name}": value for name, value in layer.items()}
        sizes = {f"{side}_layers": count, f"{side}_attention_heads": heads, f"{side}_ffn_dim": d_ffn}
        sizes["max_source_positions" if side == "encoder" else "max_target_positions"] = positions.shape[0]
        return sizes, {f"model.{side}.{name}": value for name, value in tensors.items()}


def whisper_from_ctranslate2(
    model: CTranslate2Model, source: str = "model.bin"
) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Sizes and weights of a Whisper.

    Returns:
        Arguments of `transformers.WhisperConfig`, and the state of a `WhisperForConditionalGeneration` in the
        data type of the file (the output projection is tied to the token embeddings and left out).

    Raises:
        CheckpointError: another kind of model, quantised weights, a weight missing or of another shape.
    """
    weights = _Weights(model, source)
    conv1 = weights.get("encoder/conv1/weight", None, None, 3)
    d, bins, _ = conv1.shape
    embeddings = weights.get("decoder/embeddings/weight", None, d)
    config = {"vocab_size": embeddings.shape[0], "d_model": d, "num_mel_bins": bins}
    tensors = {"model.decoder.embed_tokens.weight": embeddings}
    for name, inputs in (("conv1", bins), ("conv2", d)):
        tensors[f"model.encoder.{name}.weight"] = weights.get(f"encoder/{name}/weight", d, inputs, 3)
        tensors[f"model.encoder.{name}.bias"] = weights.get(f"encoder/{name}/bias", d)
    for side in ("encoder", "decoder"):
        sizes, state = weights.stack(side, d)
        config |= sizes
        tensors |= state
    return config, tensors
