"""gRPC's channel arguments, for both sides, with the reason for each."""

import json

Options = list[tuple[str, str | int]]

DEFAULT_MAX_MESSAGE_BYTES = 4 * 2**20
"""4 MiB; bytes above 1 MiB should travel as an artifact reference anyway."""

MOST_CONNECTION_AGE = 300
"""Seconds after which a server asks a client to connect anew, so that callers find pods that came later."""

_SERVICE_CONFIG = {
    # A name may stand for several servers: they take turns.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def is_socket(address: str) -> bool:
    """Whether an address is a file of this machine: its folder guards it, and it is spoken to plainly."""
    return address.startswith("unix:")


def server_options(max_message_bytes: int) -> Options:
    """For a server of ours."""
    return [
        # Without this, a second server on the port shares its calls silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # A client that vanished without a word is noticed, and its work cancelled, within 40 s.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_age_ms", MOST_CONNECTION_AGE * 1000),
        # Clients ping every 15 s; gRPC's own minimum is 5 min and would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]


def channel_options(max_message_bytes: int) -> Options:
    """For a channel to a server of ours. Every call of the contract is safe to repeat, so all retry."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # A connection that went mute is found out within 20 s, also by short calls, which would end between
        # two pings again and again, and before the next call where there are none.
        ("grpc.keepalive_time_ms", 15_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # Of every other ping, for which those of keepalive wait; gRPC's own is 60 s.
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A restarted server is found again within a second, not within gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),
        # An http_proxy of the machine is not for calls between services.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ]
