import configparser
import os
import sys
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

from pysot.cli import run
from pysot.cli import vot as tool
from pysot.core import RunFailed
from pysot.tracker.api import Tracker
from toolkit.io.images import list_images, read_image


class Rectangle(tuple):
    type = "rectangle"
    create = classmethod(lambda cls, *numbers: cls(numbers))
    bounds = lambda self: tuple(self)  # noqa: E731


class Polygon(list):
    type = "polygon"
    create = classmethod(lambda cls, points: cls(points))


class Mask:
    type = "mask"
    create = classmethod(lambda cls, *given: cls(*given))

    def __init__(self, part, x=0, y=0):
        assert part.flags.c_contiguous  # the package copies its memory
        self.part, self.x, self.y = part, x, y

    def array(self, normalize=False):
        assert normalize
        return np.pad(self.part, ((self.y, 0), (self.x, 0)))


def image(kind, **methods):
    return SimpleNamespace(type=lambda: kind, **{k: lambda v=v: v for k, v in methods.items()})


@pytest.fixture
def trax(monkeypatch):
    """The package vot-trax, whose client asks for ``requests`` and then ends."""

    class Server:
        def __init__(self, regions, images, **options):
            module.hello, module.said = (regions, images, options), []
            os.write(1, b"@@hello\n")

        def wait(self):
            if not module.requests:
                return SimpleNamespace(type="quit")
            kind, picture, objects = module.requests.pop(0)
            if kind == "broken":
                raise module.TraxException("no client")
            return SimpleNamespace(type=kind, image=picture, objects=objects)

        def status(self, answer):
            module.said.append(answer)
            os.write(1, b"@@state\n")

        def quit(self, reason):
            module.reason = reason
            os.write(1, b"@@quit\n")

    module = ModuleType("trax")
    module.Server, module.requests, module.reason = Server, [], None
    module.Rectangle, module.Polygon, module.Mask = Rectangle, Polygon, Mask
    module.TraxStatus = SimpleNamespace(QUIT="quit")
    module.TraxException = type("TraxException", (Exception,), {})
    monkeypatch.setitem(sys.modules, "trax", module)
    return module


@pytest.fixture
def files(tiny_config, tiny_snapshot):
    return ["--config", str(tiny_config), "--snapshot", str(tiny_snapshot)]


@pytest.fixture
def frames(otb_set):
    return [{"color": image("path", path=str(path))} for path in list_images(otb_set / "A" / "img")]


@pytest.fixture
def session(trax):
    """Function that makes a session of a tracker that always gives the same result."""

    def make(**result):
        class Fixed:
            def init(self, frame, bbox):
                self.first = frame, bbox

            def track(self, frame):
                return {"bbox": (1, 2, 3, 4), "best_score": 0.5, **result}

        class Spec(SimpleNamespace):
            def __call__(self):
                return Fixed()

        return tool.Session(
            trax, Spec(cfg=SimpleNamespace(TRACK=SimpleNamespace(MASK_THERSHOLD=0.3)))
        )

    return make


# ------------------------------------------------------------------------------- the conversation


def test_the_answers_are_the_boxes_of_the_tracker(trax, files, frames):
    box = Rectangle((20, 15, 24, 18))
    start = [("initialize", frames[0], [(box, {})])]
    trax.requests = [*start, *(("frame", frame, []) for frame in frames[1:4]), *start]
    tool.main(files)
    tracker = Tracker.from_config(files[1], files[3])
    tracker.init(read_image(frames[0]["color"].path()), box)
    for frame, ((region, properties),) in zip(frames[1:4], trax.said[1:4], strict=True):
        found = tracker.track(read_image(frame["color"].path()))
        assert region == found.bbox
        assert properties == {"confidence": found.score}
    assert trax.said[0] == trax.said[4] == [(box, {})]
    regions, images, options = trax.hello
    assert regions == ["rectangle", "polygon", "mask"]
    assert images == ["path", "memory", "buffer"]
    assert options["multiobject"] and options["tracker_name"] == "tiny"


