import logging
import math

import pytest
import torch

from pysot.datasets.dataset import TrainingDataError
from pysot.engine.monitor import Monitor, as_numbers, log_to, open_writer
from pysot.engine.train import Faults, train_one_epoch
from pysot.utils.cli import RunFailed


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


class Tape:
    """A TensorBoard writer that remembers."""

    def __init__(self):
        self.written = []

    def add_scalar(self, tag, value, step):
        self.written.append((tag, value, step))

    def close(self):
        pass


def run(values, grad_clip=1e9, faults=None, writer=None, **options):
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    batches = ({"x": torch.full((2, 1), v), "bad_images": []} for v in values)
    monitor = Monitor(1, len(values), batch_size=2, print_freq=2, writer=writer, show=False)
    monitor.begin_epoch(0, optimizer)
    train_one_epoch(
        model,
        optimizer,
        batches,
        len(values),
        torch.device("cpu"),
        grad_clip,
        monitor,
        faults or Faults(0),
        **options,
    )
    return model.rpn_head.weight.item(), monitor


def test_steps_follow_the_gradient():
    assert run([0.25, 0.5])[0] == pytest.approx(1 - 0.25 - 0.5)


def test_gradients_are_clipped():
    assert run([8.0], grad_clip=0.5)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2e4])
def test_unusable_losses_skip_the_step(value):
    faults = Faults(0)
    assert run([value, 0.25], faults=faults)[0] == pytest.approx(0.75)
    assert faults.skipped_steps == 1


def test_many_unusable_losses_in_a_row_end_the_run():
    with pytest.raises(RunFailed, match=r"loss of 30 steps in a row.*BASE_LR"):
        run([math.nan] * 40)


def test_skips_that_are_not_in_a_row_do_not():
    faults = Faults(0)
    run([math.nan, 0.0] * 20, faults=faults)
    assert faults.skipped_steps == 20


def test_bad_images_are_counted_once_and_limited(caplog):
    faults = Faults(max_bad_images=2, bad_images=("a.jpg: gone",))
    faults.check_images({"x": 1, "bad_images": ["b.jpg: cut", "a.jpg: gone", "b.jpg: cut"]})
    assert list(faults.bad_images) == ["a.jpg: gone", "b.jpg: cut"]
    assert "b.jpg: cut" in caplog.text
    with pytest.raises(TrainingDataError, match=r"3 .*2 are allowed \(TRAIN.MAX_BAD_IMAGES\).*c"):
        faults.check_images({"x": 1, "bad_images": ["c.jpg: gone"]})


def test_a_batch_without_samples_ends_the_run():
    with pytest.raises(TrainingDataError, match=r"a\.jpg"):
        Faults(5).check_images({"bad_images": ["a.jpg"]})


def test_tensorboard_has_the_tags_of_pysot():
    tape = Tape()
    run([0.25, 0.5, 1.0], writer=tape, log_grads=True)
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
        logging.getLogger("pysot.engine.train").info("quiet")
        logging.getLogger("pysot.engine.train").warning("loud")
    logging.getLogger("pysot.engine.train").warning("after")
    text = (tmp_path / "logs" / "logs.txt").read_text()
    assert "-rk0-test_train_loop.py#" in text
    assert "quiet" in text and "loud" in text and "after" not in text
    assert "WARNING: loud" in capsys.readouterr().err


def test_without_tensorboard_training_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    assert open_writer(str(tmp_path)) is None
    assert "pip install pysot[train]" in caplog.text
    assert open_writer("") is None
