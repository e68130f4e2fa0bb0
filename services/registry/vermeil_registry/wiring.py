"""Wiring: the only place that knows which storage, doorbell and clock the registry runs on."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from vermeil.job.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from vermeil.job.v1.quota_service_pb2_grpc import add_QuotaServiceServicer_to_server
from vermeil.registry.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from vermeil.registry.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from vermeil.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from vermeil_jobs import CeleryDoorbell, Doorbell, Ledger, Limits, Policy, make_app
from vermeil_rpc import Service

from vermeil_registry.api import JobServicer
from vermeil_registry.audit import Audit
from vermeil_registry.audit_api import AuditServicer
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.catalogue_api import RegistryServicer
from vermeil_registry.clock import SteadyClock
from vermeil_registry.database import Database
from vermeil_registry.gauges import Gauges
from vermeil_registry.keys import Keys
from vermeil_registry.keys_api import ApiKeyServicer
from vermeil_registry.migrate import migrate
from vermeil_registry.quotas_api import QuotaServicer
from vermeil_registry.settings import RegistrySettings
from vermeil_registry.storage import SqlStorage
from vermeil_registry.sweeper import Sweeper
from vermeil_registry.threads import Threads
from vermeil_registry.watch import Watches


def build(settings: RegistrySettings, *, doorbell: Doorbell | None = None) -> list[Service]:
    """All services over one database; nothing runs before they start. `doorbell` stands in for the broker."""
    settings.make_home()
    database, own = Database(settings.database_url), ExitStack()
    if doorbell is None:
        doorbell = CeleryDoorbell(make_app(settings.broker_url, settings.home))
        own.callback(doorbell.close)
    sweeper = Sweeper(doorbell, interval=settings.sweep_seconds)
    limits = Limits(settings.quota_max_running, settings.quota_max_waiting)
    clock = SteadyClock()
    ledger = Ledger(SqlStorage(database), sweeper, clock=clock, policy=Policy(limits=limits))
    threads = Threads()
    watches, gauges = Watches(ledger, threads), Gauges(ledger.lengths)

    def sweep() -> None:
        clock.follow(ledger.forgive)
        ledger.sweep()
        gauges.refresh()

    async def start() -> None:
        await threads.run(migrate, database)
        await threads.run(ledger.forgive)
        await threads.run(ledger.recall)
        sweeper.start(sweep, ledger.recall)

    async def drain() -> None:
        watches.drain()

    async def ready() -> bool:
        return await threads.run(database.is_alive)

    async def stop() -> None:
        await threads.run(sweeper.stop)
        await threads.run(own.close)
        threads.close()
        database.close()

    jobs = JobServicer(ledger, threads, watches)
    return [
        Service(
            "vermeil.job.v1.JobService",
            add_JobServiceServicer_to_server,
            jobs,
            ready=ready,
            start=start,
            drain=drain,
            stop=stop,
        ),
        Service(
            "vermeil.job.v1.QuotaService",
            add_QuotaServiceServicer_to_server,
            QuotaServicer(ledger, threads),
            ready=ready,
        ),
        *_services_of_names(database, threads, ready),
    ]


def _services_of_names(
    database: Database, threads: Threads, ready: Callable[[], Awaitable[bool]]
) -> list[Service]:
    return [
        Service(
            "vermeil.registry.v1.RegistryService",
            add_RegistryServiceServicer_to_server,
            RegistryServicer(Catalogue(database), threads),
            ready=ready,
        ),
        Service(
            "vermeil.registry.v1.ApiKeyService",
            add_ApiKeyServiceServicer_to_server,
            ApiKeyServicer(Keys(database), threads),
            ready=ready,
        ),
        Service(
            "vermeil.registry.v1.AuditService",
            add_AuditServiceServicer_to_server,
            AuditServicer(Audit(database), threads),
            ready=ready,
        ),
    ]
