"""The vLLM plugin: makes `FASAudioForConditionalGeneration` a model that vLLM serves.

Installed with the package, found through the entry point group `vllm.general_plugins`; nothing has to be configured,
and `--trust-remote-code` is neither needed nor wanted.

Only this file is imported where the plugin is registered; the model's code is loaded by the process that runs it.
"""

ARCHITECTURE = "FASAudioForConditionalGeneration"
MODEL_CLASS = f"fas_alm.vllm.model:{ARCHITECTURE}"


def register() -> None:
    """Tell transformers and vLLM about the model.

    vLLM calls this in each of its processes, in some of them more than once; a repeated call changes nothing.
    Warns when the version of vLLM is not one that the plugin was tested with (`fas_alm.vllm.versions`).
    """
    import vllm
    from vllm import ModelRegistry

    import fas_alm  # noqa: F401  registers configuration, processor and model with transformers' Auto classes
    from fas_alm.vllm.versions import warn_if_untested

    warn_if_untested(vllm.__version__)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL_CLASS)
