import math

import numpy as np
import pytest

from toolkit.datasets import Video
from toolkit.io.images import read_labels, write_labels
from toolkit.protocols import PROTOCOLS
from toolkit.protocols.masks import merge_masks
from toolkit.protocols.one_pass import ProtocolOptions, StaticTracker
from toolkit.results.trajectory import Code

REGION, SKIPPED, STARTED, LOST = Code


def run_protocol(protocol, build, video, options=None):
    return PROTOCOLS[protocol](build, options or ProtocolOptions()).run(video)


class Mover:
    """Moves one pixel to the right per frame; its height is an int, as after clipping."""

    def __init__(self):
        self.calls = []

    def init(self, image, bbox):
        self.calls.append(("init", *bbox))
        self.x = float(bbox[0])

    def track(self, image):
        self.calls.append(int(image[0, 0, 0]))
        self.x += 1
        return {"bbox": [self.x, 2.5, 3.0, 10], "best_score": np.float32(0.5)}


def frames(count=3, shape=(20, 30, 3), truth=(1, 2, 3, 4)):
    return [(np.full(shape, i, np.uint8), list(truth)) for i in range(count)]


def one_pass(video, tracker=None):
    return run_protocol("one_pass", lambda: tracker or Mover(), video)


@pytest.mark.parametrize("protocol", ["one_pass", "long_term"])
def test_tracker_runs_from_the_first_frame_to_the_end(protocol):
    tracker = Mover()
    run = run_protocol(protocol, lambda: tracker, iter(frames()))
    assert tracker.calls == [("init", 1, 2, 3, 4), 1, 2]
    assert run.regions == [[1, 2, 3, 4], [2.0, 2.5, 3.0, 10], [3.0, 2.5, 3.0, 10]]
    assert [type(value) for value in run.regions[0] + run.regions[1][3:]] == [int] * 5
    assert math.isnan(run.scores[0]) and run.scores[1:] == [0.5, 0.5]
    assert len(run.seconds) == 3 and min(run.seconds) >= 0
    assert run.fps > 0


def test_only_the_first_ground_truth_is_needed():
    video = [
        (image, truth if i == 0 else [math.nan] * 4) for i, (image, truth) in enumerate(frames())
    ]
    assert one_pass(video).regions == one_pass(frames()).regions


def test_the_options_choose_the_box_to_start_on():
    tracker = Mover()
    options = ProtocolOptions(start=lambda region: [value * 2 for value in region])
    run = run_protocol("one_pass", lambda: tracker, frames(), options)
    assert tracker.calls[0] == ("init", 2, 4, 6, 8)
    assert run.regions[0] == [2, 4, 6, 8]


@pytest.mark.parametrize("protocol", ["one_pass", "reset"])
def test_a_frame_of_another_size_is_named(protocol):
    mixed = frames(2) + frames(1, shape=(20, 31, 3))
    with pytest.raises(ValueError, match="frame 2 is 31x20 but the video began with 30x20"):
        run_protocol(protocol, StaticTracker, mixed)


@pytest.mark.parametrize("box", [[1, 2, 0, 4], [1, 2, 3, -4], [math.nan, 2, 3, 4], [1, 2, 3]])
def test_a_box_to_start_on_has_a_size(box):
    with pytest.raises(ValueError, match="cannot start on the box"):
        one_pass(frames(truth=box))


@pytest.mark.parametrize("protocol", ["one_pass", "reset"])
def test_a_video_has_a_frame(protocol):
    with pytest.raises(ValueError, match="no frame"):
        run_protocol(protocol, Mover, [])


# ----------------------------------------------------------------------------------------- reset


class Scripted:
    """Says what it was told to, one entry per tracked frame, and notes its starts."""

    def __init__(self, *outputs):
        self.outputs, self.starts = list(outputs), []

    def init(self, image, bbox):
        self.starts.append((int(image[0, 0, 0]), list(bbox)))

    def track(self, image):
        return self.outputs.pop(0)


