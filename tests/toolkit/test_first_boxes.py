import json

import pytest

from toolkit.io.first_boxes import read_first_boxes


def read(tmp_path, content, name="boxes.txt"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return [tuple(first) for first in read_first_boxes(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3,4\n5.5,6,7,8\n", [(0, (1, 2, 3, 4)), (0, (5.5, 6, 7, 8))]),
        ("1\t2\t3\t4", [(0, (1, 2, 3, 4))]),
        # MOT: object 7 comes in the third frame; pixels count from 1
        (
            "1,3,11,21,5,6,1,-1,-1,-1\n2,3,12,22,5,6,1,-1,-1,-1\n3,7,1,1,9,9,1,-1,-1,-1\n",
            [(0, (10, 20, 5, 6)), (2, (0, 0, 9, 9))],
        ),
        # detections have no numbers: those of the first frame
        (
            "2,-1,2,3,5,6,0.9\n2,-1,4,5,5,6,0.8\n3,-1,1,1,9,9,1\n",
            [(1, (1, 2, 5, 6)), (1, (3, 4, 5, 6))],
        ),
        ("x,y,w,h\n1,2,3,4\n", [(0, (1, 2, 3, 4))]),
        (",frame,target,x,y,w,h,score\n0,4,1,1,2,3,4,\n1,5,1,9,9,9,9,0.5\n", [(4, (1, 2, 3, 4))]),
        (
            "Frame,ID,X,Y,Width,Height\n0,a,1,2,3,4\n0,b,1,2,3,5\n",
            [(0, (1, 2, 3, 4)), (0, (1, 2, 3, 5))],
        ),
    ],
)
def test_text(tmp_path, text, expected):
    assert read(tmp_path, text) == expected


IMAGES = [{"id": 30, "file_name": "a.jpg"}, {"id": 20, "file_name": "b.jpg", "frame_id": 5}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            [{"image_id": 9, "bbox": [1, 2, 3, 4]}, {"image_id": 12, "bbox": [1, 2, 3, 5]}],
            [(0, (1, 2, 3, 4))],
        ),
        (
            {
                "images": IMAGES,
                "annotations": [
                    {"image_id": 20, "bbox": [1, 2, 3, 4], "track_id": 1},
                    {"image_id": 20, "bbox": [5, 6, 7, 8], "track_id": 2},
                    {"image_id": 30, "bbox": [9, 2, 3, 4], "track_id": 1},
                ],
            },
            [(0, (9, 2, 3, 4)), (5, (5, 6, 7, 8))],
        ),
    ],
)
def test_coco(tmp_path, content, expected):
    assert read(tmp_path, content, "boxes.json") == expected


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "a.txt", r"a\.txt: is empty"),
        ("1,2,3\n", "a.txt", r"a\.txt: line 1: expected x,y,w,h, or MOT's"),
        ("1,2,3,4\n1,2,3,4,5,6\n", "a.txt", r"line 2: expected x,y,w,h"),
        ("1,2,0,4\n", "a.txt", r"expected positive w and h"),
        ("0,1,2,3,4,5\n", "a.txt", r"numbers of frames, found -1"),
        ("1.5,1,2,3,4,5\n", "a.txt", r"numbers of frames, found 0\.5"),
        ("x,y,w,h\n1,2,a,4\n", "a.csv", r"line 2: expected numbers x, y, w, h"),
        ("x,y,w,h\n1,2,nan,4\n", "a.csv", r"finite numbers"),
        ("x,y,w,h\n", "a.csv", r"there is no box"),
        ("{", "a.json", r"a\.json: is no JSON"),
        ({"boxes": []}, "a.json", r"expected COCO's annotations"),
        ([{"image_id": 1}], "a.json", r"expected COCO's .*'bbox'"),
        ([{"image_id": 1, "bbox": [1, 2, 3]}], "a.json", r"a box x, y, w, h"),
        ([{"image_id": 1, "bbox": "1234"}], "a.json", r"a box x, y, w, h"),
        ([], "a.json", r"there is no box"),
        ({"images": [], "annotations": [{"image_id": [], "bbox": [1, 2, 3, 4]}]}, "a.json", "COCO"),
    ],
)
def test_anything_else_is_one_clear_line(tmp_path, content, name, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content, name)
