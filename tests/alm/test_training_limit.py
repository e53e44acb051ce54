"""Adapter training within a limit of time: it ends early, properly, and says so. The clock is one that steps move."""

import json

import pytest
from alm_runs import Interrupted, flags, interrupt_at, trained, weights

from fas_alm.training import adapter as run
from fas_alm.training import limit
from fas_alm.training.limit import TimeLimit
from fas_alm.training.trainer import AdapterTrainer

STEP, VALIDATION = 10.0, 15.0  # seconds


@pytest.fixture
def clock(monkeypatch):
    """A clock that a training step and a validation move by so many seconds, and nothing else does."""
    time = [1000.0]
    step, evaluation = AdapterTrainer.training_step, AdapterTrainer.evaluation_loop

    def training_step(self, *args, **kwargs):
        time[0] += STEP
        return step(self, *args, **kwargs)

    def evaluation_loop(self, *args, **kwargs):
        time[0] += VALIDATION
        return evaluation(self, *args, **kwargs)

    monkeypatch.setattr(limit, "now", lambda: time[0])
    monkeypatch.setattr(AdapterTrainer, "training_step", training_step)
    monkeypatch.setattr(AdapterTrainer, "evaluation_loop", evaluation_loop)
    return time


EPOCHS = ("--stage1_epochs", "4", "--stage2_epochs", "8", "--logging_steps", "1", "--lr_scheduler_type", "linear")
STEPS = 12, 24  # three an epoch


@pytest.mark.parametrize(
    ("minutes", "strategy"), [(3, ()), (5, ()), (5, ("--eval_strategy", "steps", "--eval_steps", "50"))], ids=str
)
def test_a_training_ends_within_its_limit_validated_and_with_its_schedule_run_through(
    material, tmp_path, clock, capsys, minutes, strategy
):  # fmt: skip
    start = clock[0]
    record = trained(material, tmp_path / "run", *EPOCHS, *strategy, "--max_minutes", str(minutes))
    taken = clock[0] - start
    assert 60 * minutes * 0.98 - 4 * STEP - VALIDATION <= taken <= 60 * minutes  # it is kept, and it is used
    assert "fit into --max_minutes" in (told := capsys.readouterr().out) and "--max_minutes ends it after" in told
    assert record["max_minutes"] == minutes
    for stage, planned in zip(("stage1", "stage2"), STEPS, strict=True):
        done = record["stages"][stage]
        assert 0 < done["steps"] < done["planned_steps"] == planned and done["ended_by"] == "max_minutes"
        rates = [row["learning_rate"] for row in done["history"] if "learning_rate" in row]
        assert len(rates) == done["steps"] and rates[-1] < max(rates) and rates[-1] <= 3e-2 / done["steps"]
        assert [row for row in done["history"] if "eval_accuracy" in row][-1]["step"] == done["steps"]


def test_a_limit_that_is_enough_changes_nothing(material, tmp_path, clock):
    needed = (STEP * 9 + VALIDATION * 3) / 0.97
    plain = trained(material, tmp_path / "plain")
    limited = trained(material, tmp_path / "limited", "--max_minutes", str(needed / 60))
    assert [s["ended_by"] for s in limited["stages"].values()] == ["epochs", "epochs"]
    assert [s["steps"] for s in limited["stages"].values()] == [3, 6]
    ours, theirs = weights(tmp_path / "limited"), weights(tmp_path / "plain")
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert plain["validation"] == limited["validation"]


def test_a_resumed_run_counts_what_it_had_spent(material, tmp_path, clock, monkeypatch):
    """All but what was lost with the power counts: one limit for both attempts together."""
    more = (*EPOCHS, "--max_minutes", "6")
    start = clock[0]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)
        with pytest.raises(Interrupted):
            run.main(flags(material, tmp_path / "run", *more))
    lost = clock[0] - start - json.loads((tmp_path / "run" / "spent.json").read_text())["seconds"]
    assert 0 <= lost <= 2 * STEP
    clock[0] += 10_000  # the night
    morning = clock[0]
    record = trained(material, tmp_path / "run", *more, "--resume", "true")
    assert clock[0] - morning <= 360 - (start + 7 * STEP - lost - start)
    assert record["stages"]["stage2"]["ended_by"] == "max_minutes"
    assert not (tmp_path / "run" / "spent.json").exists()


def test_no_time_left_is_an_error_before_training_and_leaves_out_the_second_stage_after_it(
    material, tmp_path, clock, monkeypatch, capsys
):  # fmt: skip
    original = run.load_material

    def slow(*args, **kwargs):
        clock[0] += 100
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(run, "load_material", slow)
        assert run.main(flags(material, tmp_path / "none", "--max_minutes", "1")) == 2
    assert "--max_minutes 1: reading and features took all of it" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(TimeLimit, "deadline", lambda self, *epochs: limit.now() + self.left() + STEP)
        record = trained(material, tmp_path / "one", *EPOCHS, "--max_minutes", "1.5")
    assert set(record["stages"]) == {"stage1"} and record["validation"]["clips"] == 12
    assert "stage2: left out" in capsys.readouterr().out
    assert (tmp_path / "one" / "adapter" / "training.json").exists()
