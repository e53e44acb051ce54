"""Every option of transformers' trainer and of PEFT: it works in adapter training, or is refused with what to give instead."""

import dataclasses
import json
from enum import Enum

import pytest
import torch
import transformers
from alm_runs import flags, trained, weights
from safetensors.torch import load_file

from fas_alm import load_adapter
from fas_alm.training import adapter as run
from fas_alm.training import options
from fas_alm.training.arguments import TrainingArguments
from fas_alm.training.options import REFUSED, WORKS
from fas_core.errors import FASError

FIELDS = {field.name: field for field in dataclasses.fields(transformers.TrainingArguments)}


def another(value):
    """A value of the same type that is not the default."""
    value = value.value if isinstance(value, Enum) else value
    if value is None or isinstance(value, str):
        return "another"
    return not value if isinstance(value, bool) else ["another"] if isinstance(value, list) else value + 1


def test_each_argument_of_the_installed_transformers_is_in_one_of_the_lists():
    assert not WORKS & REFUSED.keys()
    assert FIELDS.keys() - WORKS - REFUSED.keys() == set()


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - WORKS))
def test_what_would_be_ignored_is_refused_by_name(name):
    default = options._default({field.name: field for field in dataclasses.fields(TrainingArguments)}[name])
    with pytest.raises(FASError) as refused:
        TrainingArguments(use_cpu=True, **{name: another(default)})
    assert str(refused.value).startswith(f"--{name} ") and REFUSED[name] in str(refused.value)


@pytest.mark.parametrize(
    "flag", [("--num_train_epochs", "3"), ("--label_smoothing_factor", "0"), ("--num_train_epochs", "0.5")]
)
def test_a_value_that_is_transformers_default_is_not_taken_for_silence(material, tmp_path, capsys, flag):
    assert run.main(flags(material, tmp_path, *flag)) == 2
    assert f"error: {flag[0]} " in capsys.readouterr().err


def test_an_argument_of_a_version_to_come_is_refused_too(monkeypatch):
    monkeypatch.setattr(options, "WORKS", WORKS - {"adam_epsilon"})
    TrainingArguments(use_cpu=True)
    with pytest.raises(FASError, match="--adam_epsilon 0.5: this training does not know it"):
        TrainingArguments(use_cpu=True, adam_epsilon=0.5)