GOOD, AWAY = {"bbox": [5, 5, 8, 8]}, {"bbox": [20, 14, 4, 4]}


def reset(video, *outputs, options=None):
    tracker = Scripted(*outputs)
    return run_protocol("reset", lambda: tracker, video, options), tracker


def test_a_failure_is_followed_by_four_frames_of_rest_and_a_new_start():
    video = frames(10, truth=[4, 4, 8, 8])
    run, tracker = reset(video, GOOD, AWAY, GOOD, GOOD)
    good = [5, 5, 8, 8]
    assert run.codes == [STARTED, REGION, LOST, *[SKIPPED] * 4, STARTED, REGION, REGION]
    assert [region for region in run.regions if region] == [good] * 3
    assert [bool(region) for region in run.regions] == [code == REGION for code in run.codes]
    assert run.lost == 1
    assert [frame for frame, _ in tracker.starts] == [0, 7]
    assert [math.isnan(s) for s in run.scores] == [True] * 10
    assert run.seconds[3:7] == [0.0] * 4


@pytest.mark.parametrize("length", [2, 3, 6, 7, 8])
def test_a_failure_near_the_end_leaves_no_room_for_a_start(length):
    run, tracker = reset(frames(length, truth=[4, 4, 8, 8]), AWAY, GOOD)
    expected = [STARTED, LOST, *[SKIPPED] * 4, STARTED, REGION]
    assert run.codes == expected[:length]
    assert run.regions[7:] == [[5, 5, 8, 8]] * (length - 7)
    assert len(tracker.starts) == (2 if length > 6 else 1)


def test_a_failure_at_once_after_a_start_counts_again():
    run, _ = reset(frames(8, truth=[4, 4, 8, 8]), AWAY, AWAY)
    assert run.codes == [STARTED, LOST, *[SKIPPED] * 4, STARTED, LOST]
    assert run.lost == 2


def test_a_box_is_judged_and_started_on_by_its_corner_pixels():
    # x, y, w, h covers w by h pixels: the far corner is at x + w - 1
    seen = []
    options = ProtocolOptions(start=lambda region: seen.append(region) or [1, 1, 2, 2])
    _, tracker = reset(frames(1, truth=[4, 6, 8, 3]), options=options)
    assert seen == [[4, 6, 4, 8, 11, 8, 11, 6]]
    assert tracker.starts == [(0, [1, 1, 2, 2])]
    near, touching = {"bbox": [10.4, 4, 5, 5]}, {"bbox": [11, 4, 5, 5]}
    run, _ = reset(frames(3, truth=[4, 4, 8, 8]), near, touching)
    assert run.codes == [STARTED, REGION, LOST]
    assert run.regions[1] == near["bbox"]


def test_polygons_are_judged_and_written():
    polygon = [5.0, 5, 13, 5, 13, 13, 5, 13]
    run, _ = reset(frames(2, truth=[4, 4, 8, 8]), {**AWAY, "polygon": polygon})
    assert run.regions[1] == polygon
    run, _ = reset(frames(2, truth=[4, 4, 8, 8]), {**GOOD, "polygon": [20, 14] * 4})
    assert run.codes[1] == LOST


def test_overlap_counts_only_within_the_frame():
    # both reach beyond the 30 x 20 frame, and share nothing inside it
    outside = {"bbox": [31, 4, 8, 8]}
    run, _ = reset(frames(2, truth=[28, 4, 12, 8]), outside)
    assert run.codes[1] == LOST


@pytest.mark.parametrize(
    "box", [[math.nan] * 4, [1e30, 5, 8, 8], [5, 5, math.inf, 8], [5, 5, 0, 0]]
)
def test_a_tracker_that_diverges_has_failed(box):
    run, _ = reset(frames(2, truth=[4, 4, 8, 8]), {"bbox": box})
    assert run.codes[1] == LOST


