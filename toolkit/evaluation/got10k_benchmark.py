"""GOT-10k: average overlap and success rates over all frames in which the target can be seen.

Definitions follow Huang et al., "GOT-10k" (PAMI 2019) and its toolkit: the first frame and those
with cover 0 are left out, all repetitions count, frames of all videos are pooled, and both boxes
are limited to the frame: first their position, then, by what remains, their size. (A box that
sticks out on the left or at the top is thus pushed in, not cut. Published numbers contain it.)
"""

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.gathering import Gathered
from toolkit.evaluation.report import Column
from toolkit.evaluation.scores import Curve, Measures
from toolkit.utils.statistics import overlap_ratio

THRESHOLDS = np.linspace(0, 1, 101)
RATES = {"sr50": 0.5, "sr75": 0.75}


class GOT10kBenchmark(Evaluation):
    """Average overlap (AO) and success rates (SR) of GOT-10k's training and validation sets.

    Args:
        dataset: The videos and the trackers' names and folder.
        incomplete: See `Evaluation`; with ``lost`` a frame without a result has overlap 0.
        strict: Changes nothing here.
    """

    key = "ao"
    headlines = ("ao", "sr50", "sr75")
    columns = (Column("AO", 7, "ao", low=0.5), Column("SR@0.50", 9, "sr50", low=0.5))

    def measure(self, results: Gathered) -> Measures:
        """Sum of overlaps, frames (V,), and frames above the thresholds of ``THRESHOLDS``."""
        sums: dict[str, list] = {"overlap": [], "frames": [], "above": [], "sr50": [], "sr75": []}
        for name, runs in results.runs.items():
            values = np.concatenate(
                [visible_overlaps(self.dataset.videos[name], run.boxes) for run in runs]
            )
            values = values[~np.isnan(values)]
            sums["overlap"].append(values.sum())
            sums["frames"].append(len(values))
            ordered = np.sort(values)
            sums["above"].append(len(values) - np.searchsorted(ordered, THRESHOLDS, side="right"))
            for rate, threshold in RATES.items():
                sums[rate].append(np.count_nonzero(values > threshold))
        return Measures(list(results.runs), {name: np.array(rows) for name, rows in sums.items()})

    def combine(self, measures: Measures, weights: NDArray) -> dict[str, NDArray]:
        """AO and SR (B,); frames have equal weight."""
        sums = {name: weights @ measures.sums[name] for name in ("overlap", *RATES, "frames")}
        frames = sums.pop("frames")
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"ao": sums.pop("overlap") / frames, **{m: sums[m] / frames for m in RATES}}

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Share of the frames whose overlap exceeds each of 101 thresholds."""
        frames = max(int(measures.sums["frames"].sum()), 1)
        return {"success": Curve(THRESHOLDS, measures.sums["above"].sum(axis=0) / frames)}

    def frame_overlaps(self, tracker: str, video: str) -> NDArray:
        """Overlap (N,) of each frame of the first run, NaN where it is not scored; read anew."""
        found = self.dataset.videos[video]
        return visible_overlaps(found, self.read(tracker, video)[0].boxes)


def visible_overlaps(video: Video, boxes: NDArray) -> NDArray:
    """Overlap (N,) of boxes (N, 4) with the ground truth, both limited to the frame.

    NaN in the first frame and where the target is not visible, 0 where there is no box.
    """
    truth = video.boxes[: len(boxes)]
    values = np.nan_to_num(overlap_ratio(limited(truth, video), limited(boxes, video)))
    visible = (truth[:, 2:] > 0).all(axis=1)
    if video.cover is not None:
        visible &= np.array(video.cover[: len(boxes)]) > 0
    visible[:1] = False
    return np.where(visible, values, np.nan)


def limited(boxes: NDArray, video: Video) -> NDArray:
    """Boxes (N, 4) limited to the frame of a video, position before size."""
    size = np.array([video.width, video.height], np.float64)
    corner = np.clip(boxes[:, :2], 0, size)
    return np.concatenate([corner, np.clip(boxes[:, 2:4], 0, size - corner)], axis=1)
