"""MingTok-Audio's acoustic encoder: a VAE of a causal transformer over patches of the waveform, 50 frames a second.

Source: "Ming-UniAudio" (arXiv 2511.05516), and the publishers' code, inclusionAI/Ming-UniAudio, `audio_tokenizer/`:
`modeling_audio_vae.py`, `oobleck_distribution.py`, and `vae_modules.py` as the fork ishine/Ming-UniAudio keeps it. The
facts taken from there:

- a frame is `input_dim` samples (320), every `hop_size` samples; zeros fill the last one;
- two linear layers without an activation between them (`fc1`, without bias, and `fc2`), a Qwen2 decoder with its
  final norm, a linear layer (`fc3`) to 2 x `latent_dim` values: the mean of a Gaussian, then its scale;
- config.json: `sample_rate`, `enc_kwargs` {"backbone" (a Qwen2 configuration), "input_dim", "hop_size", "latent_dim"};
- names of weights begin with "encoder."; `encoder.norm` is there and never used, as is Qwen2's embedding of words.

The publishers draw a sample and compute in bfloat16; here it is the mean, in float32. The published weight file could
not be read when this was written: its names are those that the published classes give.
"""

from __future__ import annotations

from types import SimpleNamespace

from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedConfig, Qwen2Config, Qwen2Model
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import get_checkpoint_shard_files

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.codec import CONTINUOUS, CodecEncoder
from fas_core.encoders.weights import LOADING_ERRORS, cannot_load

WHAT = "MingTok-Audio (an AudioVAE)"
PREFIX = "encoder."  # the rest of a checkpoint is the decoder and its semantic module
UNUSED = ("norm.weight", "norm.bias", "encoder.embed_tokens.weight")


class MingTokNetwork(nn.Module):
    """Waveforms to posteriors. Names of weights are the published ones without "encoder.".

    Args:
        backbone: a Qwen2 configuration.
        input_dim: samples in a frame.
        hop_size: samples from one frame to the next.
        latent_dim: D.
    """

    def __init__(self, backbone: dict, input_dim: int, latent_dim: int, hop_size: int = 320):
        super().__init__()
        self.input_dim, self.hop_size, self.latent_dim = input_dim, hop_size, latent_dim
        # the publishers' attention may be one that is not installed; words are never embedded
        known = {key: value for key, value in backbone.items() if not key.lstrip("_").startswith("attn_")}
        config = Qwen2Config.from_dict({**known, "vocab_size": 1, "pad_token_id": None, "attn_implementation": "sdpa"})
        self.encoder = Qwen2Model(config)
        self.encoder.embed_tokens = None
        self.fc1 = nn.Linear(input_dim, config.hidden_size, bias=False)
        self.fc2 = nn.Linear(config.hidden_size, config.hidden_size)
        self.fc3 = nn.Linear(config.hidden_size, 2 * latent_dim)

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n) -> mean and standard deviation of the posterior, (B, ceil(n / hop_size), D) each."""
        frames = -(-waveforms.shape[-1] // self.hop_size)
        covered = (frames - 1) * self.hop_size + self.input_dim
        padded = nn.functional.pad(waveforms, (0, covered - waveforms.shape[-1]))
        hidden = self.fc2(self.fc1(padded.unfold(-1, self.input_dim, self.hop_size)))
        hidden = self.encoder(inputs_embeds=hidden, use_cache=False).last_hidden_state
        mean, scale = self.fc3(hidden).chunk(2, dim=-1)
        return mean, nn.functional.softplus(scale) + 1e-4


class MingTokEncoder(CodecEncoder):
    """The mean of MingTok-Audio's posterior, 64 values a frame; no quantiser. See `CodecEncoder` for arguments.

    Raises:
        CheckpointError: no such model, no safetensors, names or shapes of weights that are not as its configuration
            says, or the tokenizer of Ming-omni-tts, which merges frames (`patch_size`).
    """

    kind = "mingtok"
    latents = (CONTINUOUS,)

    def _load(self, model: str, revision: str | None) -> nn.Module:
        try:
            config = PreTrainedConfig.get_config_dict(model, revision=revision)[0]
            network = _network(config)
            network.load_state_dict(_check(_read_weights(model, revision), network))
        except LOADING_ERRORS as error:
            raise cannot_load(model, error, WHAT) from error
        rate, random = config.get("sample_rate", SAMPLE_RATE), config.get("random_weights", False)
        network.config = SimpleNamespace(sampling_rate=rate, random_weights=random)
        return network.float().eval().requires_grad_(False)

    @property
    def hop(self) -> int:
        return self.model.hop_size

    @property
    def dimension(self) -> int:
        return self.model.latent_dim

    def _continuous(self, samples: Tensor) -> Tensor:
        mean, _ = self.model(samples[:, 0])
        return mean.transpose(1, 2)


def _network(config: dict) -> MingTokNetwork:
    if not isinstance(config.get("enc_kwargs"), dict):
        raise OSError(f"config.json has no 'enc_kwargs' (model_type {config.get('model_type')!r})")
    if config.get("patch_size", -1) != -1:
        raise OSError(f"config.json: 'patch_size' is {config['patch_size']}, expected -1")
    options = config["enc_kwargs"]
    sizes = options["input_dim"], options["latent_dim"], options.get("hop_size", 320)
    return MingTokNetwork(options["backbone"], *sizes)


def _read_weights(model: str, revision: str | None) -> dict[str, Tensor]:
    """The encoder's weights by name without the prefix, of one safetensors file or of several with an index."""
    path = cached_file(model, SAFE_WEIGHTS_NAME, revision=revision, _raise_exceptions_for_missing_entries=False)
    files = [path]
    if path is None:
        index = cached_file(model, SAFE_WEIGHTS_INDEX_NAME, revision=revision)
        files, _ = get_checkpoint_shard_files(model, index, revision=revision)
    tensors = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            names = [name for name in weights.keys() if name.startswith(PREFIX)]
            tensors |= {name.removeprefix(PREFIX): weights.get_tensor(name) for name in names}
    return tensors


def _check(found: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights that the network takes; OSError where they are not as it expects them."""
    expected = network.state_dict()
    found = {name: tensor for name, tensor in found.items() if name not in UNUSED}
    missing, unexpected = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    shapes = [name for name in expected.keys() & found.keys() if expected[name].shape != found[name].shape]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": sorted(shapes)}
    texts = [
        f"{len(names)} {problem} ({', '.join(PREFIX + name for name in names[:3])}{', ...' if names[3:] else ''})"
        for problem, names in problems.items()
        if names
    ]
    if texts:
        raise OSError(f"encoder weights: {'; '.join(texts)}")
    return found


def build(config: dict, device=None) -> MingTokEncoder:
    """For the registry."""
    return MingTokEncoder(config["model"], revision=config.get("revision"), device=device)