@pytest.mark.parametrize(
    "nothing",
    [[math.nan] * 4, [math.nan] * 8, [4, 4, math.inf, 8], [4, 4, 4, 8, math.nan, 8, 8, 4]],
)
def test_without_ground_truth_a_tracker_fails_and_a_start_waits(nothing):
    video = frames(12, truth=[4, 4, 8, 8])
    for index in (0, 3, 8, 9):
        video[index] = (video[index][0], nothing)
    run, tracker = reset(video, GOOD, GOOD, GOOD)
    assert run.codes == [0, STARTED, REGION, LOST, *[SKIPPED] * 6, STARTED, REGION]
    assert [frame for frame, _ in tracker.starts] == [1, 10]


def test_a_start_needs_a_ground_truth_somewhere():
    with pytest.raises(ValueError, match="no frame has a ground truth to start on"):
        reset(frames(3, truth=[math.nan] * 4))


class Insider(Scripted):
    """Says whether a box may lie outside of the frame."""

    inside_only = True

    def init(self, image, bbox):
        self.starts.append(self.inside_only)


@pytest.mark.parametrize(("protocol", "inside"), [("reset", False), ("one_pass", True)])
def test_a_restart_may_lie_outside_of_the_frame(protocol, inside):
    tracker = Insider()
    run_protocol(protocol, lambda: tracker, frames(1, truth=[40, 4, 8, 8]))
    assert tracker.starts == [inside]


# ----------------------------------------------------------------------------------------- masks


class Painter:
    """Gives a mask of one value left or right of a column; objects are told by their first box."""

    def __init__(self, views):
        self.views = views

    def init(self, image, bbox):
        self.view = self.views[tuple(bbox)]

    def track(self, image):
        return {"bbox": [0, 0, 1, 1], "best_score": 0.9, "mask": self.view}


def masked_video(folder, *labels, count=3, value=None, names=None):
    """A video of gray frames that fit label images (H, W), its first masks; None is no mask."""
    masks = [None] * count
    for index, image in enumerate(labels):
        if image is not None:
            masks[index] = str(folder / f"{index}.png")
            write_labels(masks[index], np.array(image))

    class Masked(Video):
        mask_names = masks

        def __getitem__(self, index):
            return np.full((2, 6, 3), index, np.uint8), [math.nan] * 4

    paths = names or [f"img/{i:05d}.jpg" for i in range(count)]
    video = Masked("v", folder, paths, [[math.nan] * 4] * count)
    video.mask_value = value
    return video


TWO = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 2, 2, 2]]


def test_every_object_has_a_tracker_and_the_more_probable_one_wins(tmp_path):
    one = np.array([[0.9, 0.9, 0.6, 0.6, 0.2, 0.2]] * 2, np.float32)
    two = np.array([[0.1, 0.1, 0.6, 0.8, 0.8, 0.3]] * 2, np.float32)
    views = {(0, 0, 2, 2): one, (3, 1, 3, 1): two}
    built = []

    def build():
        built.append(Painter(views))
        return built[-1]

    run = run_protocol(
        "masks", build, masked_video(tmp_path, TWO), ProtocolOptions(mask_threshold=0.3)
    )
    assert len(built) == 2
    assert run.masks[0].tolist() == TWO
    # the tie in column 2 goes to the lower number; 0.3 in the last does not exceed the threshold
    assert [x.tolist() for x in run.masks[1:]] == [[[1, 1, 1, 2, 2, 0]] * 2] * 2
    assert run.frame_names == ["00000", "00001", "00002"]
    assert not any(run.regions) and len(run.seconds) == len(run) == 3