def test_objects_may_come_later(trax, files, frames):
    one, two = Rectangle((20, 15, 24, 18)), Rectangle((50, 30, 20, 20))
    trax.requests = [
        ("initialize", frames[0], [(one, {})]),
        ("frame", frames[1], [(two, {})]),
        ("frame", frames[2], None),
        ("initialize", frames[0], [(two, {})]),
    ]
    tool.main(files)
    assert [len(answer) for answer in trax.said] == [1, 2, 2, 1]
    assert trax.said[1][1] == (two, {}) == trax.said[3][0]


def test_only_messages_reach_standard_output(trax, files, frames, monkeypatch, capfd):
    first_box = tool.first_box

    def printing(region):
        os.write(1, b"stray")  # as compiled code does
        return first_box(region)

    monkeypatch.setattr(tool, "first_box", printing)
    trax.requests = [("initialize", frames[0], [(Rectangle((20, 15, 24, 18)), {})])]
    tool.main(files)
    os.write(1, b"after")
    out, err = capfd.readouterr()
    assert out.split() == ["@@hello", "@@state", "after"]
    assert "stray" in err
    # an unfinished line before a message would hide it from a client that reads both as one
    assert out.startswith("\n@@hello\n\n@@state\n")


@pytest.mark.parametrize(
    "change, message",
    [
        (["--snapshot", "none.pth"], "checkpoint not found: none.pth"),
        (["TRACK.LR", "no"], r"TRACK.LR"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_the_client_gets_the_reason_if_there_is_no_tracker(
    trax, files, frames, capfd, change, message
):
    trax.requests = [("initialize", frames[0], [(Rectangle((20, 15, 24, 18)), {})])]
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*files, *change]))
    assert stop.value.code == 2
    assert message in trax.reason
    assert capfd.readouterr().err.splitlines()[-1] == f"error: {trax.reason}"


def test_a_bad_request_ends_the_session_with_a_message(trax, files, frames):
    trax.requests = [("initialize", frames[0], [(Rectangle((20, 15, 0, 18)), {})])]
    with pytest.raises(ValueError, match="the first box has no area"):
        tool.main(files)
    assert trax.reason.startswith("the first box has no area")


def test_a_client_that_breaks_off_is_a_failed_run(trax, files):
    trax.requests = [("broken", None, None)]
    with pytest.raises(RunFailed, match="the client broke off, or does not speak TraX: no client"):
        tool.main(files)


def test_any_tracker_can_be_served(trax, frames, plugin):
    place = plugin(
        "class Still:\n"
        "    def init(self, image, bbox):\n        self.box = bbox\n"
        "    def update(self, image):\n        return True, self.box\n"
    )
    trax.requests = [
        ("initialize", frames[0], [(Rectangle((20, 15, 24, 18)), {})]),
        ("frame", frames[1], [(Rectangle((1, 2, 3, 4)), {})]),
        ("frame", frames[2], []),
    ]
    tool.main(["--tracker", f"{place}:Still"])
    assert trax.said[1] == [((20, 15, 24, 18), {}), ((1, 2, 3, 4), {})]
    assert trax.said[2] == trax.said[1]
    assert trax.hello[2]["tracker_name"] == "Still"


def test_a_tracker_that_fails_is_a_failed_run(trax, frames, plugin):
    place = plugin("class Bad:\n    def init(self, i, b): pass\n    def update(self, i): 1 / 0\n")
    trax.requests = [("initialize", frames[0], [(Rectangle((20, 15, 24, 18)), {})])]
    trax.requests.append(("frame", frames[1], []))
    with pytest.raises(RunFailed, match="update: ZeroDivisionError"):
        tool.main(["--tracker", f"{place}:Bad"])
    assert "update: ZeroDivisionError" in trax.reason


def test_a_tracker_of_other_origin_takes_no_settings(trax, files, frames):
    trax.requests = [("initialize", frames[0], [])]
    with pytest.raises(ValueError, match="--tracker takes no --config, --snapshot"):
        tool.main([*files, "--tracker", "a:b"])


def test_without_the_package_one_line_says_what_to_install(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "trax", None)
    with pytest.raises(ValueError, match="pip install vot-trax"):
        tool.main(files)


# ------------------------------------------------------------------------------ images and regions


