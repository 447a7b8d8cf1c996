"""The rules of the house that no other test would notice being broken."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "platform" / "shelfcode"

HOMELESS = {
    "test_layout.py", "test_configuration_docs.py", "test_cluster.py", "test_browser.py", "test_review_browser.py", "test_http.py",
    "test_gpu_benchmark.py",
}  # fmt: skip
"""Tests of the repository itself or of a whole server, not of a module."""


def test_platform_is_no_package_or_else_pythons_own_platform_would_be_shadowed() -> None:
    assert LIBRARY.is_dir()
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_every_test_file_stands_where_its_module_stands() -> None:
    homes = {"jobs": ROOT, "serve_apps": ROOT}
    strangers = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT / "tests")
        module = homes.get(relative.parts[0], LIBRARY) / relative.with_name(relative.name.removeprefix("test_"))
        if not module.exists() and relative.name not in HOMELESS:
            strangers.append(str(relative))
    assert strangers == []


def test_imports_go_one_way_and_the_maths_knows_no_ray() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_a_python_without_the_libraries_is_told_which_one_it_is_and_what_to_do() -> None:
    command = [sys.executable, "-S", "-c", "import shelfcode"]  # -S: without what is installed beside it
    done = subprocess.run(command, cwd=LIBRARY.parent, capture_output=True, text=True, check=False, env={})
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {sys.executable} has none of the libraries that Shelfcode needs")
    assert "PATH" in last
