import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from box_files import write_boxes

from toolkit import datasets
from toolkit.datasets import (
    BENCHMARKS,
    DatasetFactory,
    Labels,
    Video,
    find_benchmark,
    find_root,
    load_videos,
)
from toolkit.datasets.dataset import require_images
from toolkit.evaluation import EVALUATIONS, METRICS
from toolkit.io.boxes import vot_corners
from toolkit.io.images import write_labels
from toolkit.protocols import PROTOCOLS
from toolkit.results.formats import LAYOUTS

NAN = float("nan")


VOT = ["VOT2016", "VOT2017", "VOT2018", "VOT2019"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows_of_the_table_name_what_exists(name):
    benchmark = BENCHMARKS[name]
    assert benchmark.protocol in PROTOCOLS
    assert benchmark.layout in LAYOUTS
    assert benchmark.evaluation in EVALUATIONS
    assert benchmark.metrics and set(benchmark.metrics) <= set(METRICS)
    assert benchmark.folder is None or benchmark.folder in BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_windows_belong_to_those_who_average_over_them(name):
    benchmark = BENCHMARKS[name]
    assert (benchmark.eao_window is not None) == ("eao" in benchmark.metrics)
    assert len(benchmark.tags) == (5 if benchmark.evaluation == "vot" else 0)
    assert (benchmark.repetitions > 1) == (benchmark.evaluation in ("vot", "got10k"))


def test_a_name_without_a_row_is_a_one_pass_set():
    assert find_benchmark("Mine") == replace(find_benchmark("DTB70"), num_videos=0)


def test_a_set_may_lie_in_the_folder_it_shares_frames_with(tmp_path):
    assert find_root("CVPR13", tmp_path) == tmp_path / "CVPR13"
    (tmp_path / "OTB100").mkdir()
    assert find_root("CVPR13", tmp_path) == tmp_path / "OTB100"
    (tmp_path / "CVPR13").mkdir()
    assert find_root("CVPR13", tmp_path) == tmp_path / "CVPR13"


@pytest.mark.parametrize("name", ["OTB100", "UAV123", "UAV20L", "NFS30", "LaSOT"])
def test_recorded_sets_load_in_sorted_order(mini, mini_numbers, name):
    dataset = DatasetFactory.create_dataset(name=name, dataset_root=mini / "testing_dataset" / name)
    recorded = mini_numbers[name]
    assert len(dataset) == recorded["n_videos"]
    assert [video.name for video in dataset] == sorted(dataset.videos)
    assert {attr: len(videos) for attr, videos in dataset.attr.items()} == recorded["attributes"]


def test_dataset_gives_videos_by_name_and_position(make_set):
    dataset = DatasetFactory.create_dataset(name="Tiny", dataset_root=make_set())
    assert [dataset[0].name, dataset[-1].name, dataset["a"].name] == ["a", "b", "a"]
    assert dataset[np.int64(1)].name == "b"
    assert dataset.attr == {"ALL": ["a", "b"], "Fast Motion": ["b"]}
    with pytest.raises(TypeError):
        dataset[0.5]
    with pytest.raises(IndexError):
        dataset[2]


def test_loading_touches_no_image(make_set):
    video = load_videos(make_set(), "Tiny")["a"]
    assert len(video) == 3
    assert video.boxes.tolist() == [[10, 20, 30, 40], [11, 20, 30, 40], [12, 20, 30, 40]]
    assert type(video.gt_traj[0][2]) is int  # first lines of result files show ints as ints
    with pytest.raises(FileNotFoundError, match=r"video 'a': its frame size .*a/img/0000\.png"):
        _ = video.width


def test_size_from_the_json_needs_no_image(make_set):
    root = make_set(lambda records: records["a"].update(width=64, height=48))
    video = load_videos(root, "Tiny")["a"]
    assert (video.width, video.height) == (64, 48)


def test_frames_come_from_below_the_root(with_images, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    video = load_videos(with_images.relative_to(tmp_path), "Tiny")["b"]
    monkeypatch.chdir("/")
    assert video.img_names[1] == str(with_images / "b" / "img" / "0001.png")
    frames = list(video)
    assert [frame[0, 0, 0] for frame, _ in frames] == [0, 1, 2]
    assert frames[2][1] == [12, 20, 30, 40]
    assert (video.width, video.height) == (40, 30)


def test_frames_can_be_kept_in_memory(with_images):
    video = DatasetFactory.create_dataset(name="Tiny", dataset_root=with_images, load_img=True)[0]
    assert len(video.imgs) == 3
    assert video[1][0] is video.imgs[1]
    video.free_img()
    assert video.imgs is None and video[1][0].shape == (30, 40, 3)


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_bad_image_is_named_when_it_is_reached(with_images, damage):
    path = with_images / "a" / "img" / "0001.png"
    path.write_bytes(b"junk")
    if damage == "missing":
        path.unlink()
    frames = iter(load_videos(with_images, "Tiny")["a"])
    next(frames)
    with pytest.raises((ValueError, FileNotFoundError), match=r"a/img/0001\.png"):
        next(frames)


def test_null_and_nan_ground_truth_mean_absent(make_set):
    def absent(records):
        records["a"]["gt_rect"] = [[NAN] * 4, None, [None, None, 3, 4]]

    boxes = load_videos(make_set(absent), "Tiny")["a"].boxes
    np.testing.assert_array_equal(boxes, [[NAN] * 4, [NAN] * 4, [NAN, NAN, 3, 4]])


def test_a_polygon_counts_as_the_box_around_it(make_set):
    def polygon(records):
        records["a"]["gt_rect"] = [[5, 0, 10, 5, 5, 10, 0, 5], [NAN] * 8, [1, 2, 3, 4]]

    video = load_videos(make_set(polygon), "Tiny")["a"]
    np.testing.assert_array_equal(video.boxes, [[0, 0, 10, 10], [NAN] * 4, [1, 2, 3, 4]])
    assert video.gt_traj[0] == [5, 0, 10, 5, 5, 10, 0, 5]


def test_corners_of_a_vot_box():
    assert vot_corners([10, 20, 30, 40]) == [10, 20, 10, 59, 39, 59, 39, 20]
    assert vot_corners([5, 0, 10, 5, 5, 10, 0, 5]) == [5, 0, 10, 5, 5, 10, 0, 5]


def edit(field, value):
    return lambda records: records["a"].update({field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records: records["a"].pop("img_names"), "field 'img_names' is missing; there are"),
        (lambda records: records["a"].pop("gt_rect"), "field 'gt_rect' is missing"),
        (lambda records: records.update(a=[]), "expected an object of fields, got list"),
        (edit("img_names", "a.jpg"), "img_names: expected a list, got str"),
        (edit("img_names", 5), "img_names: expected a list, got int"),
        (edit("img_names", ["x.jpg", 2, "y.jpg"]), "img_names: expected text only"),
        (edit("init_rect", 5), "init_rect: expected 4 or 8 numbers, got 5"),
        (edit("gt_rect", [[1, 2, 3, 4], [1, 2, 3], [1]]), "gt_rect[1]: expected 4 or 8 numbers"),
        (edit("gt_rect", [[1, 2, 3, 4], [1, 2, "3", 4]] * 2), "gt_rect[1]: expected numbers"),
        (edit("gt_rect", [[1, 2, 3, 4], [1, 2, True, 4]] * 2), "gt_rect[1]: expected numbers"),
        (edit("gt_rect", [1, 2, 3]), "gt_rect[0]: expected 4 or 8 numbers, got 1"),
        (edit("attr", [1]), "attr: expected text only"),
        (edit("width", 3), "width, height: expected two positive integers"),
    ],
)
def test_a_json_of_the_wrong_shape_names_file_video_and_field(make_set, change, message):
    with pytest.raises(ValueError) as error:
        load_videos(make_set(change), "Tiny")
    assert "Tiny.json: video 'a': " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["", "..", "../a", "/a", "a//b"])
