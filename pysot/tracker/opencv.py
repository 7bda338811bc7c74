"""OpenCV's trackers, for ``pysot test --tracker pysot.tracker.opencv:MIL`` and the like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2


@dataclass(frozen=True)
class OpenCVFactory:
    """Makes one of OpenCV's trackers; a ``replace`` of it may name other ``files``."""

    kind: str
    files: Mapping[str, str] = field(default_factory=dict)  # paths by name of the parameter
    deterministic: bool = True  # whether two runs are alike

    def __call__(self) -> Any:
        """Return a new tracker.

        Raises:
            FileNotFoundError: If one of its files is missing.
            ImportError: If this build of OpenCV is without it.
        """
        create = getattr(cv2, f"Tracker{self.kind}_create", None)
        if create is None:
            raise ImportError(
                f"this OpenCV ({cv2.__version__}) has no Tracker{self.kind}: pip install "
                "opencv-contrib-python, in place of opencv-python"
            )
        if not self.files:
            return create()
        for name, path in self.files.items():
            if not Path(path).is_file():
                raise FileNotFoundError(f"{name} of OpenCV's {self.kind} tracker not found: {path}")
        params = getattr(cv2, f"Tracker{self.kind}_Params")()
        for name, path in self.files.items():
            setattr(params, name, path)
        return create(params)

    def record(self) -> dict[str, Any]:
        """Return OpenCV's version and the digests of the files."""
        contents = {name: Path(path).read_bytes() for name, path in self.files.items()}
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        return {"opencv": cv2.__version__, "sha256": digests}


MIL = OpenCVFactory("MIL", deterministic=False)  # its seed cannot be set
CSRT = OpenCVFactory("CSRT")
KCF = OpenCVFactory("KCF")
Nano = OpenCVFactory("Nano", files={"backbone": "backbone.onnx", "neckhead": "neckhead.onnx"})
