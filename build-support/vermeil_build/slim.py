"""What an environment can do without once it is installed: it runs services, and builds and tests nothing.

Types stay, for some packages find out by them what to import late; so do headers of torch, for its compiler.
"""

import shutil
from pathlib import Path

_ANYWHERE = ("tests", "*.a")
_OF = {
    "numpy": ("_core/include", "distutils", "f2py"),  # to compile
    # To compile against it; ways to other machines that nobody here takes; its libraries by other names.
    "pyarrow": (
        *("include", "includes", "src", "*.pyx", "*.pxd", "*.pxi", "_pyarrow_cpp_tests*"),
        *("libarrow*flight*", "_flight*", "libarrow_s3*", "_s3fs*"),
        *("libarrow_python*.so", "libarrow_python*.so.*.*.*"),
    ),
    # Pages made by Node.js, which is not there; cutting videos in the browser; files for examples and tests.
    "gradio": ("templates/node", "templates/frontend/static/ffmpeg", "media_assets", "test_data"),
    "Crypto": ("SelfTest",),  # tests by another name
}


def surplus(packages: Path) -> list[Path]:
    """Folders and files below a site-packages that nothing needs to run."""
    found = [each for pattern in _ANYWHERE for each in packages.rglob(pattern)]
    for package, patterns in _OF.items():
        found += [each for pattern in patterns for each in (packages / package).glob(pattern)]
    return found


def slim(environment: Path) -> None:
    """Remove it from a virtual environment."""
    for packages in environment.glob("lib/python*/site-packages"):
        for each in surplus(packages):
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)  # it may have gone with its folder
