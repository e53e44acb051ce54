"""bfloat16 is chosen by the processor, by one function, everywhere; and an option wins."""

import json

import pytest
import torch

from fas_core import precision
from fas_core.errors import FASError
from fas_core.precision import describe, has_bf16, loading_dtype


@pytest.fixture(params=["avx512_bf16", "amx_bf16", "bf16", None])
def processor(request, monkeypatch):
    """A CPU with one of the products, or none; gives whether it has."""
    monkeypatch.delenv(precision.VARIABLE)
    found = {"avx2": True, "avx512_bf16": False} | ({request.param: True} if request.param else {})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    return request.param is not None


def test_the_processor_decides(processor):
    assert has_bf16("cpu") == processor
    assert loading_dtype("auto", "cpu") == ("auto" if processor else torch.float32)
    assert loading_dtype("bfloat16", "cpu") == "bfloat16" and loading_dtype(torch.float16, "cpu") == torch.float16
    assert ("no bfloat16" in describe(False, "cpu")) != processor
    assert ("slow" in describe(True, "cpu")) != processor


@pytest.mark.parametrize("told", ["0", "1"])
def test_the_environment_hides_or_claims_products(processor, told, monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, told)
    assert has_bf16("cpu") == (told == "1") and f"FAS_BF16={told}" in describe(True, "cpu")


def test_another_value_of_the_variable_is_an_error(monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, "no")
    with pytest.raises(FASError, match="FAS_BF16 is 'no': expected 0, 1"):
        has_bf16("cpu")


@pytest.mark.parametrize(("flags", "expected"), [((), None), (("--bf16", "true"), True), (("--bf16", "false"), False)])
def test_adapter_training_asks_and_its_flag_wins(processor, flags, expected):
    from fas_alm.training.adapter import parse

    *_, training = parse(["--corpora", "ravdess=x", "--use_cpu", "true", *flags])
    assert training.bf16 == (processor if expected is None else expected)
    assert training.mixed_precision == ("bf16" if training.bf16 else "no")


@pytest.mark.parametrize("stored", ["float32", "bfloat16", None])
def test_vllm_on_a_cpu_takes_the_checkpoints_type_where_it_is_fast(processor, stored, tmp_path):
    pytest.importorskip("fastapi")
    from fas_serve.settings import Settings
    from fas_serve.vllm_process import vllm_arguments

    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"dtype": stored} if stored else {}}))
    arguments = vllm_arguments(tmp_path, Settings(), tmp_path / "socket", eager=True)
    chosen = "bfloat16" if stored == "bfloat16" and processor else "float32"
    if not torch.cuda.is_available():
        assert arguments[arguments.index("--dtype") + 1] == chosen


def test_the_transformers_backend_asks(monkeypatch, tmp_path):
    pytest.importorskip("fastapi")
    from fas_serve import transformers_backend

    asked = []

    def loaded(directory, dtype=None, **options):
        asked.append(dtype)
        raise OSError("nothing there")

    monkeypatch.setattr(transformers_backend.FASAudioForConditionalGeneration, "from_pretrained", loaded)
    with pytest.raises(FASError):
        transformers_backend.TransformersBackend.load(tmp_path, "cpu")
    assert asked == [torch.float32]
