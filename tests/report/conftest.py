"""What several tests of the reports need: pictures of made-up images, and annotated pairs."""

import pytest
from annotated_pairs import write_annotated_pairs
from PIL import Image
from ranked_rooms import COLOURS, IMAGE_IDS


@pytest.fixture
def image_paths(tmp_path):
    paths = {name: tmp_path / "pictures" / f"{name}.png" for name in IMAGE_IDS}
    (tmp_path / "pictures").mkdir()
    for name, path in paths.items():
        Image.new("RGB", (40, 30), COLOURS[name]).save(path)
    return paths


@pytest.fixture
def out(tmp_path):
    """Two annotated pairs with descriptions and sentences, and a third without."""
    return write_annotated_pairs(tmp_path)
