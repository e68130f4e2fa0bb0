"""A small disk of memory that can be filled to the last byte. Mounting one wants root."""

import subprocess
from pathlib import Path

_CHUNK = 2**20


class Disk:
    """A folder with `mib` MiB of space."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir(parents=True)
        options = f"size={mib}m,mode=1777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)

    def fill(self) -> None:
        """Leave no space."""
        size = _CHUNK
        with self._filler.open("wb", buffering=0) as file:
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it, in use or not."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