@pytest.mark.parametrize(
    "region, box",
    [
        (Rectangle((2, 3, 10, 20)), [2, 3, 10, 20]),
        (Polygon([(2, 3), (2, 22), (11, 22), (11, 3)]), [2, 3, 10, 20]),
        (Polygon([(2, 3), (2, 22), (6, 23), (11, 22), (11, 3)]), [2, 3, 10, 21]),
        (Polygon([(2, 3), (2, 22), (11, 22)]), [2, 3, 10, 20]),
        (Mask(np.ones((20, 10), np.uint8), 2, 3), [2, 3, 10, 20]),
    ],
)
def test_first_regions_become_boxes(region, box):
    assert tool.first_box(region) == pytest.approx(box)


def test_a_slanted_polygon_becomes_the_upright_box_of_equal_area():
    x, y, w, h = tool.first_box(Polygon([(10, 0), (20, 10), (10, 20), (0, 10)]))
    assert (w - 1) * (h - 1) == pytest.approx(200)
    assert (x + (w - 1) / 2, y + (h - 1) / 2) == (10, 10)


def test_a_region_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="cannot start on a region of the kind 'special'"):
        tool.first_box(SimpleNamespace(type="special"))


CORNERS = (1, 2, 4, 2, 4, 6, 1, 6)
PIXELS = np.zeros((20, 30), np.float32, order="F")  # as trackers of other origin may have them
PIXELS[5:9, 6:12] = 0.4


@pytest.mark.parametrize(
    "result, kinds",
    [
        ({}, ["rectangle"] * 3),
        ({"polygon": CORNERS}, ["rectangle", "polygon", "polygon"]),
        ({"polygon": CORNERS, "mask": PIXELS}, ["rectangle", "polygon", "mask"]),
    ],
)
def test_the_answer_is_of_the_kind_of_the_first_region_if_there_is_one(session, result, kinds):
    polygon = Polygon([(2, 3), (2, 9), (9, 9), (9, 3)])
    objects = [Rectangle((2, 3, 9, 9)), polygon, Mask(np.ones((4, 4), np.uint8))]
    frame = {"color": image("memory", array=np.zeros((20, 30, 3), np.uint8))}
    talk = session(**result)
    talk.step(frame, [(region, {}) for region in objects])
    answer = [region for region, _ in talk.step(frame, [])]
    assert [region.type for region in answer] == kinds
    assert answer[0] == (1, 2, 3, 4)
    if kinds[1] == "polygon":
        assert answer[1] == [(1, 2), (4, 2), (4, 6), (1, 6)]
    if kinds[2] == "mask":
        assert np.array_equal(answer[2].array(normalize=True), PIXELS[:9, :12] > 0.3)


def test_an_empty_mask_has_no_pixel(session):
    frame = {"color": image("memory", array=np.zeros((20, 30, 3), np.uint8))}
    talk = session(mask=np.zeros((20, 30), np.float32))
    talk.step(frame, [(Mask(np.ones((4, 4), np.uint8)), {})])
    ((region, _),) = talk.step(frame, [])
    assert not region.array(normalize=True).any()


def test_images_come_as_paths_in_memory_or_encoded(session, otb_set):
    path = list_images(otb_set / "A" / "img")[0]
    expected = cv2.imread(str(path))
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    read = session()._read
    assert np.array_equal(read(image("path", path=str(path))), expected)
    assert np.array_equal(read(image("buffer", buffer=path.read_bytes())), expected)
    assert np.array_equal(read(image("memory", array=expected[..., ::-1])), expected)
    assert read(image("buffer", buffer=path.read_bytes())).flags.writeable  # trackers may draw
    assert np.array_equal(read(image("memory", array=gray)), np.repeat(gray, 3, axis=2))


DEEP = cv2.imencode(".png", np.zeros((3, 4), np.uint16))[1].tobytes()


@pytest.mark.parametrize(
    "images, message",
    [
        ({}, "no color image"),
        ({"color": image("buffer", buffer=b"no image")}, "cannot decode"),
        ({"color": image("memory", array=np.zeros((3, 4, 1), np.uint16))}, "8 bits, found 16"),
        ({"color": image("buffer", buffer=DEEP)}, "8 bits, found 16"),
        ({"color": image("path", path="none.jpg")}, "none.jpg"),
    ],
)
def test_unusable_images_are_errors(session, images, message):
    with pytest.raises((ValueError, OSError), match=message):
        session().step(images, [])


