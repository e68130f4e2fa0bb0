"""A worker for tests to mistreat: `rude_worker.py REGISTRY BROKER HOME`.

Its work counts steps in a checkpoint, tells its process id, and makes a model version at the end.
"""

import os
import sys
import time
from datetime import timedelta
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


def count(context: JobContext, steps: Int32Value) -> JobOutcome:
    checkpoint = context.workdir / "checkpoint"
    start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(start, steps.value):
        context.progress(step, steps.value, str(os.getpid()))
        context.check()
        time.sleep(0.01)
        staged = context.workdir / "staged"
        staged.write_text(str(step + 1))
        staged.replace(checkpoint)
    model = ArtifactRef(f"sha256:{steps.value:064x}", "model", 1)
    return JobOutcome(
        outputs={"model": model},
        result={"steps": steps.value, "resumed_at": start},
        model_versions=(NewModelVersion(MODEL, model),),
    )


def main(registry: str, broker: str, home: str) -> int:
    configure("rude-worker", format="text")
    app = make_app(broker, Path(home))
    kind = JobKind(KIND, QUEUE, Int32Value, Int32Value, lambda _request: None, count)
    client = GrpcJobs.connect(registry, timeout=2)
    register(app, kind, client, heartbeat=timedelta(seconds=0.2), lease=timedelta(seconds=1))
    return run_worker(app, [QUEUE])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
