from dataclasses import replace

import numpy as np
import pytest

from toolkit.synthetic import ATTRIBUTES, build_stage, contact_sheet, effects_of, make_video
from toolkit.synthetic.motion import KNOT_FRAMES, Wave, random_wave, spline, wander
from toolkit.synthetic.puppets import (
    JOINTED,
    RIGID,
    Layer,
    Puppet,
    blend_over,
    build_puppet,
    draw_design,
)
from toolkit.synthetic.stage import NOISE_SLACK, Actor, Camera, Stage, draw_actor
from toolkit.synthetic.textures import noise, texture

STILL = Wave(0, 0, 0)
SIZE = (80, 60)


def square_puppet(side, canvas=40, colour=(0, 0, 200)):
    """A square in the middle of a canvas whose pixels are all its own."""
    image = np.zeros((canvas, canvas, 4), np.uint8)
    low = (canvas - side) // 2
    image[low : low + side, low : low + side] = (*colour, 255)
    return Puppet((Layer(image, None, 0.0, 0.0),), float(side))


def actor(puppet, path, length=None, **changes):
    plain = {
        "length": Wave(0, 0, 0, float(np.log(length or puppet.length))),
        "angle": STILL,
        "squeeze": STILL,
        "gait": 0.0,
        "bend": 0.0,
        "gain": Wave(0, 0, 0, 1.0),
    }
    return Actor(puppet, path, **{**plain, **changes})


def stage(actors, watched=(0,), exposure=0.0, **changes):
    """A black scene without light, lens or noise."""
    plain = {
        "background": np.zeros((SIZE[1], SIZE[0], 4), np.uint8),
        "camera": Camera(lambda time: np.array([39.5, 29.5]), STILL, STILL, SIZE),
        "shadow": (0, 0, 0),
        "gains": (Wave(0, 0, 0, 1.0),) * 3,
        "glow": None,
        "noise": np.zeros((SIZE[1] + NOISE_SLACK, SIZE[0] + NOISE_SLACK, 3), np.uint8),
        "softness": 0.0,
    }
    return Stage(actors=actors, watched=watched, exposure=exposure, **{**plain, **changes})


def at(x, y):
    return lambda time: np.array([x, y], float)


def test_box_and_mask_of_a_square_are_its_pixels():
    # 10 pixels wide around x = 24.5: columns 20 ... 29
    shot = stage([actor(square_puppet(10), at(24.5, 34.5))]).shoot(0)
    assert shot.boxes.tolist() == [[20, 30, 10, 10]]
    assert shot.masks[0, 30:40, 20:30].all() and shot.masks.sum() == 100
    assert shot.visible.tolist() == [1.0]
    assert shot.image[35, 25].tolist() == [0, 0, 200] and shot.image[35, 31].max() == 0


def test_box_is_cut_at_the_border_and_the_share_outside_is_not_visible():
    shot = stage([actor(square_puppet(10), at(-1.5, 34.5))]).shoot(0)  # columns -6 ... 3
    assert shot.boxes.tolist() == [[0, 30, 4, 10]]
    assert shot.visible[0] == pytest.approx(0.4)


@pytest.mark.parametrize("place", [(-30.5, 34.5), (200.5, 34.5), (24.5, -9.5), (-4.5, -0.5)])
def test_target_out_of_the_picture_has_no_box(place):  # the last: 5 of 100 pixels are inside
    shot = stage([actor(square_puppet(10), at(*place))]).shoot(0)
    assert np.isnan(shot.boxes).all() and not shot.masks.any() and shot.visible[0] == 0


def test_a_tenth_inside_is_enough_for_a_box():
    shot = stage([actor(square_puppet(10), at(-4.5, 34.5))]).shoot(0)
    assert shot.boxes.tolist() == [[0, 30, 1, 10]]


def test_hidden_parts_count_for_the_box_but_not_for_the_mask():
    near = actor(square_puppet(10, colour=(200, 0, 0)), at(29.5, 34.5))  # columns 25 ... 34
    shot = stage([actor(square_puppet(10), at(24.5, 34.5)), near], watched=(0, 1)).shoot(0)
    assert shot.boxes.tolist() == [[20, 30, 10, 10], [25, 30, 10, 10]]
    assert shot.visible.tolist() == [0.5, 1.0]
    assert shot.masks.sum(axis=(1, 2)).tolist() == [50, 100] and not shot.masks.all(axis=0).any()
    assert shot.image[35, 27].tolist() == [200, 0, 0]


