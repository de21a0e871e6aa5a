"""What the models are asked to answer with, and how their answers are read.

An answer counts when it holds a complete JSON value of the right form (bare, in a code fence, or with prose around it),
unless the server says that it was cut or withheld. What else a server says of its end makes no difference.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from diptych.annotation.image_mentions import image_mention
from diptych.contracts.pipelines import Answer
from diptych.models.server.finish_reasons import is_broken_off, is_cut, is_filtered
from diptych.storage.json_values import json_objects
from diptych.text.sentences import split_sentences

Form = TypeVar("Form", bound=BaseModel)

FEWEST_SENTENCES, MOST_SENTENCES = 3, 8
_REFUSAL = re.compile(
    r"\b(?:I(?:['’]?m| am) (?:very )?sorry"
    r"|(?:I|we) (?:can(?:not|['’]t| not)|won['’]t|must decline|am unable|am not able)"
    r"|I['’]m (?:unable|not able)|(?:unable|not able) to (?:assist|help|comply)|as an AI)\b",
    re.IGNORECASE,
)
_THOUGHTS_END = "</think>"  # what a reasoning model drafts before is no answer
_MOST_COMPLAINTS = 5


class DescribedObject(BaseModel):
    """One object with the descriptors of its exact appearance. Blanks are tidied; none of the texts is blank."""

    name: str
    descriptors: list[str]

    @field_validator("name")
    @classmethod
    def _tidy_name(cls, name: str) -> str:
        return _tidy(name)

    @field_validator("descriptors")
    @classmethod
    def _tidy_descriptors(cls, descriptors: list[str]) -> list[str]:
        if not descriptors:
            raise _wrong("is an empty list; give at least one descriptor")
        return [_tidy(descriptor) for descriptor in descriptors]


class ImageDescription(BaseModel):
    """Objects of one picture, most to least prominent: at least one, their names different whatever their case."""

    objects: list[DescribedObject]

    @field_validator("objects")
    @classmethod
    def _check(cls, objects: list[DescribedObject], info: ValidationInfo) -> list[DescribedObject]:
        if not objects:
            raise _wrong("is an empty list; describe at least one object")
        most = (info.context or {}).get("max_objects")
        if most is not None and len(objects) > most:
            raise _wrong(f"holds {len(objects)} objects; describe only the {most} most prominent ones")
        repeated = _first_repeated([item.name for item in objects])
        if repeated is not None:
            raise _wrong(
                f"names {objects[repeated].name!r} twice; list each object once, and tell similar objects apart by name"
            )
        return objects


class Modifications(BaseModel):
    """What changes, one sentence each: different sentences, at most 8, and none that speaks of pictures as such."""

    sentences: list[str]

    @field_validator("sentences")
    @classmethod
    def _check(cls, sentences: list[str], info: ValidationInfo) -> list[str]:
        sentences = [_sentence(sentence, number) for number, sentence in enumerate(sentences, start=1)]
        repeated = _first_repeated([sentence.rstrip(".!? ") for sentence in sentences])
        if repeated is not None:
            raise _wrong(f"sentence {repeated + 1} repeats an earlier one: {sentences[repeated]!r}; leave it out")
        fewest = (info.context or {}).get("min_sentences", 1)
        if not fewest <= len(sentences) <= MOST_SENTENCES:
            raise _wrong(
                f"holds {len(sentences)} sentences; write {fewest} to {MOST_SENTENCES}, one for each difference"
            )
        return sentences


class InvalidAnswer(ValueError):
    """An answer that cannot be used. `reason` is `cut`, `empty`, `refused` or `invalid`; the message says to the model
    what to do otherwise.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def response_format(model_class: type[BaseModel]) -> dict[str, Any]:
    """The form as OpenAI's `response_format`: a strict JSON schema, every key required and no other allowed. The limits
    on lengths are not in it: many servers know no `minItems`; `parse` checks them.
    """
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model_class.__name__).lower()
    schema = _strict(model_class.model_json_schema())
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def parse(
    model_class: type[Form],
    answer: Answer,
    *,
    max_objects: int | None = None,
    min_sentences: int = 1,
) -> Form:
    """The first JSON value in the answer that has the form. Keys beyond the form are left unread.

    `max_objects` bounds an ImageDescription (None: any number), `min_sentences` Modifications:
    `fewest_sentences` says how many two descriptions call for; where nothing is known of the images, one is enough.

    Raises:
        InvalidAnswer: `cut` by the token limit or broken off, `empty`, `refused` by the server's filter or in words, or
            `invalid`.
    """
    if is_cut(answer.finish_reason):
        raise InvalidAnswer("cut", "The answer was cut off before its end. Answer again, in fewer words.")
    if is_broken_off(answer.finish_reason):
        raise InvalidAnswer("cut", f"The answer was broken off ({answer.finish_reason}). Answer again.")
    if is_filtered(answer.finish_reason):
        raise InvalidAnswer("refused", f"The server withheld the answer ({answer.finish_reason}).")
    text = answer.text.rpartition(_THOUGHTS_END)[2]
    if not text.strip():
        raise InvalidAnswer("empty", f"The answer was empty. {_wanted(model_class)}")
    complaints: list[tuple[bool, ValidationError]] = []
    for value in json_objects(text):
        try:
            context = {"max_objects": max_objects, "min_sentences": min_sentences}
            return model_class.model_validate(value, strict=True, context=context)
        except ValidationError as error:
            complaints.append((model_class.model_fields.keys().isdisjoint(value), error))
    if not complaints and _REFUSAL.search(text):
        raise InvalidAnswer("refused", f"The answer was a refusal: {' '.join(text.split())[:200]!r}")
    if not complaints:
        raise InvalidAnswer("invalid", f"The answer holds no complete JSON object. {_wanted(model_class)}")
    _, nearest = min(complaints, key=lambda complaint: complaint[0])
    raise InvalidAnswer("invalid", f"{_complaints(nearest)} Correct this. {_wanted(model_class)}")


