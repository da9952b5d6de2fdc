"""The house rules that no linter knows: sizes, the root folder, money types, locks and stray secrets."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("libs", "services", "infra", "bench", "tests")
MAX_FILE, MAX_FUNCTION = 400, 50  # Lines
IN_ROOT = {
    ".ci",
    ".dockerignore",
    ".env.example",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "bench",
    "docker-compose.yml",
    "docs",
    "infra",
    "libs",
    "pyproject.toml",
    "requirements",
    "services",
    "tests",
}
# The model of the underlying: estimates of probabilities and of the price of a coin, which are never booked.
MODEL = {
    "candles.py",
    "digitals.py",
    "fair.py",
    "fairvalue.py",
    "market.py",
    "underlying.py",
    "updown.py",
    "volatility.py",
}
MODEL |= {"bootstrap.py", "evidence.py", "forecasts.py", "logistic.py", "meter.py", "scoring.py", "sequential.py"}
MODEL |= {"gate.py", "trading.py", "scanners.py"}
MONEY = re.compile(r"usd|cash|cost|edge|fee|pnl|shares|limit|notional|payout|reserved|bankroll|tick$|vwap")
LOCKED = "alerter all build cli console dev embedded evaluate executor migrate recorder replay risk sandbox scanner"
SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|(?i:private_key|secret|token)\s*[=:]\s*[\"']?0x[0-9a-f]{64}")


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project, committed or about to be."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def sources() -> Iterator[Path]:
    return (path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in CODE)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_nothing_waits_in_a_way_that_swallows_a_cancellation() -> None:
    """`asyncio.wait_for` of Python 3.11 does: see `pmarb.waiting`."""
    ours = [path for path in sources() if path.relative_to(ROOT).parts[0] in ("libs", "services")]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ours
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "wait_for")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "wait_for" for alias in node.names))
    ]
    assert len(ours) > 300
    assert found == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in sizes.items() if lines > MAX_FILE} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in functions(ast.parse(path.read_text()))
        if node.end_lineno and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]
    assert long == []


def test_no_money_of_the_domain_is_a_float() -> None:
    floats = [
        f"{path.name}:{field.lineno} {ast.unparse(field)}"
        for path in (ROOT / "libs/pmarb/domain").glob("*.py")
        for field in fields(ast.parse(path.read_text()))
        if re.search(r"\bfloat\b", ast.unparse(field.annotation))
        if path.name not in MODEL or MONEY.search(ast.unparse(field.target))
    ]
    assert floats == []


def fields(tree: ast.AST) -> Iterator[ast.AnnAssign]:
    for owner in ast.walk(tree):
        if isinstance(owner, ast.ClassDef):
            yield from (node for node in owner.body if isinstance(node, ast.AnnAssign))


def test_the_domain_imports_the_standard_library_and_itself() -> None:
    strangers = [
        f"{path.name} imports {name}"
        for path in (ROOT / "libs/pmarb/domain").glob("*.py")
        for name in imports(ast.parse(path.read_text()))
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("pmarb.domain")
    ]
    assert strangers == []


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_the_root_folder_holds_nothing_unexpected() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in files()} - IN_ROOT == set()


def test_there_is_a_lock_for_every_extra() -> None:
    assert sorted(path.stem for path in (ROOT / "requirements").glob("*.txt")) == LOCKED.split()


@pytest.mark.parametrize("name", LOCKED.split())
def test_a_lock_pins_and_hashes_everything_and_names_no_registry(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    entries = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert entries
    assert [line for line in entries if not re.match(r"^[a-z0-9._-]+(\[[a-z,]+\])?==\S+ .*\\$", line)] == []
    assert [line for line in lines if "://" in line or line.strip().startswith("-")] == [
        line for line in lines if line.strip().startswith("--hash=sha256:")
    ]


def test_services_and_development_run_the_same_versions() -> None:
    development = pins("dev")
    different = {name: pins(name) - development for name in LOCKED.split()}
    assert {name: found for name, found in different.items() if found} == {}


def pins(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;]+)", text, re.MULTILINE))


def test_only_the_executor_can_sign() -> None:
    signing = {name for name in LOCKED.split() if any(pin.startswith("polymarket-client==") for pin in pins(name))}
    assert signing == {"executor", "all", "dev"}


def test_text_files_end_with_a_newline_and_hold_no_key() -> None:
    for path in files():
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".sh", ".conf", ".json", ""}:
            text = path.read_text()
            assert not text or text.endswith("\n"), path
            assert not SECRET.search(text), path