def test_a_name_that_leads_out_of_the_results_is_refused(make_set, name):
    root = make_set(lambda records: records.update({name: records["a"]}))
    with pytest.raises(ValueError, match="its name cannot name a file of results"):
        load_videos(root, "Tiny")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "expected an object of at least one video"),
        ("{}", "expected an object of at least one video"),
        ("\ufeff\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"), "not valid JSON"),
    ],
)
def test_a_file_that_is_no_set_is_named(make_set, raw, message):
    with pytest.raises(ValueError, match=rf"Tiny\.json.*{message}"):
        load_videos(make_set(raw=raw), "Tiny")


def test_a_missing_json_says_what_is_there(make_set, tmp_path):
    root = make_set()
    with pytest.raises(FileNotFoundError, match=r"Tyni\.json: there is Tiny\.json"):
        load_videos(root, "Tyni")
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        load_videos(tmp_path / "nowhere", "Tiny")
    with pytest.raises(FileNotFoundError, match=r"Tiny\.json is not a folder"):
        load_videos(root / "Tiny.json", "Tiny")


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (None, "field 'absent' is missing"),
        ([1, 0], "absent has 2 entries for 3 frames"),
        ([1, 0, 2], "absent: expected only 0 and 1"),
    ],
)
def test_lasot_needs_its_absent_list(make_set, absent, message):
    root = make_set(edit("absent", absent) if absent else lambda r: None, name="LaSOT")
    with pytest.raises(ValueError, match=message):
        load_videos(root, "LaSOT")