# ------------------------------------------------------------------------------------ trackers.ini


@pytest.fixture
def init(trax, files, tmp_path):
    """Function that enters a tracker; returns what is in the file then."""
    path = tmp_path / "trackers.ini"

    def init(name, *options):
        tool.main(["init", "--workspace", str(tmp_path), "--name", name, *files, *options])
        found = configparser.ConfigParser()
        found.read(path)
        return found

    init.path = path
    return init


def test_the_entry_starts_this_python_with_absolute_paths(init, files, tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:/none")
    found = init("mine", "TRACK.LR", "0.3")["mine"]
    assert found["protocol"] == "trax"
    assert found["command"].split() == [
        *(sys.executable, "-m", "pysot", "vot", *files),
        *("TRACK.LR", "0.3"),
    ]
    assert found["env_LD_LIBRARY_PATH"] == str(tmp_path)
    assert str(tool.Path(tool.__file__).parents[2]) in found["env_PYTHONPATH"].split(":")


def test_paths_with_blanks_and_percent_signs_survive(init, files, tmp_path):
    folder = tmp_path / "a 100% b"
    folder.mkdir()
    (folder / "x.pth").write_bytes(tool.Path(files[3]).read_bytes())
    found = init("mine", "--snapshot", str(folder / "x.pth"))["mine"]
    assert tool.shlex.split(found["command"])[-1] == str(folder / "x.pth")


def test_other_entries_stay_as_they_are(init):
    others = "# mine\n[other]\ncommand = a %%b\n\n[last]\nprotocol=trax\n"
    init.path.write_text(others)
    assert init("new").sections() == ["other", "last", "new"]
    assert init.path.read_text().startswith(others)


def test_a_name_that_is_taken_is_refused_unless_overwritten(init):
    init("mine")
    init.path.write_text(init.path.read_text() + "; a note\n[other]\ncommand = a\n")
    before = init.path.read_text()
    with pytest.raises(ValueError, match="has a tracker 'mine' already"):
        init("mine", "TRACK.LR", "0.3")
    assert init.path.read_text() == before
    found = init("mine", "--overwrite", "TRACK.LR", "0.3")
    assert found.sections() == ["other", "mine"]
    assert found["mine"]["command"].endswith("TRACK.LR 0.3")
    assert init.path.read_text().startswith("; a note\n[other]\ncommand = a\n")


def test_plugins_are_named_in_the_entry(init, plugin, tmp_path):
    path = plugin("")
    found = init("mine", "--plugin", str(path))["mine"]
    assert f"--plugin {path}" in found["command"]
    sys.path.insert(0, str(path.parent))
    found = init("other", "--plugin", "my_plugin")["other"]
    assert found["command"].endswith("--plugin my_plugin")
    assert str(tmp_path) in found["env_PYTHONPATH"].split(":")


def test_a_tracker_of_other_origin_has_an_entry_too(trax, plugin, tmp_path):
    place = plugin("class Still:\n    init = update = print\n")
    options = ["--workspace", str(tmp_path), "--tracker", f"{place.relative_to(tmp_path)}:Still"]
    tool.main(["init", "--name", "still", *options])
    assert f"-m pysot vot --tracker {place}:Still\n" in (tmp_path / "trackers.ini").read_text()


@pytest.mark.parametrize(
    "name, options, content, message",
    [
        ("a b", [], "", "--name a b: expected letters"),
        ("DEFAULT", ["--overwrite"], "", "--name DEFAULT: expected letters"),
        ("mine", ["--workspace", "none"], "", "there is no folder none"),
        ("mine", ["--snapshot", "none"], "", "checkpoint not found: none"),
        ("mine", ["TRACK.LRR", "1"], "", "unknown key TRACK.LRR"),
        ("mine", [], "command = a\n", "trackers.ini: no list of trackers"),
    ],
)
def test_nothing_is_written_for_wrong_input(init, name, options, content, message):
    init.path.write_text(content)
    with pytest.raises((ValueError, OSError), match=message):
        init(name, *options)
    assert init.path.read_text() == content
