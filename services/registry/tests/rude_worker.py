"""A worker for tests to mistreat: `rude_worker.py REGISTRY BROKER HOME MAY_END LEASE_SECONDS`.

Its work counts steps in a checkpoint, tells its process id, and makes a model version at the end: when all
are counted and the file MAY_END is there.
"""

import os
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

from google.protobuf.wrappers_pb2 import Int32Value
from vermeil_artifacts import ArtifactRef
from vermeil_jobs import (
    GrpcJobs,
    JobContext,
    JobKind,
    JobOutcome,
    NewModelVersion,
    make_app,
    register,
    run_worker,
)
from vermeil_telemetry import configure

KIND, QUEUE, MODEL = "vermeil.tester.v1.count", "tester", "models/counted"


def count(may_end: Path, context: JobContext, steps: Int32Value) -> JobOutcome:
    checkpoint = context.workdir / "checkpoint"
    step = start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    while step < steps.value or not may_end.exists():
        context.progress(step, steps.value, str(os.getpid()))
        context.check()
        time.sleep(0.01)
        step = min(step + 1, steps.value)
        staged = context.workdir / "staged"
        staged.write_text(str(step))
        staged.replace(checkpoint)
    model = ArtifactRef(f"sha256:{steps.value:064x}", "model", 1)
    return JobOutcome(
        outputs={"model": model},
        result={"steps": steps.value, "resumed_at": start},
        model_versions=(NewModelVersion(MODEL, model),),
    )


def main(registry: str, broker: str, home: str, may_end: str, lease_seconds: str) -> int:
    configure("rude-worker", format="text")
    app = make_app(broker, Path(home))
    work = partial(count, Path(may_end))
    kind = JobKind(KIND, QUEUE, Int32Value, Int32Value, lambda _request: None, work)
    client = GrpcJobs.connect(registry, timeout=60)
    lease = timedelta(seconds=float(lease_seconds))
    register(app, kind, client, heartbeat=timedelta(seconds=0.2), lease=lease)
    return run_worker(app, [QUEUE])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
