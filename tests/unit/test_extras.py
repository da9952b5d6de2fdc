"""The packages of an extra are enough for its programs, with those of all other extras out of reach."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "alerter": "services.alerter.__main__ services.alerter.probe",
    "cli": "services.cli.__main__ services.recorder.__main__ services.replay.__main__",
    "console": "services.console.__main__",
    "evaluate": "services.cli.pictures",
    "executor": "services.executor.__main__ services.executor.doctor services.executor.kill",
    "migrate": "pmarb.db.migrate",
    "recorder": "services.recorder.__main__",
    "replay": "services.replay.__main__",
    "risk": "services.risk.__main__",
    "sandbox": "services.sandbox.__main__",
    "scanner": "services.scanner.__main__",
}
IMPORT = """
import importlib, importlib.metadata, pathlib, re, sys
lock, *modules = sys.argv[1:]
def plain(name):
    return re.sub("[-_.]+", "-", name).lower()
locked = set(map(plain, re.findall("^([A-Za-z0-9._-]+)==", pathlib.Path(lock).read_text(), re.M)))
owners = importlib.metadata.packages_distributions()
class Guard:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and name in owners and name not in ("pmarb", "services"):
            if locked.isdisjoint(map(plain, owners[name])):
                raise ModuleNotFoundError(f"{name} is of none of the packages in {lock}", name=name)
sys.meta_path.insert(0, Guard)
for module in modules:
    importlib.import_module(module)
"""


@pytest.mark.parametrize("extra", PROGRAMS)
def test_an_extra_is_enough_for_its_programs(extra: str) -> None:
    lock = ROOT / "requirements" / f"{extra}.txt"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(lock), *PROGRAMS[extra].split()], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-600:]


def test_a_package_of_another_extra_is_out_of_reach() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(ROOT / "requirements" / "risk.txt"), "services.scanner.__main__"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "httpx is of none of the packages" in done.stderr
