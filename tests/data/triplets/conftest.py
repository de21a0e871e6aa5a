"""What tests of triplets share."""

import pytest

from tiny_sets import tiny_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with tiny rooms and a tiny CIRR."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("rooms", "cirr"):
        tiny_set(name, folder / name)
    return folder
