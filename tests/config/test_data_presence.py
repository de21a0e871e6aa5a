"""Missing data is said before anything slow is imported, where it is wanted."""

import pytest

from diptych.config import resolvers
from diptych.config.command_line import composed
from diptych.config.presence import require_data, require_inputs
from diptych.contracts.retrieval import TripletSource
from tiny_runs import compose_pipeline


class Drawn(TripletSource):
    """A source that makes its own files."""

    name, docs_page, splits = "drawn", "none", ("train",)

    def __init__(self, root):
        self.root = root

    def prepare(self):
        """Draws."""


class OnDisk(TripletSource):
    """A source whose files must be there."""

    name, docs_page, splits = "on_disk", "docs/on_disk.md", ("train",)

    def __init__(self, root):
        self.root = root


def config_of(kind, root):
    from omegaconf import OmegaConf

    node = {"_target_": f"{__name__}.{kind.__name__}", "root": str(root)}
    return OmegaConf.create({"data": {"sources": {kind.name: node}}})


def test_a_folder_that_is_not_there_is_named_with_the_page(tmp_path):
    with pytest.raises(ValueError, match=r"No on_disk data: .* docs/on_disk.md"):
        require_data(config_of(OnDisk, tmp_path / "absent"))
    require_data(config_of(OnDisk, tmp_path))


def test_what_makes_its_own_data_needs_none(tmp_path):
    require_data(config_of(Drawn, tmp_path / "absent"))


@pytest.mark.parametrize(
    "words",
    [
        ("pipeline=ensemble", "inputs=[a.json]", "output=o.json"),
        ("pipeline=propose_pairs", "images=photos", "output=p.jsonl"),
        ("pipeline=annotate_triplets", "pairs=p.jsonl", "out=o", "model=m"),
    ],
)
def test_a_pipeline_that_reads_no_dataset_needs_none(words, tmp_path):
    resolvers.register_resolvers()
    require_data(compose_pipeline(*words, f"data_dir={tmp_path / 'absent'}"))


def test_a_pipeline_over_a_dataset_does(tmp_path):
    with pytest.raises(ValueError, match="No openevents data"):
        require_data(compose_pipeline("pipeline=news_retrieval", "data=openevents", f"data_dir={tmp_path / 'absent'}"))


def test_a_checkpoint_to_start_from_must_be_there(tmp_path):
    words = ["experiment=cir_rooms", f"init_from={tmp_path / 'nowhere'}"]
    with pytest.raises(ValueError, match=r"init_from=.*nowhere: there is no such file or folder"):
        require_inputs(composed("train", words))
    require_inputs(composed("train", [*words[:1], f"init_from={tmp_path}"]))


def test_several_files_of_predictions_are_all_looked_for(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    words = ["data=newsroom", "data_dir=nowhere"]
    resolvers.register_resolvers()
    require_inputs(composed("evaluate", [*words, f"predictions=[{tmp_path}/a.json,{tmp_path}/a.json]"]))
    with pytest.raises(ValueError, match=r"predictions=.*b\.json: there is no such file"):
        require_inputs(composed("evaluate", [*words, f"predictions=[{tmp_path}/a.json,{tmp_path}/b.json]"]))