def with_tags(occlusion, motion):
    def change(records):
        for record in records.values():
            record.update({tag: [] for tag in find_benchmark("VOT2018").tags})
        records["a"].update(occlusion=occlusion, motion_change=motion)

    return change


@pytest.mark.parametrize("name", VOT)
def test_vot_tags(make_set, name):
    root = make_set(with_tags([1, 0, 0], [1, 1, 0]), name=name)
    dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
    video = dataset["a"]
    names = ["all", *find_benchmark(name).tags, "empty"]
    assert dataset.tags == video.tag_names == list(video.tags) == names
    assert video.tags["all"] == [1, 1, 1]
    assert video.tags["camera_motion"] == []
    assert video.tags["empty"] == [0, 0, 1]
    assert video.select_tag("motion_change", 1, 3) == [1, 0]
    assert video.select_tag("motion_change") == [1, 1, 0]
    assert dataset["b"].tags["empty"] == []  # a set without tags does not tell
    with pytest.raises(ValueError, match=r"video 'a' has no tag 'rain'; there are: all, camera"):
        video.select_tag("rain")


def test_a_vot_set_may_lack_its_tags(make_set):
    video = load_videos(make_set(name="VOT2019"), "VOT2019")["a"]
    assert video.tags.pop("all") == [1, 1, 1]
    assert len(video.tags) == 6 and not any(video.tags.values())


def test_tags_of_another_length_are_refused(make_set):
    root = make_set(with_tags([1, 0], [1, 1, 0]), name="VOT2018")
    with pytest.raises(
        ValueError, match=r"VOT2018\.json: video 'a': occlusion has 2 entries for 3"
    ):
        load_videos(root, "VOT2018")


def test_cover_and_masks(make_set):
    def change(records):
        names = ["masks/a/0.png", None, "masks/a/2.png"]
        records["a"].update(cover=[8, 0, 3], mask_names=names, mask_value=300)

    root = make_set(change)
    a, b = load_videos(root, "Tiny").values()
    assert a.cover == [8, 0, 3] and a.mask_value == 300
    assert a.mask_names[1:] == [None, str(root / "masks/a/2.png")]
    assert b.cover is b.mask_names is b.mask_value is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cover", [1, 2, 9], "cover: expected only 0, 1, 2, 3, 4, 5, 6, 7 and 8"),
        ("cover", [1, 2], "cover has 2 entries for 3 frames"),
        ("mask_names", ["a.png"], "mask_names has 1 entries for 3 frames"),
        ("mask_names", [1, 2, 3], "mask_names: expected text or null only"),
        ("mask_value", 0, "mask_value: expected an integer of 1 to 65535, got 0"),
    ],
)
def test_wrong_labels_are_refused(make_set, field, value, message):
    with pytest.raises(ValueError, match=message):
        load_videos(make_set(edit(field, value)), "Tiny")


