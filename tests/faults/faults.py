"""Faults: one class each, which strikes a component of a deployment and lets go of it again."""

import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass

from deployment import Component, Deployment, Victim
from proxy import Mode
from vermeil_testing import Server


@dataclass
class Fault(ABC):
    """Something bad that happens to a component and ends."""

    component: str

    @property
    def name(self) -> str:
        """Such as worker:kill."""
        return f"{self.component}:{self.kind}"

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is done to it."""

    @abstractmethod
    def begin(self, house: Deployment) -> None:
        """Strike."""

    @abstractmethod
    def end(self, house: Deployment) -> None:
        """Let go: from here on everything has to recover by itself."""

    def _struck(self, house: Deployment) -> Component:
        return house.components[self.component]


class Killed(Fault):
    """Its process gets a -9, and is started again when the fault ends."""

    kind = "kill"

    def begin(self, house: Deployment) -> None:
        self._victim = _victim(self._struck(house))
        self._victim.kill()

    def end(self, house: Deployment) -> None:
        self._victim.start()


class Paused(Fault):
    """Its process is frozen and goes on later as if nothing had been."""

    kind = "pause"

    def begin(self, house: Deployment) -> None:
        self._victim = _victim(self._struck(house))
        self._victim.signal(signal.SIGSTOP)

    def end(self, house: Deployment) -> None:
        self._victim.signal(signal.SIGCONT)


@dataclass
class CutOff(Fault):
    """The doors to it are shut, cut, muted or slow."""

    mode: Mode

    @property
    def kind(self) -> str:
        """As the mode."""
        return self.mode.value

    def begin(self, house: Deployment) -> None:
        self._set(house, self.mode)

    def end(self, house: Deployment) -> None:
        self._set(house, Mode.OPEN)

    def _set(self, house: Deployment, mode: Mode) -> None:
        for door in self._struck(house).doors:
            door.set(mode)


class DiskFull(Fault):
    """No byte can be written where its files lie."""

    kind = "disk"

    def begin(self, house: Deployment) -> None:
        disk = self._struck(house).disk
        assert disk is not None, f"{self.component} has no disk of its own"
        disk.fill()

    def end(self, house: Deployment) -> None:
        struck = self._struck(house)
        assert struck.disk is not None
        struck.disk.free()
        victim = struck.victim() if struck.victim else None
        if isinstance(victim, Server) and not victim.is_running:
            victim.start()  # Postgres ends where it cannot write its log


COMPONENTS = ("worker", "broker", "database", "store", "registry", "generator")


def every_fault() -> dict[str, Fault]:
    """By name, one kind after the other. The registry keeps nothing on a disk of its own."""
    modes = (Mode.MUTE, Mode.REFUSE, Mode.RESET, Mode.SLOW)
    faults: list[Fault] = [
        *(Killed(each) for each in COMPONENTS),
        *(Paused(each) for each in COMPONENTS),
        *(DiskFull(each) for each in COMPONENTS if each != "registry"),
        *(CutOff(each, mode) for mode in modes for each in COMPONENTS),
    ]
    return {fault.name: fault for fault in faults}


def _victim(component: Component) -> Victim:
    assert component.victim is not None
    return component.victim()
