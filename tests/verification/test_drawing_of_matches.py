from __future__ import annotations

import cv2
import numpy as np

from diptych.verification.drawing import draw_matches


def test_lines_join_the_keypoints_that_agree(tmp_path, draw, reworked):
    for name, picture in (("a", draw(1)), ("copy", reworked(draw(1), 2)), ("flat", np.full((90, 120, 3), 9, np.uint8))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    copy = cv2.imread(str(tmp_path / "copy.png"))
    drawing = draw_matches(tmp_path / "copy.png", tmp_path / "a.png")
    assert drawing.shape == (360, copy.shape[1] + 480, 3)
    assert green(drawing) > 100
    flat = draw_matches(tmp_path / "copy.png", tmp_path / "flat.png")
    assert green(flat) == 0
    assert np.array_equal(drawing, draw_matches(tmp_path / "copy.png", tmp_path / "a.png"))
    assert draw_matches(tmp_path / "absent.png", tmp_path / "a.png") is None
    assert draw_matches(tmp_path / "a.png", tmp_path / "absent.png") is None


def green(drawing) -> int:
    """Pixels in the colour of the lines of inliers."""
    return int((drawing == (80, 200, 60)).all(axis=2).sum())
