"""JSONs that are not quite PySOT's, and images that lie elsewhere than they say."""

import json
import shutil

import cv2
import numpy as np
import pytest

from pysot.cli import check as check_tool
from pysot.cli import test as test_tool
from toolkit.datasets import Dataset, load_videos
from toolkit.datasets.benchmarks import find_benchmark
from toolkit.datasets.dataset import make_video, require_images
from toolkit.evaluation import build_evaluation

NAN = float("nan")


def write_set(root, name, names, video="v", **fields):
    record = {"img_names": names, "gt_rect": [[1, 2, 8, 8]] * len(names), **fields}
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps({video: record}))


def draw(folder, count=3, suffix=".jpg", digits=8):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        image = np.full((30, 40, 3), 10 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number:0{digits}d}{suffix}"), image)


# -------------------------------------------------------------------------- where the images are


@pytest.mark.parametrize(
    ("names", "disk"),
    [
        ("v/color/{}.jpg", "v"),
        ("v/{}.jpg", "v/color"),
        ("v/{}.jpg", "v/img"),
        ("v/img/{}.jpg", "v"),
        ("v/img/{}.jpg", "v/color"),
        (r"v\color\{}.jpg", "v"),
        (r"v\img\{}.jpg", "v/img"),
        ("./v/img/{}.jpg", "v/img"),
        ("V/Img/{}.JPG", "v/img"),
        ("My_Video.1/{}.jpg", "my-video-1/img"),
        ("v/img/{}.png", "v/img"),
        ("SET/v/img/{}.jpg", "v/img"),
        ("/data/someone/SET/v/img/{}.jpg", "v/img"),
        ("v/img/{}.jpg", "sequences/v/img"),
        ("v/{}.jpg", "sequences/v/color"),
        ("v/{}.jpg", "../v/color"),
        ("{}.jpg", "v"),
        ("img/{}.jpg", "v/color"),
        ("v/img/000{}.jpg", "v/img"),
        ("D:\\data\\set\\v\\img\\{}.jpg", "v/img"),
    ],
)
def test_images_are_found_where_names_and_disk_differ(tmp_path, names, disk):
    root = tmp_path / "set"
    write_set(root, "Mine", [names.format(f"{i:08d}") for i in (1, 2, 3)])
    draw(root / disk)
    video = load_videos(root, "Mine")["v"]
    assert [int(image.mean()) for image, _ in video] == pytest.approx([10, 20, 30], abs=1)
    require_images("Mine", [video])
    assert (video.width, video.height) == (40, 30)


def test_of_two_folders_that_fit_none_is_taken(tmp_path):
    write_set(tmp_path, "VOT2019", ["v/00000001.jpg"])
    draw(tmp_path / "VOT2019" / "v", 1)
    assert load_videos(tmp_path, "VOT2019")["v"][0][0].mean() == pytest.approx(10, abs=1)
    draw(tmp_path / "VOT2018" / "v", 1)
    with pytest.raises(FileNotFoundError):
        load_videos(tmp_path, "VOT2019")["v"][0]


@pytest.mark.parametrize("folder", ["Human4", "human4", "Human4-2", "Human4_2"])
@pytest.mark.parametrize("named", ["Human4", "Human4-2"])
def test_two_targets_of_one_folder(tmp_path, named, folder):
    write_set(tmp_path / "set", "OTB100", [f"{named}/img/0001.jpg"], video="Human4-2")
    draw(tmp_path / "set" / folder / "img", count=1, digits=4)
    assert load_videos(tmp_path / "set", "OTB100")["Human4-2"][0][0].shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("names", "disk"),
    [
        ("person1_2/{}.jpg", "person1"),  # images of the same numbers, but of another video
        ("v/img/{}.jpg", "w/img"),
        ("img/{}.jpg", "w/img"),
        ("../v/{}.jpg", "v/img"),
    ],
)
def test_images_of_other_videos_are_not_taken(tmp_path, names, disk):
    root = tmp_path / "set"
    write_set(root, "UAV123", [names.format(f"{i:08d}") for i in (1, 2, 3)])
    draw(root / disk)
    with pytest.raises(FileNotFoundError):
        load_videos(root, "UAV123")["v"][0]