def held(root, name):
    """The videos that PySOT's users get, which hold results."""
    return DatasetFactory.create_dataset(name=name, dataset_root=root)


def test_results_load_by_tracker(make_set, tmp_path):
    video = held(make_set(), "Tiny")["a"]
    boxes = [[1, 2, 3, 4]] * 3
    for tracker in ("t1", "t2"):
        write_boxes(tmp_path / "results" / tracker / "a.txt", boxes)
    assert video.load_tracker(tmp_path / "results", "t1", store=False).tolist() == boxes
    assert video.pred_trajs == {}
    video.load_tracker(tmp_path / "results")
    assert sorted(video.pred_trajs) == ["t1", "t2"]
    with pytest.raises(FileNotFoundError, match=r"t3/a\.txt"):
        video.load_tracker(tmp_path / "results", ["t3"])


def test_results_of_older_archives_load(make_set, tmp_path):
    root = make_set(lambda records: records.update(BlurCar1=records["a"]), name="OTB100")
    write_boxes(tmp_path / "t" / "blurCar1.txt", [[1, 2, 3, 4]] * 3)
    video = held(root, "OTB100")["BlurCar1"]
    assert video.load_tracker(tmp_path, "t", store=False).shape == (3, 4)


def test_results_of_vot_load_as_repetitions(make_set, tmp_path):
    video = held(make_set(name="VOT2018"), "VOT2018")["a"]
    folder = tmp_path / "r" / "t" / "baseline" / "a"
    folder.mkdir(parents=True)
    (folder / "a_001.txt").write_text("1\n1.5,2,3,4\n2\n")
    (folder / "a_002.txt").write_text("1\n0\n5,0,10,5,5,10,0,5\n")
    video.load_tracker(tmp_path / "r")
    assert video.pred_trajs["t"] == [
        [[1], [1.5, 2, 3, 4], [2]],
        [[1], [0], [5, 0, 10, 5, 5, 10, 0, 5]],
    ]


def test_long_term_results_load_with_their_scores(make_set, tmp_path):
    video = held(make_set(name="VOT2018-LT"), "VOT2018-LT")["a"]
    folder = tmp_path / "t" / "longterm" / "a"
    folder.mkdir(parents=True)
    (folder / "a_001.txt").write_text("1\n1.5,2,3,4\n1,2,3,4\n")
    (folder / "a_001_confidence.value").write_text("\n0.5\n0.25\n")
    regions, scores = video.load_tracker(tmp_path, "t", store=False)
    assert regions == [[1], [1.5, 2, 3, 4], [1, 2, 3, 4]]
    np.testing.assert_array_equal(scores, [NAN, 0.5, 0.25])
    video.load_tracker(tmp_path, ["t"])
    assert video.pred_trajs["t"] == regions
    np.testing.assert_array_equal(video.confidence["t"], scores)


def test_masks_are_no_regions(make_set, tmp_path):
    video = held(make_set(name="DAVIS2017"), "DAVIS2017")["a"]
    with pytest.raises(ValueError, match="results laid out as 'masks' hold no regions"):
        video.load_tracker(tmp_path, "t")


def test_a_video_plays_in_a_window(with_images, monkeypatch):
    import cv2

    shown = []
    monkeypatch.setattr(cv2, "imshow", lambda name, frame: shown.append((name, frame.copy())))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: -1)
    video = held(with_images, "Tiny")["a"]
    video.show({"t": [[2, 2, 9, 9]] * 2 + [[math.nan] * 4]}, linewidth=1)
    assert [name for name, _ in shown] == ["a"] * 3
    assert shown[0][1][2, 5].tolist() != [0, 0, 0]  # the box of the tracker
    assert shown[2][1][2, 5].tolist() == [2, 2, 2]  # which has none in the last frame


