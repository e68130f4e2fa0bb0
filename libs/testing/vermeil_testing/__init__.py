"""Real servers for tests: started once a process on free ports, gone when it ends.

postgres(), redis(), rabbitmq(), ceph() skip the test that asks for one that is not installed, and name its
package. Each may be killed, frozen and started again by a test that leaves it running. Authority signs
certificates.
"""

from vermeil_testing.authority import Authority, CertificateFiles
from vermeil_testing.ceph import Ceph, ceph
from vermeil_testing.postgres import Postgres, postgres
from vermeil_testing.rabbitmq import RabbitMQ, rabbitmq
from vermeil_testing.redis import Redis, redis
from vermeil_testing.server import Server, free_port

__all__ = [
    "Authority",
    "Ceph",
    "CertificateFiles",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "Server",
    "ceph",
    "free_port",
    "postgres",
    "rabbitmq",
    "redis",
]
