import base64
import json
import logging
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.report import _image, report_page, write_report
from toolkit.report.figures import main_plots
from toolkit.report.filmstrips import (
    FRAMES,
    POINTS,
    encoded,
    filmstrips,
    frame_overlaps,
    longest_loss,
    window,
)
from toolkit.results.runs import Conditions, note_video

NAN = float("nan")
NAMES = ["OTB100", "VOT2018", "VOT2018-LT", "GOT-10k", "DAVIS2016"]
GOOD, BAD = "good", "<b>bad & _co"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open it in")


class Page(HTMLParser):
    """Elements, tables and texts of a page; complains about tags that do not match."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.data, self.open = [], {}, "", []
        self.texts = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in self.VOID:
            self.open.append((tag, attrs))
        if tag == "tr":
            table = next(of.get("id", "") for name, of in reversed(self.open) if name == "table")
            self.rows.setdefault(table, []).append([])
        if tag in ("td", "th"):
            self._row().append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("id") == "data":
            self.data += data
        elif any(name in ("td", "th") for name, _ in self.open):
            self._row()[-1] += data
        elif data.strip():
            self.texts.append(data)

    def _row(self):
        return list(self.rows.values())[-1][-1]


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes most of the time, and most tests look at something else."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def page_of(evaluation):
    trackers = evaluation.ranked(evaluation.dataset.tracker_names)
    return Page(report_page(evaluation, trackers))


@pytest.mark.parametrize("name", NAMES)
def test_every_evaluation_has_a_page(scored_set, no_plots, name):
    evaluation = scored_set(name)
    page = page_of(evaluation)
    head, *rows = page.rows["scores"]
    assert [row[0] for row in rows] == [GOOD, BAD]
    assert (head[0], head[-1]) == ("Tracker", "Problems")
    data = json.loads(page.data)
    assert [head[1:-1], [of["name"] for of in data["trackers"]]] == [
        [data["metrics"][metric]["label"] for metric in data["order"]],
        [GOOD, BAD],
    ]
    assert [row[0] for row in page.rows["videos"][1:]] == ["A", "B", "C<i>"]
    key = data["order"].index(evaluation.key)
    for video, scores in data["videos"].items():
        expected = evaluation.scores(BAD).videos[video][evaluation.key]
        assert scores[1][key] == (
            pytest.approx(expected, abs=1e-5) if expected == expected else None
        )
    assert ("attributes" in page.rows) and data["frames"] == {"A": 24, "B": 24, "C<i>": 24}


def test_values_intervals_and_the_best_are_shown(scored_set, no_plots):
    evaluation = scored_set("OTB100")
    evaluation.add_intervals([GOOD], 20)
    page = page_of(evaluation)
    assert page.rows["scores"][1][1] == "0.9520.952 to 0.952"
    best = evaluation.scores(BAD).metrics["success"]
    assert page.rows["scores"][2][1] == f"{best:.3f}"
    assert page.rows["videos"][1][:3] == ["A", "24", "0.952"]
    marks = [attrs["class"] for tag, attrs in page.tags if tag == "td" and "class" in attrs]
    assert {"first", "second"} == set(marks)


def test_the_page_says_how_results_were_made(scored_set, no_plots):
    evaluation = scored_set("OTB100")
    folder = evaluation.store(GOOD).folder
    here, there = (
        Conditions("cpu <x>", "good LR 1", "pysot 1"),
        Conditions("cuda:0", "a", "pysot 1"),
    )
    note_video(folder, "A", here, 23, 2.3)
    note_video(folder, "B", here, 23, 2.3)
    note_video(folder, "C<i>", there, 23, 0.23)
    note_video(folder, "no video", there, 23, 0.23)
    head, *rows = page_of(evaluation).rows["runs"]
    assert head[:5] == ["Tracker", "fps", "Frames", "Videos", "Device"]
    assert [row[:7] for row in rows[:2]] == [
        [GOOD, "10.0", "46", "2", "cpu <x>", "good LR 1", "pysot 1"],
        [GOOD, "100.0", "23", "1", "cuda:0", "a", "pysot 1"],
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", rows[0][7])
    assert rows[2:] == [[BAD, *["\u2013"] * 7]]  # old results tell nothing


def test_headings_can_be_used_and_read(scored_set, no_plots):
    page = page_of(scored_set("VOT2018"))
    heads = [attrs for tag, attrs in page.tags if tag == "th" and attrs["scope"] == "col"]
    assert {attrs.get("aria-sort") for attrs in heads} == {"none", None}  # None: the table of runs
    heads = [attrs for attrs in heads if "aria-sort" in attrs]
    buttons = [attrs for tag, attrs in page.tags if tag == "button" and "data-key" in attrs]
    assert len(buttons) == len(heads)
    first = {attrs["data-key"]: attrs["data-first"] for attrs in buttons}
    assert (first["eao"], first["robustness"]) == ("descending", "ascending")


@pytest.mark.parametrize("plots", [False, True])
def test_names_are_text_and_the_page_needs_nothing_else(scored_set, monkeypatch, plots):
    if plots:
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    evaluation = scored_set("DAVIS2016")
    text = report_page(evaluation, evaluation.dataset.tracker_names)
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"b", "i"} == set()
    assert text.count("</script>") == 2
    for _, attrs in page.tags:
        for key in ("src", "href"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_page_has_the_plots(scored_set):
    pytest.importorskip("matplotlib")
    evaluation = scored_set("OTB100")
    page = page_of(evaluation)
    images = [attrs for tag, attrs in page.tags if tag == "img" and "svg" in attrs["src"]]
    names = [attrs["alt"].removeprefix("Plot: ") for attrs in images]
    assert names[:4] == ["Success", "Precision", "Normalized precision", "Success by attribute"]
    assert names[4:] == [
        f"Success, {attribute} (1 video)" for attribute in ("Fast Motion", "Occlusion", "Scale <b>")
    ]
    picture = base64.b64decode(images[0]["src"].split(",")[1])
    assert b"<svg" in picture
    again = next(main_plots(evaluation, evaluation.ranked(evaluation.dataset.tracker_names)))
    assert base64.b64decode(_image(again)["image"].split(",")[1]) == picture


def test_without_matplotlib_the_page_says_so(scored_set, no_plots, caplog):
    with caplog.at_level(logging.WARNING):
        page = page_of(scored_set("VOT2018"))
    assert "There are no plots: plots need matplotlib: pip install matplotlib" in page.texts
    assert "the report has no plots" in caplog.text


def test_problems_are_told_with_the_tracker(scored_set, no_plots, tmp_path):
    evaluation = scored_set("OTB100")
    (Path(evaluation.dataset.tracker_path) / BAD / "A.txt").write_text("1,2,<x>,4\n")
    page = page_of(evaluation)
    assert any("<x>" in text and "counted as lost" in text for text in page.texts)
    assert [row[-1] for row in page.rows["scores"]] == ["Problems", "0", "1"]
    assert ("a", {"href": "#problems-1"}) in page.tags
    assert json.loads(page.data)["timelines"]["A"][1] == ""  # nothing could be read


@pytest.mark.parametrize("name", NAMES)
def test_failures_are_shown_where_images_are(scored_set, name):
    evaluation = scored_set(name)
    trackers = evaluation.dataset.tracker_names
    strips = filmstrips(evaluation, trackers, frame_overlaps(evaluation, trackers))
    assert list(strips) == [BAD]
    assert len(strips[BAD]) == 3
    (kind, encoded_image) = strips[BAD][0].image.split(",")
    assert kind == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(encoded_image), np.uint8), 1)
    assert image.shape[1] % FRAMES == 0
    red, green = image[..., 2].astype(int), image[..., 1].astype(int)
    assert np.any((green > 150) & (red < 100))  # ground truth
    assert np.any((green > 150) & (red > 150))  # result
    for video in evaluation.dataset:
        Path(video.img_names[0]).unlink()
    assert filmstrips(evaluation, trackers, frame_overlaps(evaluation, trackers)) == {}


def test_a_strip_says_what_happened(scored_set):
    for name, text in {
        "OTB100": "target lost in frames 9 to 23 of 24",
        "VOT2018": "1 failure in 24 frames, the first in frame 12",
    }.items():
        evaluation = scored_set(name)
        strips = filmstrips(evaluation, [BAD], frame_overlaps(evaluation, [BAD]))
        assert strips[BAD][0].caption == f"A: {text}"


def test_unreadable_images_cost_only_their_strip(scored_set):
    evaluation = scored_set("OTB100")
    Path(evaluation.dataset.videos["A"].img_names[23]).write_text("no image")
    strips = filmstrips(evaluation, [BAD], frame_overlaps(evaluation, [BAD]))
    assert [strip.caption[0] for strip in strips[BAD]] == ["B", "C"]


@pytest.mark.parametrize(
    ("overlaps", "stretch"),
    [
        ([1, 0, 0, 1, 0, 0, 0], (4, 6)),
        ([0, 0, 1, 0.05, 0.1], (0, 1)),
        ([NAN, 0, NAN, 0, 1], (1, 3)),  # what is not scored does not end it
        ([1, 0.11, NAN], None),
        ([], None),
    ],
)
def test_the_longest_loss_is_found(overlaps, stretch):
    assert longest_loss(np.array(overlaps, float)) == stretch


@pytest.mark.parametrize(
    ("regions", "corner", "size"),
    [
        ([[99, 49, 2, 2]], (80, 40), (40, 20)),  # at least a fifth of the frame
        ([[95, 45, 10, 10], [NAN] * 4], (60, 30), (80, 40)),  # four times its height
        ([[0, 0, 5, 5], [195, 95, 5, 5]], (0, 0), (200, 100)),
        ([[180, 80, 15, 15]], (80, 40), (120, 60)),  # within the frame
        ([[95, 45, 105, 45, 105, 55, 95, 55]], (60, 30), (80, 40)),
        ([[NAN] * 4, []], (0, 0), (200, 100)),
    ],
)
def test_strips_show_the_surroundings_of_small_targets(regions, corner, size):
    assert window([np.array(region) for region in regions], (100, 200, 3)) == (corner, size)


def test_overlaps_become_letters():
    assert encoded(np.array([0, 1, NAN, 0.5])) == "A9-e"
    assert encoded(np.empty(0)) == ""
    long = encoded(np.repeat([0.0, 1.0], 10 * POINTS))
    assert long == "A" * (POINTS // 2) + "9" * (POINTS // 2)
    assert encoded(np.r_[np.full(POINTS, NAN), np.zeros(POINTS)]).count("-") == POINTS // 2


def dump(path, fragment):
    """The page after its scripts have run, as Chromium has it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    run = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", f"{path.as_uri()}#{fragment}"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return Page(run.stdout.decode("utf-8"))


