from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from demo.synthetic.figures import JOINTED, RIGID, design, noise, texture
from demo.synthetic.scenes import (
    ATTRIBUTES,
    Actor,
    Effects,
    Stage,
    build_stage,
    effects_of,
    wander,
    wave,
)

SIZE = (80, 60)


@dataclass(frozen=True)
class Square:
    """A figure of one color in the middle of a canvas whose pixels are all its own."""

    length: int
    color: tuple = (0, 0, 200)
    canvas: int = 40

    def pose(self, beat, bend):
        image = np.zeros((self.canvas, self.canvas, 4), np.uint8)
        low = (self.canvas - self.length) // 2
        image[low : low + self.length, low : low + self.length] = (*self.color, 255)
        return image


def constant(value):
    return lambda time: value


def at(x, y):
    return constant(np.array([x, y], float))


def actor(figure, path, length=None, **changes):
    plain = {
        "length": constant(np.log(length or figure.length)),
        "angle": constant(0),
        "squeeze": constant(0),
        "gait": 0.0,
        "bend": 0.0,
    }
    return Actor(figure, path, **{**plain, **changes})


def stage(actors, watched=(0,), **changes):
    """A black scene without light, lens or noise."""
    plain = {
        "size": SIZE,
        "background": np.zeros((SIZE[1] + 20, SIZE[0] + 20, 3), np.uint8),
        "pan": at(0, 0),
        "exposure": 0.0,
        "light": constant(1),
        "noise": np.zeros((SIZE[1], SIZE[0], 3), np.float32),
        "softness": 0.01,
    }
    return Stage(actors=actors, watched=watched, **{**plain, **changes})


def test_box_and_mask_of_a_square_are_its_pixels():
    # 10 pixels wide around x = 24.5: columns 20 ... 29
    shot = stage([actor(Square(10), at(24.5, 34.5))]).shoot(0)
    assert shot.boxes.tolist() == [[20, 30, 10, 10]]
    assert shot.masks[0, 30:40, 20:30].all() and shot.masks.sum() == 100
    assert shot.visible.tolist() == pytest.approx([1.0])
    assert shot.image[35, 25].tolist() == [0, 0, 200] and shot.image[35, 31].max() == 0


def test_box_is_cut_at_the_border_and_the_share_outside_is_not_visible():
    shot = stage([actor(Square(10), at(-1.5, 34.5))]).shoot(0)  # columns -6 ... 3
    assert shot.boxes.tolist() == [[0, 30, 4, 10]]
    assert shot.visible[0] == pytest.approx(0.4)


@pytest.mark.parametrize("place", [(-30.5, 34.5), (200.5, 34.5), (24.5, -9.5), (-4.5, -0.5)])
def test_target_out_of_the_picture_has_no_box(place):  # the last: 5 of 100 pixels are inside
    shot = stage([actor(Square(10), at(*place))]).shoot(0)
    assert np.isnan(shot.boxes).all() and not shot.masks.any() and shot.visible[0] == 0


def test_a_little_more_than_a_tenth_inside_is_enough_for_a_box():
    shot = stage([actor(Square(10), at(-4.5, 34.5), length=9.99)]).shoot(0)
    assert shot.boxes.tolist() == [[0, 30, 1, 10]]


def test_hidden_parts_count_for_the_box_but_not_for_the_mask():
    near = actor(Square(10, (200, 0, 0)), at(29.5, 34.5))  # columns 25 ... 34
    shot = stage([actor(Square(10), at(24.5, 34.5)), near], watched=(0, 1)).shoot(0)
    assert shot.boxes.tolist() == [[20, 30, 10, 10], [25, 30, 10, 10]]
    assert shot.visible.tolist() == pytest.approx([0.5, 1.0])
    assert shot.masks.sum(axis=(1, 2)).tolist() == [50, 100] and not shot.masks.all(axis=0).any()
    assert shot.image[35, 27].tolist() == [200, 0, 0]


def test_size_turn_and_squeeze_move_the_box():
    big = stage([actor(Square(10), at(39.5, 29.5), length=20)]).shoot(0)
    assert big.boxes[0, 2:] == pytest.approx([20, 20], abs=1)
    turned = actor(Square(10), at(39.5, 29.5), angle=constant(np.pi / 4))
    assert stage([turned]).shoot(0).boxes[0, 2:] == pytest.approx([14, 14], abs=1.5)
    thin = actor(Square(20), at(39.5, 29.5), squeeze=constant(np.log(0.5)))
    assert stage([thin]).shoot(0).boxes[0, 2:] == pytest.approx([10, 20], abs=1)


