import pytest
import torch

from pysot.core.registry import NECKS


def adjust(**kwargs):
    torch.manual_seed(0)
    return NECKS.build("AdjustLayer", in_channels=3, out_channels=4, **kwargs).eval()


@pytest.mark.parametrize(
    ("width", "center_size", "start"),
    [
        (15, 7, 4),  # ResNet's template
        (15, 6, 4),  # odd rest: one cell more on the far side
        (31, 7, 12),  # of any width
        (7, 7, 0),
    ],
)
@torch.inference_mode()
def test_template_maps_are_cut_to_their_center(width, center_size, start):
    neck = adjust(center_size=center_size)
    x = torch.rand(2, 3, width, width)
    stop = start + center_size
    whole = neck.downsample(x)
    torch.testing.assert_close(neck(x, extra=0), whole[:, :, start:stop, start:stop])


@torch.inference_mode()
@pytest.mark.parametrize("width", [5, 15, 31])
def test_search_maps_stay_whole(width):
    assert adjust()(torch.rand(1, 3, width, width), None).shape == (1, 4, width, width)


def test_a_map_smaller_than_the_center_is_refused():
    with pytest.raises(ValueError, match=r"ADJUST\.KWARGS\.center_size: a map of 6 cells"):
        adjust()(torch.rand(1, 3, 6, 6), extra=0)


@torch.inference_mode()
def test_levels_have_names_and_layers_of_their_own():
    neck = NECKS.build("AdjustAllLayer", in_channels=[3, 5], out_channels=[4, 6]).eval()
    assert [name for name, _ in neck.named_children()] == ["downsample2", "downsample3"]
    maps = [torch.rand(1, 3, 15, 15), torch.rand(1, 5, 31, 31)]
    out = neck(maps, extra=0)
    assert [tuple(m.shape) for m in out] == [(1, 4, 7, 7), (1, 6, 7, 7)]
    torch.testing.assert_close(out[1], neck.downsample3(maps[1], extra=0))


def test_a_single_level_is_no_list():
    neck = NECKS.build("AdjustAllLayer", in_channels=[3], out_channels=[4], center_size=5)
    assert [name for name, _ in neck.named_children()] == ["downsample"]
    assert neck(torch.rand(1, 3, 15, 15), extra=0).shape == (1, 4, 5, 5)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "words"),
    [
        ("AdjustLayer", [1024], 256, r"in_channels: AdjustLayer takes one number, found \[1024\]"),
        ("AdjustLayer", 1024, [256], "out_channels: AdjustLayer takes one number"),
        ("AdjustAllLayer", 1024, 256, "lists of one length, found 1024 and 256"),
        ("AdjustAllLayer", [8, 9], [8], "lists of one length"),
        ("AdjustAllLayer", [], [], "lists of one length"),
    ],
)
def test_channels_of_the_wrong_kind_are_refused(name, inputs, outputs, words):
    with pytest.raises(ValueError, match=words):
        NECKS.build(name, in_channels=inputs, out_channels=outputs)


@torch.inference_mode()
def test_a_narrow_search_map_loses_as_much_of_its_border_as_the_template():
    neck = adjust()
    x = torch.rand(1, 3, 17, 17)  # of 143 pixels: two cells more than the template's 15
    whole = neck.downsample(x)
    assert torch.equal(neck(x, extra=2), whole[:, :, 4:13, 4:13])