def test_one_line_says_that_a_set_has_no_images(make_set, capsys, tmp_path):
    root = make_set()
    argv = ["--dataset", "Tiny", "--dataset-root", str(root), "--static"]
    with pytest.raises(FileNotFoundError) as error:
        test_tool.main([*argv, "--results", str(tmp_path / "results")])
    assert str(error.value) == (
        f"2 of 2 videos of Tiny have no images (a and 1 more): there is no {root}/a/img/0000.png, "
        f"also without or with a folder img or color; {root} holds Tiny.json; "
        "name the folder of the set with --dataset-root"
    )
    assert not (tmp_path / "results").exists()


def test_videos_with_images_are_run(with_images, caplog, tmp_path):
    shutil.rmtree(with_images / "a")
    argv = ["--dataset", "Tiny", "--dataset-root", str(with_images), "--static"]
    with pytest.raises(test_tool.RunFailed, match="1 of 2 videos failed: a"):
        test_tool.main([*argv, "--results", str(tmp_path / "results")])
    assert "1 of 2 videos of Tiny have no images (a): there is no " in caplog.text
    assert (tmp_path / "results" / "Tiny" / "static" / "b.txt").is_file()


def test_the_checker_looks_in_the_same_places(with_images, capsys):
    (with_images / "a" / "img").rename(with_images / "a" / "color")
    check_tool.main(["--dataset", "Tiny", "--dataset-root", str(with_images)])
    assert "0 errors, 0 warnings" in capsys.readouterr().out


# -------------------------------------------------------------------------- boxes and images


@pytest.mark.parametrize(
    ("images", "boxes", "what"),
    [
        (6, 5, "6 img_names but 5 gt_rect, the last 1 images are left out"),
        (5, 7, "5 img_names but 7 gt_rect, the last 2 boxes are left out"),
    ],
)
def test_a_video_that_is_off_costs_its_tail_alone(make_set, caplog, images, boxes, what):
    def change(records):
        records["a"]["img_names"] = [f"a/{i}.jpg" for i in range(images)]
        records["a"]["gt_rect"] = [[i, 2, 3, 4] for i in range(boxes)]
        records["a"]["absent"] = [1] * images

    root = make_set(change)
    videos = load_videos(root, "Tiny")
    length = min(images, boxes)
    assert {name: len(video) for name, video in videos.items()} == {"a": length, "b": 3}
    assert videos["a"].gt_traj[-1] == [length - 1, 2, 3, 4]
    assert caplog.messages == [
        f"{root}/Tiny.json: 1 video(s) with boxes and images that differ in number; a: {what}"
    ]


def test_a_single_box_is_that_of_the_first_frame(tmp_path):
    write_set(tmp_path, "Mine", ["1.jpg", "2.jpg"], gt_rect=[[1, 2, 3, 4]])
    video = load_videos(tmp_path, "Mine")["v"]
    assert [type(box) for box in video.gt_traj] == [list, list]
    assert (video.gt_traj[0], np.isnan(video.boxes).all(axis=1).tolist()) == (
        [1, 2, 3, 4],
        [False, True],
    )


@pytest.mark.parametrize("images", [5, 7])
def test_lists_of_either_length_are_cut(images):
    names = [f"a/{i}.jpg" for i in range(images)]
    record = {"img_names": names, "gt_rect": [[1, 2, 3, 4]] * 6, "absent": [1] * images}
    video = make_video("a", record, "", find_benchmark("LaSOT"))
    assert len(video) == len(video.absent) == min(6, images)
    with pytest.raises(ValueError, match="absent has 3 entries"):
        make_video("a", {**record, "absent": [1] * 3}, "", find_benchmark("LaSOT"))


def test_images_before_the_annotation_are_left_out(make_set):
    def change(records):
        records["Tiger1"] = records.pop("a")
        records["Tiger1"]["img_names"] = [f"Tiger1/img/{i:04d}.jpg" for i in range(1, 12)]
        records["Tiger1"]["gt_rect"] = [[i, 2, 3, 4] for i in range(6, 12)]

    video = load_videos(make_set(change, "OTB100"), "OTB100")["Tiger1"]
    assert len(video) == 6 and video.img_names[0].endswith("0006.jpg")