def test_motion_blur_smears_the_image_and_leaves_the_box():
    moving = actor(Square(10), lambda time: np.array([24.5 + 8 * time, 34.5]))
    sharp, blurred = (stage([moving], exposure=e).shoot(0) for e in (0.0, 1.0))
    assert sharp.boxes.tolist() == blurred.boxes.tolist() == [[20, 30, 10, 10]]
    assert sharp.image[35, 18].max() == 0 and blurred.image[35, 18].max() > 20
    assert blurred.image.astype(int).sum() == pytest.approx(sharp.image.astype(int).sum(), rel=0.03)


def test_the_background_moves_under_the_camera():
    background = np.zeros((SIZE[1] + 20, SIZE[0] + 20, 3), np.uint8)
    background[28:33, 38:43] = 255
    pan = lambda time: np.array([10 + 3 * time, 0])  # noqa: E731
    for time in (0, 2, -3):
        shot = stage([actor(Square(2), at(-50, 0))], background=background, pan=pan).shoot(time)
        seen = cv2.boundingRect(shot.image[:, :, 0])
        assert seen == (28 - 3 * time, 28, 5, 5)


def test_light_and_sensor():
    gray = np.full((60, 80, 3), 100, np.uint8)
    dim = stage([actor(Square(2), at(-50, 0))], background=gray, light=constant(0.5))
    assert (dim.shoot(0).image == 50).all()
    rough = np.random.default_rng(0).normal(0, 4, dim.noise.shape).astype(np.float32)
    noisy = [replace(dim, noise=rough).shoot(time).image for time in (0, 1)]
    assert noisy[0].mean() == pytest.approx(50, abs=0.6) and 2 < noisy[0].std() < 6
    assert (noisy[0] != noisy[1]).mean() > 0.5


@pytest.mark.parametrize("kind", RIGID + JOINTED)
def test_every_kind_of_object_is_whole_on_its_canvas(kind):
    rng = np.random.default_rng(3)
    figure = design(rng, (kind,)).painted(rng, 60)
    for beat in (0.0, 1.5, 4.0):
        canvas = figure.pose(beat, 0.02)
        alpha = canvas[:, :, 3]
        assert (alpha >= 128).sum() > 200 and set(np.unique(alpha)) >= {0, 255}
        assert (canvas[:, :, :3].max(axis=2) <= alpha).all()  # premultiplied
        _, _, w, h = cv2.boundingRect((alpha >= 128).astype(np.uint8))
        assert 0.5 < np.sqrt(w * h) / figure.length < 1.6
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert border.max() == 0


def test_only_jointed_kinds_move_their_limbs_and_bending_moves_all():
    rng = np.random.default_rng(0)
    for kind in RIGID + JOINTED:
        figure = design(rng, (kind,)).painted(rng, 60)
        moved = (figure.pose(0.0, 0.0) != figure.pose(1.5, 0.0)).any()
        assert moved == (kind in JOINTED)
        assert (figure.pose(0.0, 0.1) != figure.pose(1.5, 0.1)).any()


def test_aspect_ratios_span_one_to_three_and_more():
    rng = np.random.default_rng(1)
    spans = [
        np.ptp(np.concatenate([p.outline for p in d.pieces]), axis=0) * d.stretch
        for d in (design(rng) for _ in range(200))
    ]
    ratios = [w / h for w, h in spans]
    assert min(ratios) < 0.45 and max(ratios) > 2.2 and min(ratios) > 0.1 and max(ratios) < 8


def test_siblings_share_their_outline_but_not_their_pixels():
    rng = np.random.default_rng(2)
    blob = design(rng, ("blob",))
    first, second = (blob.painted(rng, 60).pose(0, 0) for _ in range(2))
    np.testing.assert_array_equal(first[:, :, 3], second[:, :, 3])
    assert (first[:, :, :3] != second[:, :, :3]).any()


def test_noise_has_unit_deviation_and_textures_vary():
    rng = np.random.default_rng(0)
    field = np.concatenate([noise(rng, (200, 150), 30, 0.5) for _ in range(8)])
    assert abs(field.mean()) < 0.15 and 0.7 < field.std() < 1.3
    surfaces = [texture(rng, (40, 30), muted=bool(i % 2)) for i in range(12)]
    assert all(s.shape == (30, 40, 3) and s.dtype == np.uint8 for s in surfaces)
    assert np.std([s.mean() for s in surfaces]) > 5 and np.median([s.std() for s in surfaces]) > 5


@pytest.mark.parametrize("step", [2, 4, 12])
def test_walks_keep_their_speed_and_stay_inside(step):
    rng = np.random.default_rng(step)
    for _ in range(10):
        path = wander(rng, (320, 240), 60, step, 30, leaves=False)
        points = np.array([path(t) for t in range(60)])
        assert (points > 0).all() and (points < (320, 240)).all()
        speed = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert np.median(speed) == pytest.approx(step, rel=0.25) and speed.max() < 2 * step


