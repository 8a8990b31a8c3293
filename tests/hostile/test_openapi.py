"""The document that describes the API, taken at its word: schemathesis sends what it allows and what it forbids."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from serving.api import create_app
from tests.serving.conftest import TOPICS, World, build, perception, world  # noqa: F401

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
# An event stream ends when its client goes, which this client, that waits for the end of an answer, never does.
STREAMS = re.compile(r"/(stream|spans|progress)$")
EXAMPLES = 25
# Where no key is needed, the API answers to names of this machine alone.
OWN_NAME = "localhost"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_one_that_the_document_describes(world: World, mode: GenerationMode) -> None:  # noqa: F811
    """No 5xx but the documented 503, and statuses, headers, content types and bodies as the document says."""
    described = schemathesis.openapi.from_asgi("/openapi.json", create_app(world.node), headers={"Host": OWN_NAME})
    operations = [result.ok() for result in described.get_all_operations()]
    tested = [operation for operation in operations if not STREAMS.search(operation.path)]
    assert len(tested) > 15
    broken = [found for operation in tested for found in answers_as_described(operation, mode)]
    assert not broken, "\n\n".join(broken)


def answers_as_described(operation: Any, mode: GenerationMode) -> list[str]:
    """Return what is wrong with the answers of one operation."""

    @seed(1)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        # A form's fields are texts, and "null" or "5" in one is as good a text as any: there is no wrong type to refuse.
        is_form = (case.media_type or "").startswith("multipart/")
        case.call_and_validate(
            f"http://{OWN_NAME}", checks=[check for check in CHECKS if not (is_form and check is negative_data_rejection)]
        )

    try:
        ask()
    except Unsatisfiable:
        # Nothing can be wrong about a question that takes nothing.
        assert mode is GenerationMode.NEGATIVE
    except (FailureGroup, AssertionError) as failure:
        return [f"{operation.label} ({mode.value}): {failure}"]
    return []