def test_an_object_may_appear_later_and_is_started_there_once(tmp_path):
    one, two = (np.full((2, 6), value, np.float32) for value in (0.6, 0.9))
    views = {(0, 0, 2, 2): one, (3, 1, 3, 1): two}
    only_two = [[0, 0, 0, 0, 0, 0], [0, 0, 0, 2, 2, 2]]
    moved = [[0, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 0]]  # later annotation is not looked at
    video = masked_video(tmp_path, None, only_two, TWO, moved, count=5)
    run = run_protocol("masks", lambda: Painter(views), video)
    assert run.masks[0].tolist() == [[0] * 6] * 2
    assert run.masks[1].tolist() == only_two
    assert run.masks[2].tolist() == [[1, 1, 2, 2, 2, 2]] * 2
    assert run.masks[3].tolist() == run.masks[4].tolist() == [[2] * 6] * 2


def test_labels_beyond_8_bits_keep_their_numbers(tmp_path):
    video = masked_video(tmp_path, [[1, 1, 0, 0, 0, 0]] * 2, [[1, 1, 0, 255, 300, 300]] * 2)
    masks = run_protocol("masks", StaticTracker, video).masks
    assert [mask.dtype.type for mask in masks] == [np.uint8, np.uint16, np.uint16]
    assert np.unique(masks[1]).tolist() == np.unique(masks[2]).tolist() == [0, 1, 255, 300]
    write_labels(tmp_path / "result.png", masks[2])
    assert np.array_equal(read_labels(tmp_path / "result.png"), masks[2])


def test_one_value_of_the_mask_may_be_the_object(tmp_path):
    views = {(3, 1, 3, 1): np.ones((2, 6), np.float32)}
    video = masked_video(tmp_path, TWO, value=2)
    run = run_protocol("masks", lambda: Painter(views), video)
    assert run.masks[0].tolist() == [[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    assert run.masks[1].tolist() == [[1] * 6] * 2


def test_a_tracker_without_masks_stands_for_its_box(tmp_path):
    run = run_protocol("masks", StaticTracker, masked_video(tmp_path, TWO))
    assert run.masks[2].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 0, 2, 2, 2]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.9, 0.2, [1, 1, 1, 2]),
        (0.2, 0.9, [1, 2, 2, 2]),
        (0.5, 0.5, [1, 1, 1, 2]),
        (0.0, math.nan, [1, 2, 2, 2]),  # without a score: sure
    ],
)
def test_boxes_that_overlap_are_ordered_by_score(first, second, expected):
    outputs = {
        1: {"bbox": [0, 0, 3, 1], "best_score": first},
        2: {"bbox": [1, 0, 3, 1], "best_score": second},
    }
    assert merge_masks(outputs, (1, 4), 0.5).tolist() == [expected]


def test_a_polygon_is_filled_and_an_unknown_place_is_empty():
    outputs = {
        1: {"bbox": [0, 0, 9, 9], "polygon": [1, 1, 3, 1, 3, 3, 1, 3]},
        2: {"bbox": [math.nan] * 4},
    }
    labels = merge_masks(outputs, (5, 5), 0.5)
    assert labels[1:4, 1:4].tolist() == [[1] * 3] * 3
    assert labels.sum() == 9


def test_what_masks_need_is_named(tmp_path):
    plain = Video("v", tmp_path, ["a.png"], [[1, 2, 3, 4]])
    with pytest.raises(ValueError, match="no annotation masks"):
        run_protocol("masks", StaticTracker, plain)
    with pytest.raises(ValueError, match="no mask of the video holds an object"):
        run_protocol("masks", StaticTracker, masked_video(tmp_path, [[0] * 6] * 2))
    video = masked_video(tmp_path, TWO, np.ones((2, 7)))
    with pytest.raises(ValueError, match="the mask of frame 1 is 7x2, the frame 6x2"):
        run_protocol("masks", StaticTracker, video)
    twice = masked_video(tmp_path, TWO, names=["a/1.jpg", "b/1.jpg", "b/2.jpg"])
    with pytest.raises(ValueError, match="two frames have the same file name"):
        run_protocol("masks", StaticTracker, twice)


def test_every_protocol_says_whether_it_restarts():
    assert {name for name, protocol in PROTOCOLS.items() if protocol.restarts} == {"reset"}
