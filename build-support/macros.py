# One call a unit: sources, tests, a wheel; a service also gets a pex. Who may know whom is the table here.

# Lowest layer first; a library may know the layers below its own. .importlinter says the same of imports.
_LAYERS = (
    ("contracts", "errors", "settings", "telemetry", "testing"),
    ("artifacts",),
    ("media", "rpc"),
    ("jobs",),
    ("data", "metrics", "model"),
    ("training",),
    ("client",),
)
_FOUNDATION = _LAYERS[0]
_WITHOUT_TORCH = ("artifacts", "client", "demo", "gateway", "jobs", "registry", "rpc", *_FOUNDATION)


def vermeil_library(name, dependencies=[]):
    _vermeil_unit(name, dependencies)
    _knows(name, _libraries_below(name))


def vermeil_service(name, dependencies=[], test_dependencies=[]):
    _vermeil_unit(name, dependencies, test_dependencies)
    pex_binary(
        name="pex",
        entry_point=f"{_package(name)}.__main__",
        dependencies=[":lib"],
        execution_mode="venv",
        layout="packed",
        output_path=f"{name}.pex",
    )
    if build_file_dir().parts[0] == "services":
        _knows(name, [library for layer in _LAYERS for library in layer])


def _libraries_below(name):
    if name == "model":
        return ["errors"]
    below = []
    for layer in _LAYERS:
        if name in layer:
            return [*below, *(_FOUNDATION if name in _FOUNDATION else ())]
        below += layer
    raise ValueError(f"libs/{name} has no layer yet: add it to build-support/macros.py and .importlinter")


def _knows(name, libraries):
    forbidden = [] if name == "registry" else ["sqlalchemy", "alembic"]
    if name in _WITHOUT_TORCH:
        forbidden += ["torch", "torchvision", "torchaudio", "transformers"]
    __dependencies_rules__(
        (
            "*",
            f"//{build_file_dir()}/**",
            *(f"//libs/{library}/**" for library in libraries),
            *(f"!//3rdparty/python#{package}" for package in forbidden),
            "//3rdparty/**",
            "//conftest.py",
            "!*",
        ),
    )


def _package(name):
    return "vermeil_" + name.replace("-", "_")


def _vermeil_unit(name, dependencies, test_dependencies=[]):
    resources(
        name="data",
        sources=["vermeil*/**/*", "!**/*.py", "!**/*.pyi", "!**/*.pyc"],
    )
    # Alembic loads migrations from their folder, not by import: wherever the unit goes, they go too.
    resources(name="migrations", sources=["vermeil*/migrations/**/*.py"])
    python_sources(
        name="lib",
        sources=["vermeil*/**/*.py", "vermeil*/**/*.pyi", "!vermeil*/migrations/**"],
        dependencies=[":data", ":migrations", *dependencies],
    )
    resources(
        name="test_data",
        sources=["tests/**/*", "!**/*.py", "!**/*.pyc"],
    )
    python_test_utils(
        name="test_support",
        sources=["tests/**/*.py", "!tests/**/test_*.py"],
        dependencies=[":test_data"],
    )
    # Scripts that find each other in their own folder, so nothing to be imported by others.
    resources(name="benchmarks", sources=["benchmarks/*.py"])
    python_tests(
        name="tests",
        sources=["tests/**/test_*.py"],
        # One process for the unit: importing torch for every file takes longer than the tests.
        batch_compatibility_tag=name,
        # The whole unit, also what its tests start by name.
        dependencies=[":lib", ":test_data", ":test_support", ":benchmarks", *test_dependencies],
    )
    resources(name="build_files", sources=["pyproject.toml", "README.md"])
    python_distribution(
        name="dist",
        dependencies=[":lib", ":build_files"],
        provides=python_artifact(name=f"vermeil-{name}", version="0.1.0"),
        generate_setup=False,
        sdist=False,
    )
