import json
from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.datasets.formats.coco import read_mask
from toolkit.io.images import read_labels
from toolkit.results.tracks import Tracks

SIZE = (7, 5)


def target(box=(1, 2, 3, 4), score=0.5, mask=None, polygon=None, lost=False):
    polygon = None if polygon is None else np.array(polygon, float)
    return SimpleNamespace(
        box=np.array(box, float), score=score, mask=mask, polygon=polygon, lost=lost
    )


def tracks(*frames):
    found = Tracks("clip", SIZE)
    for index, targets in enumerate(frames):
        found.add(SimpleNamespace(index=index, name=str(index), targets=targets, seconds=0.1))
    return found


def mask(seed):
    return np.random.default_rng(seed).random(SIZE[::-1]) < 0.5


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "inside", [mask(0), mask(1), np.zeros(SIZE[::-1], bool), np.ones(SIZE[::-1], bool)]
)
def test_masks_come_back_from_their_run_lengths(tmp_path, inside):
    tracks({0: target(mask=inside)}).write_json(tmp_path / "t.json")
    stored = read(tmp_path / "t.json")["frames"][0]["mask"]
    assert stored["size"] == [5, 7]  # height and width; columns come first
    np.testing.assert_array_equal(read_mask(stored).draw(inside.shape), inside)


def test_json_has_what_is_known_of_each_object(tmp_path):
    corners = [[0, 0], [2, 0], [2, 2], [0, 2]]
    one = target(polygon=corners, lost=True)
    tracks({0: target(score=float("nan"))}, {0: one}).write_json(tmp_path / "t.json")
    assert read(tmp_path / "t.json")["frames"] == [
        {"name": "0", "bbox": [1, 2, 3, 4], "score": None},
        {
            "name": "1",
            "bbox": [1, 2, 3, 4],
            "score": 0.5,
            "polygon": [0, 0, 2, 0, 2, 2, 0, 2],
            "lost": True,
        },
    ]
    tracks({0: one}, {}, {3: target()}).write_json(tmp_path / "t.json")
    found = [[one["id"] for one in f["objects"]] for f in read(tmp_path / "t.json")["frames"]]
    assert found == [[0], [], [3]]


def test_objects_out_of_sight_have_no_line(tmp_path):
    made = tracks({0: target()}, {0: target(lost=True), 4: target((0, 0, 2, 2), float("nan"))})
    made.write_mot(tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text() == (
        "1,1,2.00,3.00,3.00,4.00,0.5,-1,-1,-1\n2,5,1.00,1.00,2.00,2.00,1,-1,-1,-1\n"
    )
    made.write_coco(tmp_path / "t.json")
    found = [
        (a["image_id"], a["track_id"], a["area"]) for a in read(tmp_path / "t.json")["annotations"]
    ]
    assert found == [(1, 1, 12), (2, 5, 4)]


def test_a_pixel_of_two_masks_goes_to_the_surer_one(tmp_path):
    a, b = mask(0), mask(1)
    objects = {0: target(mask=a, score=0.9), 1: target(mask=b, score=0.8)}
    made = tracks({}, objects, {1: target(mask=b, lost=True)})
    made.write_masks(tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "00000.png",
        "00001.png",
        "00002.png",
    ]
    expected = np.where(a, 1, np.where(b, 2, 0))
    np.testing.assert_array_equal(read_labels(tmp_path / "m/00001.png", exact=True), expected)
    assert not read_labels(tmp_path / "m/00002.png", exact=True).any()


def test_a_frame_that_is_added_again_is_replaced():
    made = tracks({0: target()}, {0: target()})
    made.add(SimpleNamespace(index=1, name="1", targets={}, seconds=0.3))
    assert (len(made), made.objects[1], made.scores) == (2, {}, [0.5])
    assert made.fps == pytest.approx(1 / 0.3)