def test_size_turn_and_squeeze_move_the_box():
    big = stage([actor(square_puppet(10), at(39.5, 29.5), length=20)]).shoot(0)
    assert big.boxes[0, 2:] == pytest.approx([20, 20], abs=1)
    turned = actor(square_puppet(10), at(39.5, 29.5), angle=Wave(0, 0, 0, np.pi / 4))
    assert stage([turned]).shoot(0).boxes[0, 2:] == pytest.approx([14, 14], abs=1.5)
    thin = actor(square_puppet(20), at(39.5, 29.5), squeeze=Wave(0, 0, 0, np.log(0.5)))
    assert stage([thin]).shoot(0).boxes[0, 2:] == pytest.approx([10, 20], abs=1)


def test_motion_blur_smears_the_image_and_leaves_the_box():
    moving = actor(square_puppet(10), lambda time: np.array([24.5 + 8 * time, 34.5]))
    sharp, blurred = (stage([moving], exposure=e).shoot(0) for e in (0.0, 1.0))
    assert sharp.boxes.tolist() == blurred.boxes.tolist() == [[20, 30, 10, 10]]
    assert sharp.image[35, 18].max() == 0 and blurred.image[35, 18].max() > 20
    assert blurred.image.astype(int).sum() == pytest.approx(sharp.image.astype(int).sum(), rel=0.03)


def test_actor_anchored_to_the_background_moves_with_it():
    background = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    background[28:33, 38:43] = 255
    camera = Camera(lambda t: np.array([39.5 + 6 * t, 29.5]), STILL, STILL, SIZE)
    follow = actor(square_puppet(5, canvas=21), camera.follow(np.array([40.0, 30.0])))
    for time in (0, 2, -3):
        shot = stage([follow], camera=camera, background=background).shoot(time)
        assert shot.boxes[0].tolist() == [38 - 6 * time, 28, 5, 5]
        assert shot.image.max(axis=2).astype(bool).sum() == 25  # nothing sticks out behind it


def test_light_lens_and_sensor():
    grey = np.full((60, 80, 4), 100, np.uint8)
    dim = stage(
        [actor(square_puppet(2), at(-50, 0))], background=grey, gains=(Wave(0, 0, 0, 0.5),) * 3
    )
    assert (dim.shoot(0).image == 50).all()
    shade = np.ones((60, 80), np.float32)
    shade[:, :40] = 0.5
    lit = replace(dim, glow=shade).shoot(0).image
    assert (lit[:, :40] == 25).all() and (lit[:, 40:] == 50).all()
    rough = np.random.default_rng(0).integers(0, 9, dim.noise.shape, np.uint8)
    noisy = [replace(dim, noise=rough).shoot(time).image for time in (0, 1)]
    assert noisy[0].mean() == pytest.approx(50, abs=0.5) and 2 < noisy[0].std() < 6
    assert (noisy[0] != noisy[1]).mean() > 0.5


def test_shadow_darkens_the_ground_beside_an_actor():
    grey = np.full((60, 80, 4), 100, np.uint8)
    shot = stage([actor(square_puppet(10), at(24.5, 34.5))], background=grey, shadow=(12, 0, 0.5))
    image = shot.shoot(0).image
    assert image[35, 36].tolist() == pytest.approx([50] * 3, abs=2)
    assert image[35, 25].tolist() == [0, 0, 200] and image[35, 60].tolist() == [100] * 3


@pytest.mark.parametrize("kind", RIGID + JOINTED)
def test_every_kind_of_object_is_whole_on_its_canvas(kind):
    rng = np.random.default_rng(3)
    puppet = build_puppet(rng, draw_design(rng, (kind,)), 60)
    for beat in (0.0, 1.5, 4.0):
        canvas = puppet.pose(beat)
        alpha = canvas[:, :, 3]
        assert (alpha >= 128).sum() > 200 and set(np.unique(alpha)) >= {0, 255}
        assert (canvas[:, :, :3].max(axis=2) <= alpha).all()  # premultiplied
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert border.max() == 0


def test_only_jointed_kinds_move_their_limbs():
    rng = np.random.default_rng(0)
    for kind in RIGID + JOINTED:
        puppet = build_puppet(rng, draw_design(rng, (kind,)), 60)
        moved = (puppet.pose(0.0) != puppet.pose(1.5)).any()
        assert moved == (kind in JOINTED)


