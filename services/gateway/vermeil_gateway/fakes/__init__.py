"""Services behind the gateway that answer from memory: for tests, benchmarks and trying the HTTP.

They are gRPC servicers like the real ones, so the gateway reaches them over a real channel.
"""

from dataclasses import dataclass, field

from vermeil.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from vermeil.evaluation.v1.evaluation_service_pb2_grpc import add_EvaluationServiceServicer_to_server
from vermeil.generation.v1.generation_service_pb2_grpc import add_GenerationServiceServicer_to_server
from vermeil.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from vermeil.job.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from vermeil.job.v1.quota_service_pb2_grpc import add_QuotaServiceServicer_to_server
from vermeil.registry.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from vermeil.registry.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from vermeil.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from vermeil.training.v1.training_service_pb2_grpc import add_TrainingServiceServicer_to_server
from vermeil_artifacts import MemoryStore
from vermeil_rpc import Service

from vermeil_gateway.fakes.audit import FakeAudit
from vermeil_gateway.fakes.generation import FakeGeneration
from vermeil_gateway.fakes.jobs import FakeJobs
from vermeil_gateway.fakes.keys import FakeKeys
from vermeil_gateway.fakes.quotas import FakeQuotas
from vermeil_gateway.fakes.registry import DIGEST, IMAGE_MODEL, IMAGE_VERSION, MODEL, VERSION, FakeRegistry
from vermeil_gateway.fakes.work import FakeWork

__all__ = [
    "DIGEST",
    "IMAGE_MODEL",
    "IMAGE_VERSION",
    "MODEL",
    "VERSION",
    "FakeAudit",
    "FakeBackends",
    "FakeGeneration",
    "FakeJobs",
    "FakeKeys",
    "FakeQuotas",
    "FakeRegistry",
    "FakeWork",
]


@dataclass
class FakeBackends:
    """All of them, sharing their jobs."""

    audit: FakeAudit = field(default_factory=FakeAudit)
    generation: FakeGeneration = field(default_factory=FakeGeneration)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    keys: FakeKeys = field(default_factory=FakeKeys)
    quotas: FakeQuotas = field(default_factory=FakeQuotas)
    registry: FakeRegistry = field(default_factory=FakeRegistry)

    @property
    def store(self) -> MemoryStore:
        """Where pictures are kept."""
        return self.generation.store

    def services(self) -> list[Service]:
        """For `vermeil_rpc.serve`."""
        work = FakeWork(self.jobs)
        return [
            Service(
                "vermeil.generation.v1.GenerationService",
                add_GenerationServiceServicer_to_server,
                self.generation,
            ),
            Service("vermeil.job.v1.JobService", add_JobServiceServicer_to_server, self.jobs),
            Service("vermeil.job.v1.QuotaService", add_QuotaServiceServicer_to_server, self.quotas),
            Service(
                "vermeil.registry.v1.RegistryService", add_RegistryServiceServicer_to_server, self.registry
            ),
            Service("vermeil.registry.v1.ApiKeyService", add_ApiKeyServiceServicer_to_server, self.keys),
            Service("vermeil.registry.v1.AuditService", add_AuditServiceServicer_to_server, self.audit),
            Service("vermeil.ingest.v1.IngestService", add_IngestServiceServicer_to_server, work),
            Service("vermeil.encoder.v1.EncoderService", add_EncoderServiceServicer_to_server, work),
            Service("vermeil.training.v1.TrainingService", add_TrainingServiceServicer_to_server, work),
            Service("vermeil.evaluation.v1.EvaluationService", add_EvaluationServiceServicer_to_server, work),
        ]
