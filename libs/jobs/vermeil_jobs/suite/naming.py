"""What knowing names promises: the same of a registry over the wire and of the fake."""

import pytest
from vermeil_errors import InvalidInput, NotFound

from vermeil_jobs.job import JobOutcome, JsonValue, NewDatasetVersion, NewModelVersion
from vermeil_jobs.suite.bench import Bench, artifact
from vermeil_jobs.versions import Names, Version


class NamesSuite:
    """A class of tests needs the fixtures `bench` and `names`, over the same rows."""

    @pytest.fixture(autouse=True)
    def _two_versions_of_each(self, bench: Bench) -> None:
        card: dict[str, JsonValue] = {"splits": {"train": {}, "validation": {}}}
        for number in (1, 2):
            job = bench.create()
            outcome = JobOutcome(
                dataset_versions=(NewDatasetVersion("datasets/pages", artifact(number, "dataset"), card),),
                model_versions=(
                    NewModelVersion(
                        "models/nano", artifact(10 + number), datasets=(f"datasets/pages/versions/{number}",)
                    ),
                    NewModelVersion(
                        "models/manner", artifact(20 + number), base=f"models/nano/versions/{number}"
                    ),
                ),
            )
            bench.jobs.finish(job.name, fence=bench.claim(job).fence, outcome=outcome)

    def test_a_name_without_a_version_is_the_newest(self, names: Names) -> None:
        assert names.dataset_version("datasets/pages").name == "datasets/pages/versions/2"
        assert names.model_version("models/nano").name == "models/nano/versions/2"

    def test_a_version_knows_its_files_and_where_it_comes_from(self, names: Names) -> None:
        found = names.dataset_version("datasets/pages/versions/1")
        assert found == Version(
            "datasets/pages/versions/1", artifact(1, "dataset"), splits=("train", "validation")
        )
        model = names.model_version("models/nano/versions/1")
        assert model == Version(
            "models/nano/versions/1", artifact(11), datasets=("datasets/pages/versions/1",)
        )

    def test_an_adapter_knows_its_base(self, names: Names) -> None:
        assert names.model_version("models/manner/versions/1").base == "models/nano/versions/1"
        with pytest.raises(InvalidInput, match=r"version\.base = 'models/nano': is the name of no version"):
            NewModelVersion("models/manner", artifact(20), base="models/nano")

    def test_what_is_not_there_is_not_found(self, names: Names) -> None:
        for name in ("datasets/pages/versions/3", "datasets/none"):
            with pytest.raises(NotFound, match=name):
                names.dataset_version(name)
        with pytest.raises(NotFound, match="models/none"):
            names.model_version("models/none")

    def test_what_is_no_name_is_refused(self, names: Names) -> None:
        with pytest.raises(InvalidInput, match="name"):
            names.dataset_version("models/nano")
