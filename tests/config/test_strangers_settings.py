"""Whatever a stranger's settings say: they are read as plain data without anything of the user's, or refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config import resolvers
from diptych.config.strangers import read_config
from diptych.storage.folder_names import check_folder_name
from diptych.sweeping.stranger_words import check_words

pytestmark = pytest.mark.hostile("hostile checkpoints")

SECRET = "hunter2"
PIECES = [
    *("${", "}", "${a}", "${a.b}", "${.a}", "${..b}", "${oc.env:SECRET_TOKEN}", "${oc.env:SECRET_TOKEN,x}", "oc.env:"),
    *(
        "SECRET_TOKEN",
        "${oc.select:a,null}",
        "${oc.decode:",
        "${oc.create:",
        "\\",
        "'",
        '"',
        ":",
        ",",
        " ",
        "$",
        "a",
        "[",
    ),
    *("${oc.env:DIPTYCH_DATA,data}", "${dataset_root:rooms}", "${now:%Y}", "_target_", "]", "${oc.env:\tSECRET_TOKEN}"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=8)
KEYS = st.sampled_from(["a", "b", "system", "data", "trainer", "_target_", "name", "data_dir"]) | st.text(max_size=4)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
SECTIONS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(SECTIONS, SECTIONS, SECTIONS)
def test_settings_hold_nothing_of_the_users(more, system, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_TOKEN", SECRET)
        patch.delenv("DIPTYCH_TRUST", raising=False)
        resolvers.register_resolvers()
        text = yaml.safe_dump({**more, "system": system, "data": data, "trainer": {}}, allow_unicode=True)
        try:
            config = read_config(text, "a.ckpt: its config")
        except ValueError as error:
            assert SECRET not in str(error)
            return
        try:
            found = str(OmegaConf.to_container(config, resolve=True))
        except (OmegaConfBaseException, AttributeError, TypeError):  # names what is not there
            return
        assert SECRET not in found and len(found) < 2**22


@given(st.text(max_size=200))
def test_any_text_is_settings_or_refused(text):
    with pytest.raises(ValueError, match="a.ckpt"):
        read_config(text, "a.ckpt")


@given(
    st.lists(st.lists(st.sampled_from([*PIECES, "cluster.setup", "hydra.", "=", "+", "../"])).map("".join), max_size=3)
)
def test_words_that_pass_build_nothing(words):
    try:
        passed = check_words(words, "command.json")
    except ValueError:
        return
    assert all("_target_" not in word and "${" not in word and not word.startswith("-") for word in passed)


@given(st.text(max_size=120))
def test_a_folders_name_is_one_step(tmp_path_factory, name):
    try:
        check_folder_name(name, "data.sources:")
    except ValueError as error:
        assert "choose another" in str(error)
        return
    folder = tmp_path_factory.getbasetemp()
    assert (folder / name).parent == folder and (folder / name).resolve().parent == folder.resolve()
