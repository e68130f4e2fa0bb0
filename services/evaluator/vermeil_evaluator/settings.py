"""What the evaluator reads from the environment."""

from pathlib import Path

from vermeil_settings import Address, ArtifactSettings, BrokerSettings, CommaSeparated


class EvaluatorSettings(ArtifactSettings, BrokerSettings):
    """Where it listens; the rest is shared."""

    bind: Address = "127.0.0.1:7605"
    """host:port on which evaluations are asked for (gRPC)."""
    evaluation_include: CommaSeparated = ()
    """Folders of task files beside those that are shipped, separated by commas; their code is run."""
    evaluation_roots: CommaSeparated = ("/",)
    """Folders from which files of questions may be read, separated by commas; narrower where others ask."""

    @property
    def answers(self) -> Path:
        """Folder of the answers that models gave; safe to delete."""
        return self.home / "answers"

    @property
    def include(self) -> tuple[Path, ...]:
        """Folders of task files as paths."""
        return tuple(Path(folder).expanduser() for folder in self.evaluation_include)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders of questions as paths."""
        return tuple(Path(root).expanduser() for root in self.evaluation_roots)