def test_walk_that_leaves_is_out_of_sight_in_between_and_back_at_the_end():
    for seed in range(10):
        path = wander(np.random.default_rng(seed), (320, 240), 60, 3, 30, leaves=True)
        beyond = [t for t in range(60) if not -30 < path(t)[0] < 350]
        assert 5 < len(beyond) < 25 and beyond[0] > 8 and beyond[-1] < 50


def test_wave():
    swing = wave(np.random.default_rng(0), 2, (4, 4), 1)
    values = [swing(t) for t in range(4)]
    assert np.mean(values) == pytest.approx(1) and swing(5) == pytest.approx(values[1])
    assert np.hypot(values[0] - 1, values[1] - 1) == pytest.approx(2)  # a quarter apart


# -------------------------------------------------------------------------------- whole scenes


def scene(name, seed=5):
    return build_stage(np.random.default_rng(seed), effects_of([name]), (240, 180), 40)


TIMES = range(0, 40, 2)


@pytest.fixture(scope="module")
def videos():
    return {name: [scene(name).shoot(time) for time in TIMES] for name in ATTRIBUTES}


def boxes_of(video):
    return np.array([shot.boxes[0] for shot in video])


def test_same_seed_same_scene_other_seed_other_scene(videos):
    name = ATTRIBUTES[0]
    again, other = (scene(name, seed).shoot(TIMES[3]) for seed in (5, 6))
    np.testing.assert_array_equal(again.image, videos[name][3].image)
    np.testing.assert_array_equal(again.boxes, videos[name][3].boxes)
    assert (other.image != again.image).mean() > 0.5


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_frames_have_a_box_and_a_mask_that_agree(videos, name):
    for shot in videos[name]:
        assert shot.image.shape == (180, 240, 3) and shot.image.dtype == np.uint8
        assert shot.masks.shape == (1, 180, 240) and shot.boxes.dtype == np.float64
        if np.isnan(shot.boxes).all():
            assert not shot.masks.any()
            continue
        x, y, w, h = shot.boxes[0].astype(int)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 240 and y + h <= 180
        assert shot.masks.sum() == shot.masks[0, y : y + h, x : x + w].sum()  # lies in the box


def test_target_moves(videos):
    for video in videos.values():
        centers = boxes_of(video)[:, :2] + boxes_of(video)[:, 2:] / 2
        assert np.nanmax(np.linalg.norm(centers - centers[0], axis=1)) > 25


def test_only_out_of_view_targets_are_absent(videos):
    for name, video in videos.items():
        assert np.isnan(boxes_of(video)).any() == (name == "Out-of-View")
    gone = np.flatnonzero(np.isnan(boxes_of(videos["Out-of-View"])[:, 0]))
    assert TIMES[gone[0]] > 3 and gone[-1] < len(TIMES) - 1  # it comes back


def test_difficulties_are_there(videos):
    def areas(name):
        return np.nanprod(boxes_of(videos[name])[:, 2:], axis=1)

    def steps(name):
        return np.linalg.norm(np.diff(boxes_of(videos[name])[:, :2], axis=0), axis=1)

    assert areas("Scale Variation").max() > 2 * areas("Scale Variation").min()
    assert np.median(steps("Fast Motion")) > 2 * np.median(steps("Deformation"))
    dark, bright = np.percentile(
        [s.image.mean() for s in videos["Illumination Variation"]], [0, 100]
    )
    assert bright > 1.4 * dark
    assert np.sqrt(np.median(areas("Low Resolution"))) < 22
    filled = np.array([s.masks.sum() for s in videos["Occlusion"]]) / areas("Occlusion")
    assert filled.min() < 0.35 * filled.max()


def test_harder_speed_wins_in_any_order():
    names = ["Fast Motion", "Motion Blur"]
    assert effects_of(names) == effects_of(names[::-1])
    assert effects_of(names) == Effects(speed=13.0, exposure=1.1)


def test_stage_watches_as_many_targets_as_asked():
    rng = np.random.default_rng(0)
    clutter = build_stage(rng, effects_of(["Background Clutters"]), (160, 120), 30, targets=3)
    shot = clutter.shoot(3.0)
    assert shot.boxes.shape == (3, 4) and shot.masks.shape == (3, 120, 160)
    assert len(clutter.actors) == 4  # the target and three siblings


def test_frames_can_be_shot_in_any_order():
    plain = build_stage(np.random.default_rng(1), effects_of([]), (160, 120), 30)
    late, early = plain.shoot(20), plain.shoot(4)
    np.testing.assert_array_equal(plain.shoot(20).image, late.image)
    assert (late.image != early.image).any()


def test_actor_knows_its_area_outside_the_picture():
    solid, area = actor(Square(10), at(-100.5, 400.5)).draw_on(np.zeros((60, 80, 3), np.uint8), 0)
    assert area == pytest.approx(100) and not solid.any()
