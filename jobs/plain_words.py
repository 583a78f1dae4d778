"""Plain words: what pydantic finds wrong, as one line that a person can act on. Never echoes a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_WHOLE, _NUMBER, _TEXT = "must be a whole number", "must be a number", "must be text"
_YES_OR_NO, _LIST, _OBJECT = "must be true or false", "must be a list", "must be an object: names with values"
# pydantic's names of errors (its "Validation Errors" page). What stands in braces is the error's own.
_WORDS = {
    "missing": "is missing",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": _YES_OR_NO,
    "bool_parsing": _YES_OR_NO,
    "string_type": _TEXT,
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "is over the limit of {max_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "too_short": "must be at least {min_length} long",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "json_invalid": "cannot be read: {error}",
}


def in_plain_words(error: ValidationError, noun: str = "field", spell: Callable[[str], str] = repr) -> str:
    """Everything that a model found wrong.

    Args:
        error: what the model said.
        noun: what an unknown name is called.
        spell: how an unknown name is written.
    """
    items = error.errors(include_input=False, include_url=False)
    return "; ".join(_one(dict(item), item["loc"], noun, spell) for item in items)


def of_parameters(items: Sequence[Mapping[str, Any]]) -> str:
    """The same of a call's parameters; each begins with where it stood, such as `query`."""
    return "; ".join(_one(item, item["loc"][1:], "parameter", repr) for item in items)


def _one(item: Mapping[str, Any], place: Sequence[object], noun: str, spell: Callable[[str], str]) -> str:
    name = ".".join(map(str, place))
    found, context = item["type"], item.get("ctx", {})
    if found == "extra_forbidden":
        return f"unknown {noun} {spell(name)}"
    if found == "value_error":
        return f"{name}: {context['error']}" if name else str(context["error"])
    words = _WORDS.get(found, "").format(**context) or f"{item['msg'][0].lower()}{item['msg'][1:]}"
    return f"{name or 'the JSON'} {words}"