@pytest.mark.parametrize(("more", "named"), [
    (("--lr_scheduler_type", "zigzag"), "zigzag"),
    (("--lr_scheduler_type", "warmup_stable_decay"), "--lr_scheduler_type"),  # lacks its own options
    (("--lr_scheduler_type", "greedy", "--eval_strategy", "no"), "--lr_scheduler_type greedy follows validation"),
    (("--lr_scheduler_kwargs", "{"), "--lr_scheduler_kwargs {: not JSON"),
    (("--optim", "galore_adamw", "--optim_args", "rank=2"), "--optim galore_adamw: every part has a learning rate"),
    (("--optim", "adamw_torch_4bit"), "--optim"),
    (("--optim_args", "nonsense"), "--optim"),
    (("--eval_strategy", "sometimes"), "sometimes"),
    (("--metric_for_best_model", "loss"), "--metric_for_best_model loss: expected one of accuracy"),
    (("--report_to", "comet_ml"), "comet"),
    (("--report_to", "nobody"), "nobody"),
    (("--gradient_checkpointing_kwargs", "{no"), "{no"),
    (("--dataloader_prefetch_factor", "2"), "prefetch"),
    (("--max_minutes", "-1"), "--max_minutes -1.0"),
    (("--lora_target_modules", "query"), "query"),
    (("--lora_target_modules", "q_proj", "v_prj"), "no layer v_prj; it has down_proj, gate_proj, k_proj"),
    (("--lora_target_modules", "embed_tokens"), "vocabulary"),
    (("--lora_target_modules", "lm_head"), "vocabulary"),
    (("--init_lora_weights", "pissa"), "--init_lora_weights pissa: expected one of true, gaussian, orthogonal"),
    (("--init_lora_weights", "orthogonal", "--lora_rank", "7"), "--lora_*"),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")  # fmt: skip
def test_what_other_libraries_cannot_take_is_one_line(material, tmp_path, capsys, more, named):
    base = ("--stage1_epochs", "0", "--stage2_epochs", "1")
    assert run.main(flags(material, tmp_path / "run", *base, *more)) == 2
    error = capsys.readouterr().err.split("error: ")[-1]
    assert named in error and "Traceback" not in error and error.count("\n") == 1


@pytest.mark.parametrize("more", [
    ("--lora_target_modules", "q_proj", "v_proj", "--use_rslora", "true"),
    ("--use_dora", "true", "--init_lora_weights", "gaussian"),
    ("--init_lora_weights", "orthogonal"),
], ids=" ".join)  # fmt: skip
def test_options_of_peft_reach_it_and_come_back_from_the_adapter(material, tmp_path, more):
    record = trained(material, tmp_path / "run", "--stage1_epochs", "0", "--stage2_epochs", "1", *more)
    saved = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert saved["use_dora"] == ("--use_dora" in more) and saved["use_rslora"] == ("--use_rslora" in more)
    names = {
        name.split(".lora_")[0].rsplit(".", 1)[-1]
        for name in load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    }
    assert (names == {"q_proj", "v_proj"}) == ("q_proj" in more)
    model, _ = load_adapter(tmp_path / "run" / "adapter", material / "llm")
    assert record["arguments"]["model"]["use_dora"] == saved["use_dora"]
    assert any("magnitude" in name for name, _ in model.language_model.named_parameters()) == saved["use_dora"]


def losses(record: dict) -> list[float]:
    return [row["loss"] for row in record["stages"]["stage2"]["history"] if "loss" in row]


def test_seeds_of_data_and_of_the_rest_are_two(material, tmp_path):
    """0 is a seed as any other."""
    common = ("--stage1_epochs", "0", "--stage2_epochs", "1", "--logging_steps", "1", "--lora_dropout", "0")
    told = {
        seeds: losses(
            trained(material, tmp_path / "".join(seeds), *common, "--seed", seeds[0], "--data_seed", seeds[1])
        )
        for seeds in (("1", "0"), ("1", "1"))
    }
    alone = losses(trained(material, tmp_path / "alone", *common, "--seed", "1"))
    assert told["1", "1"] == alone != told["1", "0"]


@pytest.mark.parametrize("more", [
    ("--max_steps", "2"),
    ("--lr_scheduler_type", "reduce_lr_on_plateau", "--lr_scheduler_kwargs", '{"patience": 0}'),
    ("--dataloader_num_workers", "1", "--dataloader_persistent_workers", "true", "--dataloader_prefetch_factor", "3"),
    ("--eval_strategy", "no", "--save_strategy", "no", "--optim", "adafactor"),
], ids=" ".join)  # fmt: skip
def test_options_that_work(material, tmp_path, more):
    record = trained(
        material, tmp_path / "run", "--stage1_epochs", "0", "--stage2_epochs", "3", "--logging_steps", "1", *more
    )
    stage = record["stages"]["stage2"]
    assert stage["steps"] == (2 if "--max_steps" in more else 9) == stage["planned_steps"]
    assert ("validation" in record) == ("no" not in more)
    assert all(torch.isfinite(values).all() for values in weights(tmp_path / "run").values())


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantised_llm_is_trained_and_nothing_else_is_quantised(material, tmp_path, monkeypatch, bits):
    pytest.importorskip("bitsandbytes")
    seen, original = set(), run.run_stage

    def run_stage(stage, model, *args):
        kinds = {type(module).__name__ for module in model.language_model.modules()}
        others = [model.fas, model.multi_modal_projector, model.audio_tower]
        assert {p.dtype for part in others for p in part.parameters()} == {torch.float32}
        assert not any(getattr(m, "support_avx512bf16_for_cpu", False) for m in model.language_model.modules())
        seen.update(kinds)
        return original(stage, model, *args)

    monkeypatch.setattr(run, "run_stage", run_stage)
    record = trained(material, tmp_path / "run", "--quantization", bits, "--stage2_epochs", "1")
    assert ("Linear4bit" if bits == "4bit" else "Linear8bitLt") in seen
    assert record["arguments"]["model"]["quantization"] == bits
    assert {values.dtype for values in weights(tmp_path / "run").values()} == {torch.float32}
    load_adapter(tmp_path / "run" / "adapter", material / "llm")


def test_quantisation_without_its_package_says_what_to_install(material, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    assert run.main(flags(material, tmp_path / "run", "--quantization", "4bit")) == 2
    assert "error: --quantization 4bit needs a package: pip install bitsandbytes" in capsys.readouterr().err
    assert run.main(flags(material, tmp_path / "run", "--quantization", "2bit")) == 2
    assert "--quantization: 2bit; expected some of none, 4bit, 8bit" in capsys.readouterr().err