def test_aspect_ratios_span_one_to_three_and_more():
    rng = np.random.default_rng(1)
    spans = [
        np.ptp(np.concatenate([p.outline for p in d.pieces]), axis=0) * d.stretch
        for d in (draw_design(rng) for _ in range(200))
    ]
    ratios = [w / h for w, h in spans]
    assert min(ratios) < 0.45 and max(ratios) > 2.2 and min(ratios) > 0.1 and max(ratios) < 8


def test_siblings_share_their_outline_but_not_their_pixels():
    rng = np.random.default_rng(2)
    design = draw_design(rng, ("blob",))
    first, second = (build_puppet(rng, design, 60).pose(0) for _ in range(2))
    np.testing.assert_array_equal(first[:, :, 3], second[:, :, 3])
    assert (first[:, :, :3] != second[:, :, :3]).any()


def test_blending_mixes_by_alpha():
    below = np.full((1, 3, 3), 100, np.uint8)
    above = np.array([[[0, 0, 0, 0], [50, 0, 0, 128], [9, 9, 9, 255]]], np.uint8)
    # the middle keeps 127 / 255 of 100 = 50
    assert blend_over(below, above).tolist() == [[[100] * 3, [100, 50, 50], [9] * 3]]


def test_noise_has_unit_deviation_and_textures_vary():
    rng = np.random.default_rng(0)
    field = np.concatenate([noise(rng, 200, 150, 30, 0.5) for _ in range(8)])
    assert abs(field.mean()) < 0.15 and 0.7 < field.std() < 1.3
    surfaces = [texture(rng, 40, 30, muted=bool(i % 2)) for i in range(12)]
    assert all(s.shape == (30, 40, 3) and s.dtype == np.uint8 for s in surfaces)
    assert np.std([s.mean() for s in surfaces]) > 5 and np.median([s.std() for s in surfaces]) > 5


def test_spline_passes_its_knots_and_rests_at_its_ends():
    knots = np.array([[0.0, 0], [10, 5], [20, -5], [5, 5]])
    path = spline(knots)
    for i, knot in enumerate(knots):
        np.testing.assert_allclose(path(i * KNOT_FRAMES), knot)
    np.testing.assert_allclose(path(-5), knots[0])
    np.testing.assert_allclose(path(1000), knots[-1])
    even = spline(np.array([[0.0, 0], [8, 0], [16, 0], [24, 0]]))
    np.testing.assert_allclose([even(t)[0] for t in (8, 10, 13, 16)], [8, 10, 13, 16])


@pytest.mark.parametrize("step", [2, 4, 12])
def test_walks_keep_their_speed_and_stay_inside(step):
    rng = np.random.default_rng(step)
    for _ in range(10):
        path = wander(rng, (320, 240), 60, step, margin=30)
        points = np.array([path(t) for t in range(60)])
        assert (points > 0).all() and (points < (320, 240)).all()
        speed = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert np.median(speed) == pytest.approx(step, rel=0.25) and speed.max() < 2 * step


def test_walk_that_leaves_is_out_of_sight_in_between_and_back_at_the_end():
    for seed in range(10):
        path = wander(np.random.default_rng(seed), (320, 240), 60, 3, margin=30, leaves=True)
        beyond = [t for t in range(60) if not -30 < path(t)[0] < 350]
        assert 5 < len(beyond) < 25 and beyond[0] > 8 and beyond[-1] < 50


def test_wave():
    wave = Wave(amplitude=2, rate=np.pi / 2, phase=0, mean=1)
    assert [wave(t) for t in (0, 1, 3)] == pytest.approx([1, 3, -1])
    assert abs(random_wave(np.random.default_rng(0), 3)(17)) <= 3


# -------------------------------------------------------------------------------- whole videos


@pytest.fixture(scope="module")
def videos():
    return {name: make_video(5, 40, [name], (240, 180)) for name in ATTRIBUTES}


def test_same_seed_same_video_other_seed_other_video(videos):
    name = ATTRIBUTES[0]
    again, other = (make_video(seed, 40, [name], (240, 180)) for seed in (5, 6))
    np.testing.assert_array_equal(again.frames, videos[name].frames)
    np.testing.assert_array_equal(again.boxes, videos[name].boxes)
    assert (np.array(other.frames) != np.array(again.frames)).mean() > 0.5


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_videos_have_a_box_and_a_mask_per_frame_that_agree(videos, name):
    video = videos[name]
    assert len(video.frames) == len(video.boxes) == len(video.masks) == 40
    assert video.frames[0].shape == (180, 240, 3) and video.masks.shape == (40, 180, 240)
    assert video.attributes == (name,) and video.boxes.dtype == np.float64
    for box, mask in zip(video.boxes, video.masks, strict=True):
        if np.isnan(box).all():
            assert not mask.any()
            continue
        x, y, w, h = box.astype(int)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 240 and y + h <= 180
        assert mask.sum() == mask[y : y + h, x : x + w].sum()  # visible pixels lie in the box


