import json
from pathlib import Path

import numpy as np
import pytest

MODELS = Path(__file__).parents[1] / "golden" / "models"


@pytest.fixture(scope="session")
def geometry():
    """Recorded cases and arrays of box, crop and correlation arithmetic."""
    with np.load(MODELS / "geometry.npz") as arrays:
        return json.loads((MODELS / "geometry.json").read_text()), dict(arrays)
