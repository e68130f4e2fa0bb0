"""`python -m vermeil_gateway`: the gateway as a process."""

import asyncio
import signal
import sys

from vermeil_errors import VermeilError
from vermeil_telemetry import configure, start_metrics_server

from vermeil_gateway.settings import GatewaySettings
from vermeil_gateway.wiring import start


async def _run(settings: GatewaySettings) -> None:
    told_to_stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, told_to_stop.set)
    async with await start(settings):
        await told_to_stop.wait()


def main() -> int:
    """Run until told to stop."""
    try:
        settings = GatewaySettings.load()
        configure("gateway", level=settings.log_level, format=settings.log_format)
        start_metrics_server(settings.metrics_port)
        asyncio.run(_run(settings))
    except VermeilError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
