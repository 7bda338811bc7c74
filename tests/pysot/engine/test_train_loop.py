import json
import logging
import math

import pytest
import torch

from pysot.core import RunFailed
from pysot.datasets.dataset import TrainingDataError
from pysot.engine import monitor
from pysot.engine.distributed import ProcessGroup
from pysot.engine.loggers import Logger, Loggers, Run, open_loggers
from pysot.engine.monitor import Monitor, as_numbers, log_to
from pysot.engine.optim import OptimizerPlan, Schedule
from pysot.engine.trainer import ErrorBudget, Progress, Trainer, sync_batches


class Line(torch.nn.Module):
    """Loss = weight * x: the gradient is x itself."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Module()
        self.rpn_head = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.rpn_head.weight)

    def forward(self, batch):
        loss = self.rpn_head(batch["x"]).mean()
        return {"total_loss": loss, "cls_loss": loss * 0.5}


class Tape(Logger):
    """A logger that remembers."""

    detailed = True

    def __init__(self):
        self.written = []

    def scalars(self, values, step):
        self.written += [(tag, value, step) for tag, value in values.items()]


def start(grad_clip=1e9, grad_reduce="sum", precision="fp32", ema_decay=0.0):
    trainer = Trainer(
        Line(),
        OptimizerPlan(Schedule((0.1,), 0.1), 0.1, 1.0, 0.0, 0.0, (), 0),
        ProcessGroup(),
        torch.device("cpu"),
        seed=0,
        grad_clip=grad_clip,
        grad_reduce=grad_reduce,
        precision=precision,
        ema_decay=ema_decay,
        max_bad_images=0,
    )
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    return trainer


def run(values, tape=None, log_grads=False, **settings):
    """Take a step per value; the second value of a pair is a second micro-batch of the step."""
    trainer = start(**settings)
    loggers = Loggers({"tape": tape} if tape else {})
    monitor = Monitor(
        trainer.progress, 1, len(values), 2, 2, loggers=loggers, log_grads=log_grads, show=False
    )
    monitor.begin_epoch(trainer.optimizer)
    steps = [v if isinstance(v, tuple) else (v,) for v in values]
    for step in monitor.watch(steps):
        micro_batches = [{"x": torch.full((2, 1), value)} for value in step]
        numbers = trainer.step(micro_batches, monitor.record_gradients)
        trainer.progress.pairs += 2
        trainer.progress.step += 1
        monitor.record(numbers)
    return trainer, monitor


def weight_after(values, **settings):
    return run(values, **settings)[0].model.rpn_head.weight.item()


def test_steps_follow_the_gradient():
    assert weight_after([0.25, 0.5]) == pytest.approx(1 - 0.25 - 0.5)


def test_gradients_are_clipped():
    assert weight_after([8.0], grad_clip=0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2e4])
def test_unusable_losses_skip_the_step(value):
    trainer, _ = run([value, 0.25])
    assert trainer.model.rpn_head.weight.item() == pytest.approx(0.75)
    assert trainer.error_budget.skipped_steps == 1


def test_many_unusable_losses_in_a_row_end_the_run():
    with pytest.raises(RunFailed, match=r"loss of 30 steps in a row.*BASE_LR"):
        run([math.nan] * 40)


def test_skips_that_are_not_in_a_row_do_not():
    trainer, _ = run([math.nan, 0.0] * 20)
    assert trainer.error_budget.skipped_steps == 20


def test_bad_images_are_counted_once_and_limited(caplog):
    budget = ErrorBudget(max_bad_images=2)
    budget.load_state_dict({"bad_images": ["a.jpg: gone"], "skipped_steps": 1})
    budget.check_images(["b.jpg: cut", "a.jpg: gone", "b.jpg: cut"])
    assert list(budget.bad_images) == ["a.jpg: gone", "b.jpg: cut"]
    assert "b.jpg: cut" in caplog.text
    with pytest.raises(TrainingDataError, match=r"3 .*2 are allowed \(TRAIN.MAX_BAD_IMAGES\).*c"):
        budget.check_images(["c.jpg: gone"])


def test_a_batch_without_samples_ends_the_run():
    with pytest.raises(TrainingDataError, match=r"a\.jpg"):
        sync_batches([{"bad_images": ["a.jpg"]}], ProcessGroup(), ErrorBudget(5))


def test_a_gradient_that_is_not_finite_skips_the_step():
    trainer = start()
    trainer.model.rpn_head.weight.register_hook(lambda grad: grad * math.inf)
    numbers = trainer.step([{"x": torch.full((2, 1), 0.25)}])
    assert (numbers["total_loss"], numbers["grad_norm"]) == (0.25, math.inf)
    assert trainer.model.rpn_head.weight.item() == 1
    assert trainer.error_budget.skipped_steps == 1


def test_micro_batches_add_up_or_are_averaged():
    assert weight_after([(0.25, 0.5)]) == pytest.approx(1 - 0.25 - 0.5)
    trainer, monitor = run([(0.25, 0.5)], grad_reduce="mean")
    assert trainer.model.rpn_head.weight.item() == pytest.approx(1 - 0.375)
    assert monitor.end_epoch().startswith("epoch 1/1: cls 0.188, total 0.375, ")  # means
    trainer, _ = run([(math.nan, 0.5), (0.5, math.nan), 0.25])
    assert trainer.model.rpn_head.weight.item() == pytest.approx(0.75)
    assert trainer.error_budget.skipped_steps == 2


def test_an_average_of_the_weights_follows_them():
    trainer = start(ema_decay=0.9)
    for value in (0.25, 0.5):
        trainer.step([{"x": torch.full((2, 1), value)}])
    average = trainer.average.module.rpn_head.weight.item()
    assert average == pytest.approx((2 * 0.75 + 9 * 0.25) / 11)  # begins with the first step's
    assert trainer.model.rpn_head.weight.item() == pytest.approx(0.25)


def test_an_average_forgets_the_first_steps():
    trainer = start(ema_decay=0.999)
    trainer.step([{"x": torch.full((2, 1), 100.0)}])
    for _ in range(60):
        trainer.model.rpn_head.weight.data.fill_(0.5)
        trainer.average.update_parameters(trainer.model)
    assert trainer.average.module.rpn_head.weight.item() == pytest.approx(0.5, abs=1e-3)


def test_lower_precision_holds_for_the_forward_pass():
    seen = []
    trainer = start(precision="bf16")
    trainer.model.rpn_head.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    trainer.step([{"x": torch.full((2, 1), 0.25)}])
    assert seen == [torch.bfloat16]
    assert trainer.model.rpn_head.weight.dtype == torch.float32
    assert trainer.model.rpn_head.weight.item() == pytest.approx(0.75)


def test_half_precision_of_a_cpu_is_refused():
    with pytest.raises(ValueError, match="fp16 trains on CUDA devices alone, not on cpu; use bf16"):
        start(precision="fp16")


def test_tensorboard_has_the_tags_of_pysot():
    tape = Tape()
    run([0.25, 0.5, 1.0], tape, log_grads=True)
    tags = {tag for tag, _, _ in tape.written}
    assert tags >= {"lr/group1", "time/data", "batch_time", "data_time", "cls_loss", "total_loss"}
    assert tags >= {"grad_all/rpn_head/weight", "weight_all/rpn_head/weight", "w-g/rpn_head/weight"}
    totals = [(value, step) for tag, value, step in tape.written if tag == "total_loss"]
    assert totals == [(0.25, 0), (0.375, 1), (0.25, 2)]
    gradients = [value for tag, value, _ in tape.written if tag == "grad/rpn"]
    assert gradients == pytest.approx([0.25, 0.5, 1.0])


def test_log_lines_have_the_form_of_pysot(caplog):
    caplog.set_level(logging.INFO)
    _, monitor = run([0.25, 0.5])
    lines = [record.getMessage() for record in caplog.records]
    block = next(line for line in lines if line.startswith("Epoch: [1][2/2] lr: 1.000000\n"))
    assert "\tcls_loss: 0.187500 (0.156250)\ttotal_loss: 0.375000 (0.312500)\n" in block
    assert any(line.startswith("Progress: 2 / 2 [100%], Speed: ") for line in lines)
    assert any(line.endswith("ETA 0:00:00 (D:H:M)\n") for line in lines)
    assert monitor.end_epoch().startswith("epoch 1/1: cls 0.156, total 0.312, data wait ")


def test_losses_are_fetched_with_the_total_last():
    losses = {"total_loss": torch.tensor(3.0), "a": torch.tensor(1.0), "z": torch.tensor(2.0)}
    assert list(as_numbers(losses).items()) == [("a", 1.0), ("z", 2.0), ("total_loss", 3.0)]


def test_log_file_and_warnings(tmp_path, capsys):
    with log_to(str(tmp_path / "logs")):
        logging.getLogger("pysot.engine.trainer").info("quiet")
        logging.getLogger("pysot.engine.trainer").warning("loud")
    logging.getLogger("pysot.engine.trainer").warning("after")
    text = (tmp_path / "logs" / "logs.txt").read_text()
    assert "-rk0-test_train_loop.py#" in text
    assert "quiet" in text and "loud" in text and "after" not in text
    assert "WARNING: loud" in capsys.readouterr().err


def test_a_full_disk_ends_the_log_with_a_line(capfd):
    log = monitor._LogFile("/dev/full")
    for _ in range(3):
        log.emit(logging.makeLogRecord({"msg": "text"}))
    log.close()
    assert capfd.readouterr().err.splitlines() == ["WARNING: /dev/full: No space left on device"]


def test_json_lines_hold_the_means_since_the_line_before(tmp_path):
    progress, loggers = Progress(0), open_loggers(["jsonl"], Run(str(tmp_path)))
    monitor = Monitor(progress, 2, 4, 8, 2, loggers=loggers, show=False)
    monitor.begin_epoch(torch.optim.SGD([torch.zeros(1)], lr=0.5))
    losses = iter([1.0, 2.0, math.nan, 4.0])
    for _ in monitor.watch(range(4)):
        loss = next(losses)
        progress.step += 1
        monitor.record({"grad_norm": loss, "cls_loss": loss, "total_loss": 2 * loss})
    monitor.end_epoch()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["train", "train", "epoch"]
    assert [line["step"] for line in lines] == [2, 4, 4]
    assert [line["total_loss"] for line in lines] == [3.0, None, None]
    assert {"time", "epoch", "lr", "grad_norm", "data_share", "pairs_per_second"} <= set(lines[0])
    assert (lines[0]["epoch"], lines[0]["lr"], lines[0]["grad_norm"]) == (1, 0.5, 2.0)