def test_a_mask_holds_the_object_of_its_video_alone(tmp_path):
    write_labels(tmp_path / "0.png", np.array([[0, 1, 2]], np.uint8))
    names = {"mask_names": ["0.png", None]}
    images, boxes = ["0.jpg", "1.jpg"], [[0, 0, 1, 1]] * 2
    of_all = Video("v", tmp_path, images, boxes, labels=Labels(**names))
    of_one = Video("v", tmp_path, images, boxes, labels=Labels(**names, mask_value=2))
    assert of_all.read_mask(0).tolist() == [[0, 1, 2]]
    assert of_one.read_mask(0).tolist() == [[0, 0, 1]]
    assert of_one.read_mask(1) is None
    assert Video("v", tmp_path, images, boxes).read_mask(0) is None


@pytest.mark.parametrize(
    ("pixels", "value", "mask"),
    [
        (np.array([[0, 255, 300]], np.uint16), 300, [[0, 0, 1]]),
        (np.array([[0, 255, 300]], np.uint16), 255, [[0, 1, 0]]),
        (np.array([[0, 65535, 0]], np.uint16), 65535, [[0, 1, 0]]),
    ],
)
def test_a_mask_of_16_bits_holds_the_object_of_its_video_alone(tmp_path, pixels, value, mask):
    write_labels(tmp_path / "0.png", pixels)
    labels = Labels(mask_names=["0.png"], mask_value=value)
    video = Video("v", tmp_path, ["0.jpg"], [[0, 0, 1, 1]], labels=labels)
    assert video.read_mask(0).tolist() == mask


def test_names_of_upstream_classes():
    assert (
        datasets.OTBDataset is datasets.LaSOTDataset is datasets.UAVDataset is datasets.NFSDataset
    )
    assert datasets.VOTDataset is datasets.VOTLTDataset is datasets.OTBDataset
    assert datasets.GOT10kDataset is datasets.TrackingNetDataset is datasets.OTBDataset
    assert issubclass(datasets.OTBDataset, datasets.Dataset)
    assert datasets.OTBVideo is datasets.LaSOTVideo is datasets.UAVVideo is datasets.NFSVideo
    assert datasets.UAVVideo is datasets.VOTVideo is datasets.VOTLTVideo is datasets.OTBVideo
    assert datasets.GOT10kVideo is datasets.TrackingNetVideo is datasets.OTBVideo
    assert issubclass(datasets.OTBVideo, Video)
    with pytest.raises(AttributeError, match="no attribute 'OtherVideo'"):
        _ = datasets.OtherVideo


def test_videos_of_upstream_classes_are_as_those_inside(with_images):
    video = held(with_images, "Tiny")["a"]
    assert isinstance(video, datasets.OTBVideo)
    assert (len(video), video.pred_trajs, video.confidence) == (3, {}, {})
    np.testing.assert_array_equal(video[1][0], load_videos(with_images, "Tiny")["a"][1][0])


def test_images_of_more_than_8_bits_are_told_once(tmp_path, caplog):
    videos = []
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}0.png"), np.full((8, 9), 7000, np.uint16))
        cv2.imwrite(str(tmp_path / f"{name}1.png"), np.full((8, 9), 7064, np.uint16))
        names = [f"{name}0.png", f"{name}1.png"]
        videos.append(Video(name, tmp_path, names, [[1, 2, 3, 4]] * 2))
    require_images("mine", videos)
    assert caplog.text.count("a0.png has more than 8 bits: its values 6872 to 7128") == 1
    assert caplog.text.count("more than 8 bits") == 1
    assert [image.max() for image, _ in videos[1]] == [128, 192]  # one range for the video
