"""The suites that every JobClient and every Names pass: in memory, over SQL, over the wire.

class TestMine(JobClientSuite):
    @pytest.fixture
    def bench(self) -> Bench: ...
"""

from vermeil_jobs.suite.bench import Bench
from vermeil_jobs.suite.creating import CreatingSuite
from vermeil_jobs.suite.ending import EndingSuite
from vermeil_jobs.suite.following import FollowingSuite
from vermeil_jobs.suite.naming import NamesSuite
from vermeil_jobs.suite.queueing import QueueingSuite
from vermeil_jobs.suite.working import WorkingSuite

__all__ = ["Bench", "JobClientSuite", "NamesSuite"]


class JobClientSuite(CreatingSuite, WorkingSuite, EndingSuite, FollowingSuite, QueueingSuite):
    """Everything a JobClient promises."""