def fewest_sentences(reference: ImageDescription, target: ImageDescription) -> int:
    """How many sentences can be asked for: 3, or as many as objects differ where those are fewer, so that a model need
    not invent a change. 0 where the descriptions say the same.
    """
    before, after = _by_name(reference), _by_name(target)
    differing = sum(before.get(name) != after.get(name) for name in before | after)
    return min(FEWEST_SENTENCES, differing)


def _by_name(description: ImageDescription) -> dict[str, frozenset[str]]:
    return {
        item.name.casefold(): frozenset(descriptor.casefold() for descriptor in item.descriptors)
        for item in description.objects
    }


def _sentence(text: str, number: int) -> str:
    sentence = _tidy(text, f"sentence {number} ")
    if not re.search(r"\w", sentence):
        raise _wrong(f"sentence {number} holds no word: {sentence!r}")
    parts = len(split_sentences(sentence))
    if parts > 1:
        raise _wrong(f"sentence {number} holds {parts} sentences: {sentence!r}; give each its own place in the list")
    mention = image_mention(sentence)
    if mention:
        raise _wrong(
            f"sentence {number} says {mention!r}: {sentence!r}; say what changes without a word about the images"
        )
    return sentence


def _tidy(text: str, name: str = "") -> str:
    tidy = " ".join(text.split())
    if not tidy:
        raise _wrong(f"{name}is blank")
    return tidy


def _first_repeated(names: list[str]) -> int | None:
    folded = [name.casefold() for name in names]
    return next((place for place, name in enumerate(folded) if name in folded[:place]), None)


def _wrong(message: str) -> PydanticCustomError:
    # The message is a format string; braces in an answer must not be taken for its fields.
    return PydanticCustomError("answer", "{message}", {"message": message})


def _complaints(error: ValidationError) -> str:
    found = [f"{'.'.join(map(str, item['loc'])) or 'the object'}: {item['msg']}" for item in error.errors()]
    more = f" (and {len(found) - _MOST_COMPLAINTS} more)" if len(found) > _MOST_COMPLAINTS else ""
    return f"The answer does not have the form asked for: {'; '.join(found[:_MOST_COMPLAINTS])}{more}."


def _wanted(model_class: type[BaseModel]) -> str:
    example = _EXAMPLES.get(model_class.__name__, ", ".join(model_class.model_fields))
    return f"Answer with one JSON object of the form {example} and nothing else."


_EXAMPLES = {
    "ImageDescription": '{"objects": [{"name": "...", "descriptors": ["...", "..."]}]}',
    "Modifications": '{"sentences": ["...", "...", "..."]}',
    "CandidateVerdict": '{"answer": "yes"} or {"answer": "no"}',
}


def _strict(schema: Any) -> Any:
    """The schema without titles and descriptions, so that the wording of this file is no part of what is asked."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":  # names of our own, which may be called anything
            strict[key] = {name: _strict(item) for name, item in value.items()}
        elif key not in ("title", "description"):
            strict[key] = _strict(value)
    if strict.get("type") == "object":
        strict["additionalProperties"] = False
    return strict
