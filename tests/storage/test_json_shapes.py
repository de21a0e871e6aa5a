"""What a JSON value is to be like is said in one line, and what it is instead in another."""

import math

import pytest

from diptych.storage.json_shapes import Count, Finite, fault_of

RUN = {"name": str, "seconds?": Finite, "metrics": {str: (float, None)}, "sizes": [Count], "data": (str, [str])}
RIGHT = {"name": "a", "metrics": {"x": 1, "y": None, "z": math.nan}, "sizes": [0, 3], "data": ["b"], "more": [{}]}


def test_what_is_right_has_no_fault():
    assert fault_of(RIGHT, RUN) is None
    assert fault_of({**RIGHT, "seconds": None, "data": "b", "sizes": []}, RUN) is None
    for shape, value in (
        (object, {}),
        (int, -5),
        (float, math.inf),
        (None, None),
        (dict, {}),
        (list, [1]),
        (bool, True),
    ):
        assert fault_of(value, shape) is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "the content must be an object, found null"),
        ([], r"the content must be an object, found \[\]"),
        ({}, "the content has no key 'name'"),
        ({**RIGHT, "name": 3}, "the content, key 'name' must be a text, found 3"),
        ({**RIGHT, "name": None}, "the content, key 'name' must be a text, found null"),
        ({**RIGHT, "seconds": math.nan}, "the content, key 'seconds' must be a finite number, found nan"),
        ({**RIGHT, "seconds": 10**400}, "the content, key 'seconds' must be a finite number, found a number too large"),
        ({**RIGHT, "metrics": []}, r"the content, key 'metrics' must be an object, found \[\]"),
        ({**RIGHT, "metrics": {"x": "1"}}, "the content, key 'metrics', key 'x' must be a number or null, found '1'"),
        ({**RIGHT, "metrics": {"x": 10**400}}, "key 'x' must be a number or null, found a number too large"),
        ({**RIGHT, "metrics": {"x": True}}, "key 'x' must be a number or null, found True"),
        ({**RIGHT, "sizes": [1, -1]}, r"the content, key 'sizes'\[1\] must be a whole number from 0, found -1"),
        ({**RIGHT, "sizes": [1.0]}, r"key 'sizes'\[0\] must be a whole number from 0, found 1.0"),
        ({**RIGHT, "data": [1]}, r"key 'data' must be a text or a list, each of it a text, found \[1\]"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(value, fault):
    found = fault_of(value, RUN)
    assert found is not None
    with pytest.raises(ValueError, match=fault):
        raise ValueError(found)
