"""Processes that `vermeil up` starts end by themselves when it is gone, however it went."""

import os
import signal
import threading
import time


def end_with(parent: int) -> None:
    """Tell this process to stop once the process `parent` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
