def vermeil_library(name, dependencies=[]):
    _vermeil_unit(name, dependencies)


def vermeil_service(name, dependencies=[]):
    _vermeil_unit(name, dependencies)
    pex_binary(
        name="pex",
        entry_point=f"vermeil_{name.replace('-', '_')}.__main__",
        dependencies=[":lib"],
        execution_mode="venv",
        layout="packed",
        output_path=f"services/{name}",
    )


def _vermeil_unit(name, dependencies):
    resources(
        name="data",
        sources=["vermeil*/**/*", "!**/*.py", "!**/*.pyi", "!**/*.pyc"],
    )
    python_sources(
        name="lib",
        sources=["vermeil*/**/*.py", "vermeil*/**/*.pyi"],
        dependencies=[":data", *dependencies],
    )
    resources(
        name="test_data",
        sources=["tests/**/*", "!**/*.py", "!**/*.pyc"],
    )
    python_test_utils(
        name="test_support",
        sources=["tests/**/*.py", "tests/**/*.pyi", "!tests/**/test_*.py"],
        dependencies=[":test_data"],
    )
    python_tests(
        name="tests",
        sources=["tests/**/test_*.py"],
        dependencies=[":test_data"],
    )
    resources(name="build_files", sources=["pyproject.toml", "README.md"])
    python_distribution(
        name="dist",
        dependencies=[":lib", ":build_files"],
        provides=python_artifact(name=f"vermeil-{name}", version="0.1.0"),
        generate_setup=False,
        sdist=False,
    )
