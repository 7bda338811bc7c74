"""A network without weights that truly compares pictures, and scenes to try trackers on."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from demo.synthetic.scenes import Effects, build_stage
from pysot.core.xcorr import xcorr_fast

CELL = 8  # pixels
SIDE = 7  # cells of the template that are compared: 56 of the target's 64 pixels


class SimilarityModel:
    """Normalized cross-correlation of colors, one anchor, boxes of the anchor's size.

    The class logit is linear in the kernel: GAIN * (correlation - OFFSET).
    """

    GAIN, OFFSET = 20.0, 0.6

    def encode_template(self, z):
        features = F.avg_pool2d(z, CELL)
        start = (features.shape[-1] - SIDE) // 2
        patch = features[:, :, start : start + SIDE, start : start + SIDE]
        patch = patch - patch.mean(dim=(1, 2, 3), keepdim=True)
        kernel = patch / patch.flatten(1).norm(dim=1).clamp(min=1e-6).view(-1, 1, 1, 1)
        return kernel, torch.zeros(len(z), 1)

    def predict(self, kernels, x):
        similarity = self._similarity(kernels[0], F.avg_pool2d(x, CELL))
        logit = self.GAIN * (similarity - self.OFFSET)
        cls = torch.cat([torch.zeros_like(logit), logit], dim=1)
        return cls, torch.zeros_like(cls).repeat(1, 2, 1, 1)

    def _similarity(self, kernel, features):
        ones = torch.ones(1, features.shape[1], SIDE, SIDE)
        count = ones.numel()
        mean = F.conv2d(features, ones) / count
        variance = F.conv2d(features**2, ones) / count - mean**2
        product = xcorr_fast(features, kernel)
        shifted = product - mean * kernel.sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        return shifted / (variance.clamp(min=1e-3) * count).sqrt()


CALM = Effects(
    length=(48, 48), speed=0, zoom=1.0, turn=0.0, squeeze=0.0, bend=0.0, exposure=0.0,
    light=0.0, pan=0.0, kinds=("round",),
)  # fmt: skip


def scripted_scene(seed, paths, turns=None, size=(320, 240), duration=60):
    """Scene whose actors, all of one design, go where they are told.

    Args:
        seed: Of the design and the background.
        paths: Functions of time to the center (x, y), the target's first.
        turns: Functions of time to radians, one per path; without, nothing turns.

    Returns:
        Frames, and the boxes (N, 4) of the target; NaN where it is out of the picture.
    """
    effects = replace(CALM, siblings=len(paths) - 1)
    rng = np.random.default_rng(seed)
    stage = build_stage(rng, effects, size, duration, targets=len(paths))
    actors = list(stage.actors)
    light = actors[stage.watched[0]].figure.light  # on all, so that they are truly alike
    for number, index in enumerate(stage.watched):
        changes = {"path": paths[number], "figure": replace(actors[index].figure, light=light)}
        if turns:
            changes["angle"] = turns[number]
        actors[index] = replace(actors[index], **changes)
    stage = replace(stage, actors=actors, exposure=0.0)
    shots = [stage.shoot(time) for time in range(duration)]
    return [shot.image for shot in shots], np.array([shot.boxes[0] for shot in shots])


def run(tracker, frames, boxes):
    """Track from the first box on; results, and distances of the centers in pixels."""
    tracker.init(frames[0], boxes[0])
    results = [tracker.track(frame) for frame in frames[1:]]
    found = np.array([result["bbox"] for result in results])
    away = found[:, :2] + found[:, 2:] / 2 - boxes[1:, :2] - boxes[1:, 2:] / 2
    return results, np.hypot(*away.T)