# -------------------------------------------------------------------------- sizes of frames


@pytest.mark.parametrize("name", ["VOT2016", "VOT2017", "VOT2018", "VOT2019"])
def test_vot_is_scored_without_frames_and_sizes(tmp_path, name):
    boxes = [[100 + i, 50, 40, 30] for i in range(120)]
    write_set(tmp_path, name, [f"bag/{i:08d}.jpg" for i in range(120)], "bag", gt_rect=boxes)
    folder = tmp_path / "t" / "baseline" / "bag"
    folder.mkdir(parents=True)
    lines = ["1", *(",".join(map(str, box)) for box in boxes[1:])]
    (folder / "bag_001.txt").write_text("\n".join(lines) + "\n")
    dataset = Dataset(name, tmp_path)
    dataset.set_tracker(tmp_path, ["t"])
    assert (dataset["bag"].width, dataset["bag"].height) == (480, 360)
    assert build_evaluation(dataset).scores("t").metrics["accuracy"] == 1


def test_images_tell_their_size_before_the_table_does(tmp_path):
    write_set(tmp_path, "VOT2018", ["bag/00000001.jpg"], "bag")
    draw(tmp_path / "bag", count=1)
    video = load_videos(tmp_path, "VOT2018")["bag"]
    assert (video.width, video.height) == (40, 30)


@pytest.mark.parametrize("name", ["VOT2018-LT", "Mine"])
def test_other_sets_of_such_names_have_no_known_size(tmp_path, name):
    write_set(tmp_path, name, ["bag/1.jpg"], "bag")
    with pytest.raises(FileNotFoundError, match="its frame size is not known"):
        load_videos(tmp_path, name)["bag"].width  # noqa: B018


@pytest.mark.parametrize("width", [160.0, 160])
def test_sizes_may_be_floats(tmp_path, width):
    write_set(tmp_path, "Mine", ["1.jpg"], width=width, height=90.0)
    assert repr(load_videos(tmp_path, "Mine")["v"].annotated_size) == "(160, 90)"


@pytest.mark.parametrize("width", [160.5, -160.0, NAN, float("inf"), "160", True])
def test_sizes_are_whole_and_positive(tmp_path, width):
    write_set(tmp_path, "Mine", ["1.jpg"], width=width, height=90)
    with pytest.raises(ValueError, match="expected two positive integers"):
        load_videos(tmp_path, "Mine")


# -------------------------------------------------------------------------- other layouts


def test_the_layout_of_dasiamrpn(tmp_path, caplog):
    record = {
        "name": "Jogging",
        "image_files": ["0001.jpg", "0002.jpg"],
        "gt_rect": [[112, 99, 25, 101], [113.5, 99, 25, 101]],
        "init_rect": [112, 99, 25, 101],
    }
    (tmp_path / "OTB2015.json").write_text(json.dumps({"Jogging-1": record}))
    draw(tmp_path / "Jogging" / "img", count=2, digits=4)
    video = load_videos(tmp_path, "OTB2015")["Jogging-1"]
    assert video.gt_traj == [[111, 98, 25, 101], [112.5, 98, 25, 101]]
    assert video.init_rect == [111, 98, 25, 101]
    assert video[1][0].shape == (30, 40, 3)
    assert "boxes count from pixel 1 and were moved to 0" in caplog.text


