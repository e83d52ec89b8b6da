"""The search language: text in; terms with weights, and filters, out; and back.

Bare words make one phrase, `"quoted words"` a phrase of their own; `+` and `-` before a term
add and subtract its vector, `2:term` weights it; `image:ID` and, where the caller allows it, a
path (`./pool.jpg`) are terms too. `key:value` is a filter, `-key:value` its opposite; a comma
between values means or, several filters mean and.
"""

from clipsearch.query.filters import CHOICES, KEYS, MAX_VALUES, TYPES
from clipsearch.query.reading import MAX_FILTERS, MAX_LENGTH, MAX_TERMS, parse
from clipsearch.query.values import (
    Area,
    Filter,
    Key,
    Kind,
    Moments,
    Numbers,
    Place,
    Query,
    Term,
    Value,
)

__all__ = [
    "CHOICES",
    "KEYS",
    "MAX_FILTERS",
    "MAX_LENGTH",
    "MAX_TERMS",
    "MAX_VALUES",
    "TYPES",
    "Area",
    "Filter",
    "Key",
    "Kind",
    "Moments",
    "Numbers",
    "Place",
    "Query",
    "Term",
    "Value",
    "parse",
]
