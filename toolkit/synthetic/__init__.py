"""Short videos with exact boxes and masks, made from a seed.

``make_video`` makes one video of one target; ``build_stage`` sets a scene of several, to be shot at
any time. Equal arguments give equal pixels on one version of OpenCV.
"""

from toolkit.synthetic.scenes import (
    ATTRIBUTES,
    Effects,
    SyntheticVideo,
    build_stage,
    contact_sheet,
    effects_of,
    make_video,
)
from toolkit.synthetic.stage import Shot

__all__ = [
    "ATTRIBUTES",
    "Effects",
    "Shot",
    "SyntheticVideo",
    "build_stage",
    "contact_sheet",
    "effects_of",
    "make_video",
]
