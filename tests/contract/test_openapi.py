"""The OpenAPI document and the page of error codes: as committed, sound, and complete (R15)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from services.ingest.api import openapi
from services.ingest.domain.error_codes import FIELD_CODES, error_codes, errors_page
from services.ingest.domain.faults import CODES

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "services/ingest").rglob("*.py"),
    *(ROOT / "services/analytics").rglob("*.py"),
    ROOT / "chassis/http.py",
]
SCHEMAS: dict[str, Any] = openapi.document()["components"]["schemas"]
EXAMPLES = [(name, example) for name, schema in SCHEMAS.items() for example in schema.get("examples", ())]


def test_the_committed_documents_are_up_to_date() -> None:
    assert openapi.FILE.read_bytes() == openapi.written(), "make schemas"
    assert openapi.ERRORS.read_text() == errors_page(), "make schemas"


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_fit_their_schema(name: str, example: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    Draft202012Validator(schema).validate(example)


def test_every_reference_has_its_end() -> None:
    text = orjson.dumps(openapi.document()).decode()
    document = openapi.document()
    for kind, name in re.findall(r'"#/components/(\w+)/([\w-]+)"', text):
        assert name in document["components"][kind]


def test_names_of_operations_are_their_own() -> None:
    names = [operation.name for operation in openapi.OPERATIONS]
    assert len(names) == len(set(names))


def test_every_code_that_is_raised_is_explained() -> None:
    """In the table, and so on the page."""
    raised_codes = {code for source in SOURCES for code in _codes_of_answers(source)}
    assert raised_codes - {code.code for code in error_codes()} == set()
    assert raised_codes >= set(CODES) - {"unsupported_field", "sender_not_allowed", "rate_limited", "conflict"}
    field_codes = {code for source in SOURCES for code in _codes_of_fields(source)}
    assert field_codes - set(FIELD_CODES) == set()
    assert len(field_codes) > 30


def _codes_of_answers(source: Path) -> Iterator[str]:
    """The first argument of Refused(…), the second of ApiError(…)."""
    for call in _calls(source):
        at = {"Refused": 0, "ApiError": 1}.get(_name(call))
        if at is not None and len(call.args) > at and (code := _text(call.args[at])) is not None:
            yield code


def _codes_of_fields(source: Path) -> Iterator[str]:
    """The second argument of Fault(…); and the pair of a code and a sentence, from which faults are made."""
    for call in _calls(source):
        at = {"Fault": 1, "FieldError": 1, "_Wrong": 0}.get(_name(call))
        if at is not None and len(call.args) > at and (code := _text(call.args[at])) is not None:
            yield code
    if source.name == "commands.py":
        return  # its pairs are codes of answers
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            code, sentence = _text(node.elts[0]), node.elts[1]
            said = isinstance(sentence, ast.JoinedStr) or " " in (_text(sentence) or "")
            if code is not None and re.fullmatch("[a-z_]+", code) and said:
                yield code


def _calls(source: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
