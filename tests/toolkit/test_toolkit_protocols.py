import math

import numpy as np
import pytest

from toolkit.protocols import one_pass


class Mover:
    """Moves one pixel to the right per frame; its height is an int, as after clipping."""

    def __init__(self):
        self.calls = []

    def init(self, image, bbox):
        self.calls.append("init")
        self.x = float(bbox[0])

    def track(self, image):
        self.calls.append(int(image[0, 0, 0]))
        self.x += 1
        return {"bbox": [self.x, 2.5, 3.0, 10], "best_score": np.float32(0.5)}


def frames(count=3, shape=(20, 30, 3)):
    return [(np.full(shape, i, np.uint8), None) for i in range(count)]


def test_tracker_runs_from_the_first_frame_to_the_end():
    tracker = Mover()
    run = one_pass(tracker, iter(frames()), [1, 2, 3, 4])
    assert tracker.calls == ["init", 1, 2]
    assert run.boxes == [[1, 2, 3, 4], [2.0, 2.5, 3.0, 10], [3.0, 2.5, 3.0, 10]]
    assert [type(value) for value in run.boxes[0] + run.boxes[1][3:]] == [int] * 5
    assert math.isnan(run.scores[0]) and run.scores[1:] == [0.5, 0.5]
    assert len(run.seconds) == 3 and min(run.seconds) >= 0
    assert run.fps > 0


def test_a_frame_of_another_size_is_named():
    mixed = frames(2) + frames(1, shape=(20, 31, 3))
    with pytest.raises(ValueError, match="frame 2 is 31x20 but the video began with 30x20"):
        one_pass(Mover(), mixed, [1, 2, 3, 4])


@pytest.mark.parametrize("box", [[1, 2, 0, 4], [1, 2, 3, -4], [math.nan, 2, 3, 4], [1, 2, 3]])
def test_a_box_to_start_on_has_a_size(box):
    with pytest.raises(ValueError, match="cannot start on the box"):
        one_pass(Mover(), frames(), box)


def test_a_video_has_a_frame():
    with pytest.raises(ValueError, match="no frame"):
        one_pass(Mover(), [], [1, 2, 3, 4])
