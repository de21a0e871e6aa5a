"""Pictures to keypoints with descriptors, as plain arrays that can be kept on disk: ORB and SIFT of OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from diptych.photos.images import read_image

# Below this the detectors' own filters do not fit into the picture.
_SHORTEST_SIDE = 16


@dataclass(frozen=True, eq=False)
class Features:
    """The keypoints of one picture, in the detector's order, which is the same on every run.

    Attributes:
        points: (N, 2) float32, x and y in pixels of the described picture.
        sizes: (N,) float32, diameters in pixels.
        angles: (N,) float32, degrees.
        descriptors: (N, D) uint8. ORB: 256 bits in 32 bytes. SIFT: 128 values, which OpenCV rounds to bytes before it
            hands them out as floats, so that nothing is lost.
        width: Of the described picture, in pixels.
        height: Of the described picture, in pixels.
    """

    points: np.ndarray
    sizes: np.ndarray
    angles: np.ndarray
    descriptors: np.ndarray
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.points)

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Everything in two arrays, under `name.keypoints` (N, 4) float32 and `name.descriptors`, and the size."""
        keypoints = np.column_stack([self.points, self.sizes, self.angles]).astype(np.float32)
        size = np.array([self.width, self.height], np.int32)
        return {f"{name}.keypoints": keypoints, f"{name}.descriptors": self.descriptors, f"{name}.size": size}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str) -> Features:
        """What `to_arrays` was given."""
        keypoints = arrays[f"{name}.keypoints"]
        width, height = (int(side) for side in arrays[f"{name}.size"])
        points = np.ascontiguousarray(keypoints[:, :2])
        return cls(points, keypoints[:, 2], keypoints[:, 3], arrays[f"{name}.descriptors"], width, height)


@dataclass(frozen=True, slots=True)
class Orb:
    """OpenCV's ORB (Rublee et al., ICCV 2011). The defaults are those of Beyond Vision's step 2."""

    num_features: int = 2000
    scale_factor: float = 1.2
    num_levels: int = 8
    edge_threshold: int = 31
    patch_size: int = 31

    def detect(self, grey: np.ndarray) -> Features:
        """Features of a grey picture (H, W) uint8; none in a picture under 16 pixels wide or high."""
        detector = cv2.ORB.create(
            nfeatures=self.num_features,
            scaleFactor=self.scale_factor,
            nlevels=self.num_levels,
            edgeThreshold=self.edge_threshold,
            firstLevel=0,
            WTA_K=2,
            scoreType=cv2.ORB_HARRIS_SCORE,
            patchSize=self.patch_size,
        )
        return _detect(detector, grey, 32)


@dataclass(frozen=True, slots=True)
class Sift:
    """OpenCV's SIFT (Lowe, IJCV 2004). The defaults are those of Beyond Vision's step 2."""

    num_features: int = 1000
    num_octave_layers: int = 3
    contrast_threshold: float = 0.04
    edge_threshold: float = 10.0
    sigma: float = 1.6

    def detect(self, grey: np.ndarray) -> Features:
        """Features of a grey picture (H, W) uint8; none in a picture under 16 pixels wide or high."""
        detector = cv2.SIFT.create(
            nfeatures=self.num_features,
            nOctaveLayers=self.num_octave_layers,
            contrastThreshold=self.contrast_threshold,
            edgeThreshold=self.edge_threshold,
            sigma=self.sigma,
            descriptorType=cv2.CV_8U,
        )
        return _detect(detector, grey, 128)


def _detect(detector: cv2.Feature2D, grey: np.ndarray, descriptor_dim: int) -> Features:
    height, width = grey.shape
    keypoints: Sequence[cv2.KeyPoint] = ()
    descriptors: np.ndarray | None = None
    if min(height, width) >= _SHORTEST_SIDE:
        keypoints, descriptors = detector.detectAndCompute(grey, None)
    if descriptors is None:
        keypoints, descriptors = (), np.zeros((0, descriptor_dim), np.uint8)
    values = np.array([(*point.pt, point.size, point.angle) for point in keypoints], np.float32).reshape(-1, 4)
    points = np.ascontiguousarray(values[:, :2])
    return Features(points, values[:, 2], values[:, 3], descriptors, width, height)


def read_picture(path: str | Path) -> np.ndarray:
    """Pixels (H, W, 3) uint8, BGR, upright: those of `read_image`.

    Raises:
        UnreadablePicture: names the file and says what is wrong with it.
    """
    return cv2.cvtColor(read_image(path).permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)


def cap_long_side(picture: np.ndarray, max_side: int | None) -> np.ndarray:
    """The picture with its long side brought down to `max_side` pixels, averaging; never enlarged. None: as it is."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    if max_side is None or longest <= max_side:
        return picture
    size = (max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
