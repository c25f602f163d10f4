"""The folder names are ours alone, and the wheel holds what the command needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ingest", "rules", "response", "api", "dashboards", "simulators")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_other_distribution_owns_a_folder_name(folder: str) -> None:
    owners = set(packages_distributions().get(folder, [])) - {"courtyard"}
    assert not owners, f"{folder}/ is also shipped by {', '.join(sorted(owners))}"
    assert folder not in sys.stdlib_module_names


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_name_means_this_checkout(folder: str) -> None:
    spec = find_spec(folder)
    assert spec is not None
    assert spec.origin == str(ROOT / folder / "__init__.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*build, "--no-build-isolation", "-w", str(out), str(ROOT)], check=True)
    return next(out.glob("courtyard-*.whl"))


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) - held == set()
    assert {name.split("/")[0] for name in held} == set(FOLDERS)


def test_the_lock_files_name_no_index() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text
