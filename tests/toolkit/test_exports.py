"""Results as MOT text, COCO and YouTube-VOS JSON."""

import json
import sys
import zipfile

import numpy as np
import pytest

from pysot.cli import submit as tool
from pysot.core import RunFailed
from toolkit.results.exports import encode_mask
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory

SIZE = (6, 5)  # width and height


def decode(run_lengths):
    """The mask of compressed run lengths, by the definition."""
    height, width = run_lengths["size"]
    runs, value, shift = [], 0, 0
    for character in run_lengths["counts"]:
        group = ord(character) - 48
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (group & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    assert len(flat) == width * height
    return flat.reshape(width, height).T


@pytest.mark.parametrize(
    "mask, counts",
    [
        (np.zeros((2, 2)), "4"),
        (np.ones((2, 2)), "04"),
        ([[0, 1], [0, 1]], "22"),  # column by column
        ([[1, 0], [1, 0]], "022"),
        ([[0, 1, 0, 1]], "1110"),  # the fourth run is 1, less the 1 of the second
        ([[0, 0, 1, 1, 0, 1]], "221O"),  # the fourth is 1, less 2: -1
        (np.zeros((10, 10)), "T3"),  # 100 is 4 and 3 * 32
        (np.zeros((4, 4)), "`0"),  # 16 alone would be -16
    ],
)
def test_run_lengths_of_small_masks(mask, counts):
    mask = np.array(mask)
    found = encode_mask(mask)
    assert found == {"size": list(mask.shape), "counts": counts}
    assert np.array_equal(decode(found), mask)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_of_any_mask(seed):
    generator = np.random.default_rng(seed)
    mask = generator.random(generator.integers(1, 90, 2)) < generator.choice([0.01, 0.5, 0.99])
    assert np.array_equal(decode(encode_mask(mask)), mask)


def labels(*pixels):
    image = np.zeros(SIZE[::-1], np.uint8)
    for x, y, label in pixels:
        image[y, x] = label
    return image


RUNS = {
    # two objects, of which the second comes later and the first leaves
    "DAVIS2017": ("masks", [labels((1, 2, 1)), labels((1, 2, 1), (2, 2, 1), (5, 4, 3)), labels()]),
    "GOT-10k": ("got10k", [[1, 2, 3, 4.5], [2, 2, 3, 4], [3.25, 2, 3, 4]]),
    "VOT2018": ("vot", [Code.STARTED, [1, 1, 4, 1, 4, 3, 1, 3], Code.LOST]),
    "VOT2018-LT": ("longterm", [[1, 2, 3, 4], [2, 2, 3, 4], [3, 2, 3, 4]]),
}


def submit(dataset, kind, *options):
    place = ["-p", "results", "-d", dataset, "-t", "mine", "--dataset-root", "."]
    tool.main([*place, "--format", kind, *options])


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Function that writes a set and results, and exports these; returns the file."""
    monkeypatch.chdir(tmp_path)

    def export(dataset, kind, *options):
        layout, frames = RUNS[dataset]
        record = {
            "img_names": [f"a/{i:04d}.jpg" for i in range(len(frames))],
            "gt_rect": [[1, 2, 3, 4]] * len(frames),
            "width": SIZE[0],
            "height": SIZE[1],
        }
        (tmp_path / f"{dataset}.json").write_text(json.dumps({"a": record, "b": record}))
        run = Trajectory()
        for number, frame in enumerate(frames):
            code = frame if isinstance(frame, Code) else Code.REGION
            run.append(frame if isinstance(frame, list) else [], code, seconds=0.1, score=0.25)
            run.masks.append(frame)
            run.frame_names.append(f"{number:04d}")
        store = ResultStore(tmp_path / "results" / dataset / "mine", layout)
        store.write("a", run)
        if "--only-a" not in options:
            store.write("b", run)
        submit(dataset, kind, *(o for o in options if o != "--only-a"))
        suffix = "zip" if kind == "mot" else "json"
        return tmp_path / f"mine_{dataset}_{kind}.{suffix}"

    return export


def texts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_mot_counts_frames_objects_and_pixels_from_1(export, capsys):
    found = texts(export("GOT-10k", "mot"))
    lines = (
        "1,1,2.00,3.00,3.00,4.50,1,-1,-1,-1\n"
        "2,1,3.00,3.00,3.00,4.00,1,-1,-1,-1\n"
        "3,1,4.25,3.00,3.00,4.00,1,-1,-1,-1\n"
    )
    assert found == {"a.txt": lines, "b.txt": lines}
    assert capsys.readouterr().out == "mine_GOT-10k_mot.zip: 2 videos\n"


def test_mot_has_every_object_of_a_mask(export):
    assert texts(export("DAVIS2017", "mot"))["a.txt"] == (
        "1,1,2.00,3.00,1.00,1.00,1,-1,-1,-1\n"
        "2,1,2.00,3.00,2.00,1.00,1,-1,-1,-1\n"
        "2,3,6.00,5.00,1.00,1.00,1,-1,-1,-1\n"
    )


def test_scores_are_taken_over_and_starts_left_out(export):
    assert texts(export("VOT2018-LT", "mot"))["a.txt"] == (
        "2,1,3.00,3.00,3.00,4.00,0.25,-1,-1,-1\n3,1,4.00,3.00,3.00,4.00,0.25,-1,-1,-1\n"
    )


def test_coco_has_an_image_per_frame_and_an_annotation_per_object(export):
    found = json.loads(export("DAVIS2017", "coco").read_text())
    assert [image["id"] for image in found["images"]] == [1, 2, 3, 4, 5, 6]
    expected = {"id": 4, "file_name": "a/0000.jpg", "video_id": 2, "frame_id": 0}
    assert found["images"][3] == {**expected, "width": 6, "height": 5}
    places = [(a["id"], a["image_id"], a["track_id"], a["bbox"]) for a in found["annotations"]]
    assert places[:3] == [(1, 1, 1, [1, 2, 1, 1]), (2, 2, 1, [1, 2, 2, 1]), (3, 2, 3, [5, 4, 1, 1])]
    assert places[3] == (4, 4, 1, [1, 2, 1, 1])
    second = found["annotations"][1]
    assert second["area"] == 2 and second["category_id"] == 1 and second["iscrowd"] == 0
    assert np.array_equal(decode(second["segmentation"]), RUNS["DAVIS2017"][1][1] == 1)
    assert found["videos"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


def test_coco_has_polygons_where_the_tracker_gave_them(export):
    found = json.loads(export("VOT2018", "coco").read_text())["annotations"]
    assert [annotation["image_id"] for annotation in found] == [2, 5]
    assert found[0]["segmentation"] == [[1, 1, 4, 1, 4, 3, 1, 3]]
    assert found[0]["bbox"] == [1, 1, 3, 2] and found[0]["area"] == 6


def test_coco_boxes_have_no_segmentation(export):
    found = json.loads(export("GOT-10k", "coco").read_text())["annotations"]
    assert "segmentation" not in found[0]
    assert found[0]["bbox"] == [1, 2, 3, 4.5] and found[0]["area"] == 13.5


def test_ytvos_has_a_list_of_masks_per_object(export):
    found = json.loads(export("DAVIS2017", "ytvos").read_text())
    names = ["a/0000.jpg", "a/0001.jpg", "a/0002.jpg"]
    video = {"id": 2, "name": "b", "file_names": names, "width": 6, "height": 5, "length": 3}
    assert found["videos"][1] == video
    objects = [(a["id"], a["video_id"], a["track_id"]) for a in found["annotations"]]
    assert objects == [(1, 1, 1), (2, 1, 3), (3, 2, 1), (4, 2, 3)]
    third = found["annotations"][1]
    assert third["bboxes"] == [None, [5, 4, 1, 1], None] and third["areas"] == [None, 1, None]
    assert np.array_equal(decode(third["segmentations"][1]), RUNS["DAVIS2017"][1][1] == 3)
    assert third["segmentations"][::2] == [None, None]


def test_boxes_are_no_masks(export, tmp_path):
    with pytest.raises(ValueError, match="has boxes, but YouTube-VOS takes masks; use coco or mot"):
        export("GOT-10k", "ytvos")
    assert not (tmp_path / "mine_GOT-10k_ytvos.json").exists()


def test_missing_results_and_wrong_names_write_nothing(export, tmp_path):
    with pytest.raises(RunFailed, match=r"is not complete, nothing was written:\n  b: no result"):
        export("GOT-10k", "coco", "--only-a")
    with pytest.raises(ValueError, match=r"--output a.zip: the name of the file must end in .json"):
        export("GOT-10k", "coco", "--output", "a.zip")
    assert not [*tmp_path.glob("*.zip"), *tmp_path.glob("mine*")]


def test_a_frame_size_that_nobody_knows_is_an_error(export, tmp_path):
    export("GOT-10k", "mot")
    records = json.loads((tmp_path / "GOT-10k.json").read_text())
    del records["a"]["width"], records["a"]["height"]
    (tmp_path / "GOT-10k.json").write_text(json.dumps(records))
    submit("GOT-10k", "mot")  # which needs none
    with pytest.raises(FileNotFoundError, match="'a': its frame size is not known"):
        submit("GOT-10k", "coco")
    assert not [*tmp_path.glob("*.json.part"), *tmp_path.glob("mine*.json")]


def test_an_unknown_format_lists_the_known_ones(export, capsys):
    with pytest.raises(SystemExit) as stop:
        export("GOT-10k", "voc")
    assert stop.value.code == 2
    assert "'voc' (choose from" in capsys.readouterr().err.splitlines()[-1]


def test_a_mask_of_no_frame_is_an_error(export, tmp_path):
    folder = tmp_path / "results" / "DAVIS2017" / "mine" / "a"
    export("DAVIS2017", "coco")
    (folder / "0002.png").rename(folder / "9.png")
    with pytest.raises(ValueError, match=r"video 'a': the mask 9\.png belongs to no frame"):
        submit("DAVIS2017", "mot")


@pytest.mark.parametrize("kind", ["coco", "ytvos"])
def test_masks_of_another_size_than_the_frames_are_an_error(export, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(sys.modules[__name__], "SIZE", (12, 10))
    with pytest.raises(ValueError, match="'a' has frames of 12 x 10 pixels and masks of 6 x 5"):
        export("DAVIS2017", kind)
    assert not [*tmp_path.glob("mine*.json")]


def test_infinite_scores_are_no_results(export, tmp_path):
    export("VOT2018-LT", "mot")
    scores = tmp_path / "results/VOT2018-LT/mine/longterm/a/a_001_confidence.value"
    scores.write_text("\n0.25\ninf\n")
    with pytest.raises(RunFailed, match=r"a: values that are no finite numbers in a_001\.txt"):
        submit("VOT2018-LT", "mot")


@pytest.mark.extras
def test_the_official_reader_takes_the_files(export):
    """Needs: pip install pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    path = export("DAVIS2017", "coco")
    found = coco.COCO(str(path))
    assert len(found.getAnnIds(imgIds=[2])) == 2
    masks = [found.annToMask(a) for a in found.loadAnns(found.getAnnIds(imgIds=[2]))]
    frame = RUNS["DAVIS2017"][1][1]
    assert np.array_equal(masks[0], frame == 1) and np.array_equal(masks[1], frame == 3)
    results = found.loadRes(json.loads(path.read_text())["annotations"])
    assert results.anns[2]["bbox"] == [1, 2, 2, 1] and results.anns[2]["area"] == 2
    polygons = coco.COCO(str(export("VOT2018", "coco")))
    assert polygons.annToMask(polygons.anns[1]).sum() == 6
    for annotation in json.loads(export("DAVIS2017", "ytvos").read_text())["annotations"]:
        for frame, shape in zip(RUNS["DAVIS2017"][1], annotation["segmentations"], strict=True):
            expected = frame == annotation["track_id"]
            decoded = expected & False if shape is None else coco.maskUtils.decode(shape)
            assert np.array_equal(decoded, expected)


@pytest.mark.extras
@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_those_of_the_official_writer(seed):
    """Needs: pip install pycocotools."""
    official = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(seed)
    mask = generator.random(generator.integers(1, 400, 2)) < generator.choice([0.01, 0.5, 0.99])
    expected = official.encode(np.asfortranarray(mask, np.uint8))
    assert encode_mask(mask)["counts"] == expected["counts"].decode()
