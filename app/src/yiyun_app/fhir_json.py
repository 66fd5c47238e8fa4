"""FHIR resources as JSON text with decimals as written: the library's own output turns 5.60 into 5.6.

Trailing zeros are significant in a laboratory result, and FHIR R4 asks servers to keep them.
"""

import json
from decimal import Decimal
from typing import Any, cast

import simplejson
from fhir.resources.R4B.resource import Resource


def to_json(resource: Resource) -> str:
    """The resource's JSON, each number with the digits the resource holds."""
    plain = json.loads(resource.model_dump_json())
    return simplejson.dumps(_exact(resource, plain), use_decimal=True, ensure_ascii=False)


def _exact(held: object, plain: object) -> object:
    if isinstance(held, Decimal):
        return held
    if isinstance(plain, dict):
        fields = cast("dict[str, Any]", plain)
        return {name: _exact(getattr(held, name, None), value) for name, value in fields.items()}
    if isinstance(plain, list) and isinstance(held, list):
        pairs = zip(cast("list[Any]", held), cast("list[Any]", plain), strict=True)
        return [_exact(*pair) for pair in pairs]
    return plain