@pytest.mark.parametrize("given", ["img_names", "image_files"])
def test_the_checker_writes_what_was_found(tmp_path, given):
    names = [f"{'v/color/' if given == 'img_names' else ''}{i:08d}.jpg" for i in (1, 2, 3)]
    record = {given: names, "gt_rect": [[5, 6, 7, 8]] * 2, "cover": [8] * 3, "name": "v"}
    more = {**record, "gt_rect": [[5, 6, 7, 8]] * 4, "cover": [8] * 4, "init_rect": [5, 6, 7, 8]}
    (tmp_path / "Mine.json").write_text(json.dumps({"v": record, "w": more}))
    draw(tmp_path / "v")
    argv = ["--dataset", "Mine", "--dataset-root", str(tmp_path)]
    check_tool.main([*argv, "--output", str(tmp_path / "new" / "Again.json")])
    written, again = (tmp_path / "new" / "Again.json").read_text(), tmp_path / "again"
    made = json.loads(written)["v"]
    assert made["img_names"] == ["v/00000001.jpg", "v/00000002.jpg"]
    assert made["init_rect"] == made["gt_rect"][0] == load_videos(tmp_path, "Mine")["v"].gt_traj[0]
    assert made["cover"] == [8, 8] and "image_files" not in made
    again.mkdir()
    (again / "Mine.json").write_text(written)
    videos = load_videos(again, "Mine")
    assert [(len(v), len(v.cover), len(v.init_rect)) for v in videos.values()] == [
        (2, 2, 4),
        (3, 3, 4),
    ]


def test_annotation_to_train_on_is_told_apart(tmp_path):
    records = {"GOT-10k_Val_000001": {"00": {"000000": [1, 2, 3, 4]}}}
    (tmp_path / "got-val.json").write_text(json.dumps(records))
    with pytest.raises(ValueError, match=r"holds tracks, as annotation to train on: name the file"):
        load_videos(tmp_path, "got-val")


@pytest.mark.parametrize("names", [[], ["", "", ""]])
@pytest.mark.parametrize("images", [3, 2, 0])
def test_images_without_names(tmp_path, names, images, caplog):
    write_set(tmp_path, "Mine", names, gt_rect=[[1, 2, 3, 4]] * 3, video_dir="x/v")
    if images:
        draw(tmp_path / "x" / "v" / "img", images)
    video = load_videos(tmp_path, "Mine")["v"]
    assert len(video) == 3
    if images == 3:
        assert [int(image.mean()) for image, _ in video] == [10, 20, 30] and not caplog.messages
    else:
        assert f"there are {images} images in" in caplog.text


def test_a_single_empty_name_is_named(tmp_path):
    write_set(tmp_path, "Mine", ["v/1.jpg", "", "v/3.jpg"])
    with pytest.raises(ValueError, match=r"video 'v': img_names\[1\] is empty"):
        load_videos(tmp_path, "Mine")


def test_a_number_without_end_is_named(tmp_path):
    write_set(tmp_path, "Mine", ["1.jpg"], gt_rect=[[10**400, 2, 3, 4.5]])
    with pytest.raises(ValueError, match=r"video 'v': gt_rect\[0\]: expected numbers, got \[1000"):
        load_videos(tmp_path, "Mine")


def test_nesting_without_end_is_one_line(tmp_path):
    (tmp_path / "Mine.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"Mine\.json: is nested too deeply"):
        load_videos(tmp_path, "Mine")


@pytest.mark.parametrize(
    "record",
    [
        {
            "image_files": ["1.jpg", "2.jpg"],
            "gt_rect": [[2, 3, 8, 8]] * 2,
            "init_rect": [2, 3, 8, 8],
        },
        {
            "img_names": ["1.jpg"] * 4,
            "gt_rect": [[1, 2, 8, 8]] * 2,
            "cover": [8] * 4,
            "attr": ["a"] * 4,
        },
        {"img_names": ["1.jpg"] * 2, "gt_rect": [[1, 2, 8, 8]] * 4, "cover": [8] * 4},
    ],
    ids=["DaSiamRPN's", "fewer boxes", "fewer images"],
)
def test_a_set_that_is_checked_and_written_is_the_same_set(tmp_path, record):
    (tmp_path / "Mine.json").write_text(json.dumps({"v": record}))
    argv = ["--dataset", "Mine", "--root", str(tmp_path), "--output", str(tmp_path / "New.json")]
    check_tool.main(argv)
    first, again = Dataset("Mine", tmp_path)["v"], Dataset("New", tmp_path)["v"]
    assert again.gt_traj == first.gt_traj == [[1, 2, 8, 8]] * 2
    assert (again.init_rect, again.attr) == ([1, 2, 8, 8], first.attr)
    assert again.img_names == first.img_names
    assert again.cover == first.cover
