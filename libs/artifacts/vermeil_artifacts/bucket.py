"""Makes the bucket of VERMEIL_ARTIFACTS_URL unless it is there: `python -m vermeil_artifacts.bucket`.

For deployments that bring an S3 server of their own, which begins empty. Elsewhere the bucket is made by
whoever owns the server, and services only look for it.
"""

import sys

from vermeil_errors import VermeilError
from vermeil_settings import ArtifactSettings

from vermeil_artifacts.opening import make_bucket

if __name__ == "__main__":
    try:
        make_bucket(ArtifactSettings.load())
    except VermeilError as error:
        sys.exit(f"bucket: {error}")
