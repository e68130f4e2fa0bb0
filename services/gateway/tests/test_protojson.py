"""What is said of a body that is not the JSON of its message."""

import pytest
from vermeil.training.v1.training_service_pb2 import StartTrainingRequest
from vermeil_errors import InvalidInput
from vermeil_gateway.protojson import from_json


@pytest.mark.parametrize(
    ("body", "field", "fix"),
    [
        ({"recipe": {"run": {"stepz": 1}}}, "recipe.run.stepz", "did you mean steps?"),
        ({"recipe": {"run": {"batchsize": 1}}}, "recipe.run.batchsize", "did you mean batch_size?"),
        ({"recipe": {"zzz": 1}}, "recipe.zzz", "GET /docs lists them"),
        ({"recip": {}}, "recip", "did you mean recipe?"),
        ({"recipe": {"run": {"steps": "soon"}}}, "recipe.run.steps", "'soon'"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_probably_meant(body: dict, field: str, fix: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_json(body, StartTrainingRequest())
    assert caught.value.violations[0].field == field
    assert fix in str(caught.value)
