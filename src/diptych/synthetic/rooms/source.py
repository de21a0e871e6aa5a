"""Rooms as a triplet source."""

from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.scene_source import SceneSource


class Rooms(SceneSource):
    """The generated hotel rooms."""

    name = "rooms"
    docs_page = "docs/rooms.md"
    settings_class = RoomsSettings