@needs_chromium
def test_a_browser_sorts_the_table(scored_set, no_plots, tmp_path):
    write_report(tmp_path / "new", scored_set("VOT2018"), [BAD, GOOD])
    path = tmp_path / "new" / "index.html"
    for fragment, order, sorts in (
        ("sort=scores.eao", [GOOD, BAD], {"none", "descending"}),
        ("sort=scores.lost_number", [GOOD, BAD], {"none", "ascending"}),
    ):
        page = dump(path, fragment)
        assert [row[0] for row in page.rows["scores"][1:]] == order
        assert {attrs["aria-sort"] for tag, attrs in page.tags if "aria-sort" in attrs} == sorts


@needs_chromium
def test_clicks_sort_and_turn_and_the_metric_can_be_chosen(scored_set, no_plots, tmp_path):
    write_report(tmp_path, scored_set("OTB100"), [BAD, GOOD])
    path = tmp_path / "index.html"
    text = path.read_text()
    doings = """const key = document.querySelector('#videos button[data-key="video"]');
        key.click(); key.click();
        const list = document.querySelector('select[data-table="videos"]');
        list.value = "op75"; list.dispatchEvent(new Event("change"));"""
    path.write_text(text.replace("</body>", f"<script>{doings}</script></body>"))
    page = dump(path, "")
    rows = page.rows["videos"][1:]
    assert [row[0] for row in rows] == ["C<i>", "B", "A"]
    assert [row[3] for row in rows] == ["1.000"] * 3  # of the tracker that follows


@needs_chromium
def test_a_browser_shows_a_video(scored_set, no_plots, tmp_path):
    write_report(tmp_path, scored_set("OTB100"), [GOOD, BAD])
    page = dump(tmp_path / "index.html", "open=C%3Ci%3E")
    (dialog,) = (attrs for tag, attrs in page.tags if tag == "dialog")
    assert "open" in dialog
    assert "C<i>" in page.texts
    assert "24 frames · Scale <b>" in page.texts
    paths = [attrs["d"] for tag, attrs in page.tags if tag == "path"]
    assert len(paths) == 2
    assert paths[0].count("L") == 23


def test_without_jinja_the_report_says_what_to_install(scored_set, no_plots, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install Jinja2"):
        report_page(scored_set("OTB100"), [GOOD])
