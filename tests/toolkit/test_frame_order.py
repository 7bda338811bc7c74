"""In which order the images of a folder are, and what numbers them."""

import pytest

from toolkit.io.images import frame_numbers, list_images

# names in order, and what counts them
ORDERS = {
    "camera behind": ([f"frame_{i}_cam1.jpg" for i in range(8, 12)], [8, 9, 10, 11]),
    "export": (
        [
            "f_0000_jpg.rf.9a8b.jpg",
            "f_0001_jpg.rf.1f2.jpg",
            "f_0002_jpg.rf.c0.jpg",
            "f_0003_jpg.rf.77a.jpg",
        ],
        [0, 1, 2, 3],
    ),
    "hash before": (["8a7b-f_0001.jpg", "c0ff-f_0002.jpg", "1c3d-f_0007.jpg"], [1, 2, 7]),
    "random number before": (["83741_f_1.jpg", "12_f_2.jpg", "999_f_3.jpg"], [1, 2, 3]),
    "parentheses": (["img.png", "img(1).png", "img(2).png", "img(10).png"], None),
    "date, time, counter": (
        [f"IMG_20200101_12000{i}_{9 + i:03d}.jpg" for i in range(3)],
        [9, 10, 11],
    ),
    "date, time, part": (
        ["I_20200101_120000_900.jpg", "I_20200101_120001_100.jpg"],
        [120000, 120001],
    ),
    "part of equal seconds": (["I_1_003.jpg", "I_1_900.jpg", "I_2_100.jpg"], None),
    "cameras": (["cam2_0001.jpg", "cam2_0002.jpg", "cam10_0000.jpg"], None),
    "suffixes": (["1.JPG", "2.jpg", "10.Jpeg"], [1, 2, 10]),
    "widths of suffixes": (["2.jpeg", "10.jpg"], [2, 10]),
    "minus, suffixes": (["x_-3.JPG", "x_-1.jpg", "x_2.JPG"], None),
    "digit in the suffix": (["1.jp2", "2.jp2", "10.jp2"], [1, 2, 10]),
    "minus": (["-2.jpg", "-1.jpg", "0.jpg", "1.jpg", "10.jpg"], None),
    "hyphen": (["f-1.jpg", "f-2.jpg", "f-10.jpg"], [1, 2, 10]),
    "other digits": (["\u0661.jpg", "\u0662.jpg", "\u0661\u0660.jpg"], [1, 2, 10]),
    "case": (["Frame_1.jpg", "frame_2.jpg", "FRAME_10.jpg"], [1, 2, 10]),
    "words behind": (["1_run.jpg", "2_go.jpg", "10_stop.jpg"], [1, 2, 10]),
    "no number": (["a.jpg", "b.jpg"], None),
    "one": (["7.jpg"], [7]),
}


@pytest.mark.parametrize("case", ORDERS)
def test_images_are_in_the_order_of_what_counts_them(tmp_path, case):
    names, numbers = ORDERS[case]
    for name in names[::-1]:
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == names
    assert frame_numbers(names) == numbers
