import cv2
import numpy as np
import pytest
from training_crops import boxless_config, tiny_config, write_training_set

from pysot.cli.visualize import main
from pysot.datasets.anchor_target import BOX, NEGATIVE


@pytest.fixture
def folder(tmp_path):
    write_training_set(tmp_path)
    return tmp_path


def draw(folder, *argv, config=tiny_config):
    path = folder / "new" / "pairs.png"
    main(["--cfg", str(config(folder)), "--output", str(path), "--pairs", "5", *argv])
    return cv2.imread(str(path))


def drawn(image, color):
    return int((image == color).all(axis=2).sum())


def test_a_sheet_shows_pairs_with_their_boxes(folder, capsys):
    plain = ["DATASET.NEG", "0.0", "DATASET.SEARCH.COLOR", "0", "DATASET.TEMPLATE.COLOR", "0"]
    image = draw(folder, *plain)
    assert image.shape == (2 * 259, 4 * (127 + 255 + 4), 3)  # five pairs, four in a row
    assert drawn(image, BOX) > 5 * 100
    assert drawn(image[:259, :386, :], BOX) < drawn(image[:259], BOX)
    assert not image[259:, 386:].any()  # the rest of the last row
    assert "5 pairs of epoch 1, 0 without a target" in capsys.readouterr().out


def test_pairs_of_two_objects_have_a_frame(folder, capsys):
    image = draw(folder, "DATASET.NEG", "1.0")
    assert tuple(image[0, 0]) == NEGATIVE
    assert "5 without a target" in capsys.readouterr().out


def test_other_epochs_and_heads(folder):
    first, second = draw(folder), draw(folder, "--epoch", "2")
    assert not np.array_equal(first, second)
    assert np.array_equal(first, draw(folder))
    draw(folder, config=boxless_config)


def test_a_name_that_is_no_image_is_refused(folder):
    with pytest.raises(ValueError, match="ends in"):
        main(["--cfg", str(tiny_config(folder)), "--output", str(folder / "pairs.txt")])
