"""Values of a config are of their arguments' types, where these are plain; the key and both types are named."""

from typing import Optional, Union

import pytest
import torch

from diptych.config.argument_values import check_limits, check_types
from diptych.config.checking import check_section
from diptych.data.triplets.from_files import FromFiles


class Plain:
    def __init__(self, size: int, rate: float | None = 0.1, on: bool = False, name: str = "", other: list[int] = ()):
        pass


class Old:
    def __init__(self, rate: Union[float, torch.Tensor], place: Optional[str], kind: Union[str, Plain]):  # noqa: UP007, UP045
        pass


@pytest.mark.parametrize(
    ("constructor", "given", "message"),
    [
        (Plain, {"size": "abc"}, "a.size='abc': expected int, found str"),
        (Plain, {"size": True}, "a.size=True: expected int, found bool"),
        (Plain, {"size": 2.5}, "a.size=2.5: expected int, found float"),
        (Plain, {"rate": "fast"}, r"a.rate='fast': expected float \| null, found str"),
        (Plain, {"on": 2}, "a.on=2: expected bool, found int"),
        (Plain, {"size": None}, "a.size=null: expected int, found NoneType"),
        (Plain, {"name": 7}, "a.name=7: expected str, found int; as a text: a.name=\"'7'\""),
        (torch.optim.AdamW, {"lr": "fast"}, "a.lr='fast': expected float, found str"),
        (Old, {"rate": [1]}, "a.rate=.*: expected float, found list"),
        (Old, {"place": 3}, r"a.place=3: expected str \| null, found int"),
    ],
)
def test_another_type_is_refused(constructor, given, message):
    with pytest.raises(ValueError, match=message):
        check_types("a", given, constructor)


@pytest.mark.parametrize(
    ("constructor", "given"),
    [
        (Plain, {"size": 2, "rate": None, "on": True, "name": "x"}),
        (Plain, {"size": 2, "on": 0}),
        (Plain, {"size": 2.0, "rate": 1}),  # 1e3 is a whole number too, and 1 a rate
        (Plain, {"size": "???", "other": "what it is, is not plain", "unknown": 1}),
        (Old, {"rate": 0.1, "place": None, "kind": 5}),
        (torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0}),
    ],
)
def test_what_is_of_the_type_or_has_none_is_left(constructor, given):
    check_types("a", given, constructor)


def test_a_part_may_make_what_is_wanted():
    made = {"size": {"_target_": "mine.size"}}
    check_types("a", made, Plain, made_by_parts=True)
    with pytest.raises(ValueError, match="expected int, found dict"):
        check_types("a", made, Plain)


def test_a_trusted_config_is_checked_too_but_has_no_limits():
    node = {"_target_": "diptych.data.triplets.from_files.FromFiles", "batch_size": 10**7}
    check_section("data.training", node)
    with pytest.raises(ValueError, match=r"data\.training\.batch_size='abc': expected int, found str"):
        check_section("data.training", {**node, "batch_size": "abc"})
    with pytest.raises(ValueError, match=r"batch_size=10000000: a stranger's config may ask for 65536 at most"):
        check_limits("data.training", node, FromFiles)
