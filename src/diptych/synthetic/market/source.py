"""The market as a triplet source."""

from diptych.synthetic.market.generate import MarketSettings
from diptych.synthetic.scene_source import SceneSource


class Market(SceneSource):
    """The generated market stalls."""

    name = "market"
    docs_page = "docs/market.md"
    settings_class = MarketSettings
