"""Calls to the registry and the encoders; each has a deadline."""

from dataclasses import dataclass
from typing import Protocol

import grpc
from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil_jobs import GrpcJobs, JobClient, Names, Priority, RegistryNames
from vermeil_jobs.messages import priority_to_message
from vermeil_rpc import connect

from vermeil_trainer.settings import TrainerSettings

SECONDS = 10.0


class Encoder(Protocol):
    """What the trainer asks of a modality's encoder."""

    def start(self, spec: encoder_pb2.EncodingSpec, priority: Priority) -> str:
        """Name of the job that encodes this, or has done so already."""
        ...


class RemoteEncoder:
    """An encoder over the wire."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = EncoderServiceStub(channel)

    def start(self, spec: encoder_pb2.EncodingSpec, priority: Priority) -> str:
        """Without a request id, so that the same work is done once."""
        request = StartEncodingRequest(spec=spec, priority=priority_to_message(priority))
        return self._stub.StartEncoding(request, timeout=SECONDS).job.name


@dataclass(frozen=True)
class Peers:
    """The services that the trainer works with."""

    jobs: JobClient
    names: Names
    text_encoder: Encoder
    image_encoder: Encoder


def peers(settings: TrainerSettings) -> Peers:
    """The services at their addresses; connects when first used."""
    registry, text, image = (
        connect(address, token=settings.token, tls=settings.tls)
        for address in (
            settings.registry_address,
            settings.encoder_text_address,
            settings.encoder_image_address,
        )
    )
    return Peers(
        GrpcJobs(registry, timeout=SECONDS),
        RegistryNames(registry, timeout=SECONDS),
        RemoteEncoder(text),
        RemoteEncoder(image),
    )
