"""schemathesis finds no fault with the description: no 5xx, no answer that it does not foresee.

Its own pytest plugin stays off (pyproject.toml): it would be loaded by every test of the house.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from vermeil_gateway.testing import Running

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 8
"""Of each operation."""


@pytest.mark.slow
def test_every_operation_answers_as_described(gateway: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json", timeout=60)
    num_operations = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        num_operations += 1
        if operation.path.endswith("/events"):
            continue  # it lasts as long as its job

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.validate_response(case.call(timeout=60), checks=CHECKS)

        ask()
    assert num_operations > 30
