import pytest

from toolkit.io.issues import Issue, IssueLog


def filled():
    log = IssueLog()
    log.note("track of a single frame", "v1, track 0")
    for number in range(5):
        log.add("missing image", f"{number}.jpg", "no such file" if number == 0 else "")
    log.add("box without area", "v1, line 3", [1, 2, 0, 4])
    log.warn("", "v2", "the last 2 boxes are left out")
    return log


def test_issues_keep_their_order_and_level():
    log = filled()
    assert len(log) == 8
    assert next(iter(log)) == Issue("note", "track of a single frame", "v1, track 0")
    assert [issue.where for issue in log.of("error")][:2] == ["0.jpg", "1.jpg"]
    assert [issue.level for issue in log.of("warning", "note")] == ["note", "warning"]
    assert len(IssueLog()) == 0


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match=r"unknown level 'bad'; known: error, warning, note"):
        IssueLog().add("a", "b", level="bad")


def test_logs_are_merged():
    log = IssueLog([Issue("error", "a", "b")])
    log.extend(filled().of("warning"))
    assert [issue.level for issue in log] == ["error", "warning"]


def test_the_summary_counts_kinds_and_shows_some():
    assert list(filled().summary(examples=2)) == [
        "missing image: 5",
        "    0.jpg  no such file",
        "    1.jpg",
        "    and 3 more",
        "box without area: 1",
        "    v1, line 3  [1, 2, 0, 4]",
        "warning: other: 1",
        "    v2  the last 2 boxes are left out",
        "note: track of a single frame: 1",
        "    v1, track 0",
    ]
    assert list(IssueLog().summary()) == []


def test_a_file_holds_all_of_them(tmp_path):
    log = IssueLog()
    log.note("lonely", "v1")
    log.add("missing image", "1.jpg", "gone")
    log.warn("", "v2", "cut")
    log.write(tmp_path / "new" / "problems.txt")
    text = (tmp_path / "new" / "problems.txt").read_text()
    assert text == "missing image: 1.jpg: gone\nwarning: v2: cut\nnote: lonely: v1\n"