def test_target_is_in_sight_at_first(videos):
    for video in videos.values():
        box = video.boxes[0]
        assert np.isfinite(box).all() and video.masks[0].sum() > 0.15 * box[2] * box[3]


def test_target_moves(videos):
    for video in videos.values():
        centres = video.boxes[:, :2] + video.boxes[:, 2:] / 2
        assert np.nanmax(np.linalg.norm(centres - centres[0], axis=1)) > 25


def absent(video):
    return np.isnan(video.boxes[:, 0])


def test_only_out_of_view_targets_are_absent(videos):
    for name, video in videos.items():
        assert absent(video).any() == (name == "Out-of-View")
    gone = np.flatnonzero(absent(videos["Out-of-View"]))
    assert gone[0] > 3 and gone[-1] < 39  # it comes back


def test_difficulties_are_there(videos):
    def areas(name):
        return np.nanprod(videos[name].boxes[:, 2:], axis=1)

    def steps(name):
        return np.linalg.norm(np.diff(videos[name].boxes[:, :2], axis=0), axis=1)

    def light(name):
        return np.array([frame.mean() for frame in videos[name].frames])

    assert areas("Scale Variation").max() > 2 * areas("Scale Variation").min()
    assert np.median(steps("Fast Motion")) > 2 * np.median(steps("Deformation"))
    dark, bright = np.percentile(light("Illumination Variation"), [0, 100])
    assert bright > 1.4 * dark
    assert np.sqrt(np.median(areas("Low Resolution"))) < 22
    filled = videos["Occlusion"].masks.sum(axis=(1, 2)) / areas("Occlusion")
    assert filled.min() < 0.35 * filled.max()


def test_first_seed_numbers_tell_streams_apart():
    train, test = (make_video((split, 1, 0), 1, size=(160, 120)) for split in (0, 1))
    assert (train.frames[0] != test.frames[0]).mean() > 0.5


def test_unknown_attribute_is_named():
    with pytest.raises(ValueError, match="unknown attribute 'Fog'; known: Background Clutters, "):
        make_video(0, 2, ["Fog"])


def test_harder_speed_wins_in_any_order():
    names = ["Fast Motion", "Motion Blur"]
    assert effects_of(names) == effects_of(names[::-1])


def test_stage_watches_as_many_targets_as_asked():
    rng = np.random.default_rng(0)
    scene = build_stage(rng, effects_of(["Background Clutters"]), (160, 120), 30, num_targets=3)
    shot = scene.shoot(3.0)
    assert shot.boxes.shape == (3, 4) and shot.masks.shape == (3, 120, 160)
    assert len(scene.actors) == 4  # the target and three siblings


def test_frames_can_be_shot_in_any_order():
    scene = build_stage(np.random.default_rng(1), effects_of([]), (160, 120), 30)
    late, early = scene.shoot(20), scene.shoot(4)
    np.testing.assert_array_equal(scene.shoot(20).image, late.image)
    assert (late.image != early.image).any()


def test_contact_sheet_draws_boxes_and_fills_up():
    frames = [np.zeros((10, 12, 3), np.uint8)] * 3
    boxes = [np.array([3, 3, 4, 4.0]), np.full(4, np.nan), np.array([0, 0, 5, 5.0])]
    sheet = contact_sheet(frames, boxes, columns=2)
    assert sheet.shape == (20, 24, 3)
    assert sheet[2, 2].tolist() == [0, 255, 255] and sheet[4, 4].max() == 0  # around the box
    assert sheet[:10, 12:].max() == 0 and frames[0].max() == 0  # no box; the frame is untouched


def test_actor_is_drawn_whole_outside_the_picture():
    stamp = draw_actor(actor(square_puppet(10), at(-100.5, 400.5)), 0, 0)
    assert stamp.solid.sum() == 100
    centre = np.argwhere(stamp.solid).mean(0)[::-1] + stamp.corner
    np.testing.assert_allclose(centre, [-100.5, 400.5])
