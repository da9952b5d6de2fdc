"""What `pm-arb doctor` asks the two servers: do they answer, are they new enough, will they keep what they get."""

import os
import re
import shutil
from importlib.resources import files
from typing import Any, Final

import psycopg
import redis

from pmarb.db import views
from pmarb.domain.checks import Check
from pmarb.domain.messages import TradingState
from pmarb.settings import Settings
from services.cli import context
from services.cli.trouble import Trouble

OLDEST_REDIS: Final = (6, 2)  # Streams with XAUTOCLAIM
OLDEST_POSTGRES: Final = 14
LEAST_DISK: Final = 1 << 30
START: Final = "pm-arb up, or set {name} to a running one"


def of_redis(of: Settings) -> list[Check]:
    """Reachable, recent, and durable: a bus that forgets or evicts loses approvals in silence."""
    try:
        with redis.Redis.from_url(of.redis_url, socket_timeout=3, socket_connect_timeout=3) as client:
            info: dict[str, Any] = client.info()
            folder = _config(client, "dir")
    except redis.RedisError as error:
        return [Check(name="redis", ok=False, detail=f"does not answer: {error}", fix=START.format(name="REDIS_URL"))]
    version = str(info.get("redis_version", "0"))
    recent = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= OLDEST_REDIS
    return [
        Check(name="redis", ok=recent, detail=f"answers, version {version}", fix="" if recent else "6.2 or newer"),
        _durable(info),
        _evicts(info),
        _disk("redis_disk", folder),
    ]


def _config(client: "redis.Redis", name: str) -> str:
    try:
        found = client.config_get(name)
    except redis.ResponseError:  # Managed servers forbid it
        return ""
    return str(dict(found).get(name, ""))


def _durable(info: dict[str, Any]) -> Check:
    on, written = bool(info.get("aof_enabled")), info.get("aof_last_write_status", "ok") == "ok"
    return Check(
        name="redis_aof",
        ok=on and written,
        detail=f"append-only file {'on' if on else 'OFF'}, last write {'ok' if written else 'FAILED'}",
        fix="" if on and written else "appendonly yes in redis.conf (infra/redis.conf), and a disk with room",
    )


def _evicts(info: dict[str, Any]) -> Check:
    policy = str(info.get("maxmemory_policy", "unknown"))
    ok = policy == "noeviction"
    return Check(
        name="redis_memory",
        ok=ok,
        detail=f"policy {policy}, {info.get('used_memory_human', '?')} used",
        fix="" if ok else "maxmemory-policy noeviction: full memory must refuse, not forget",
    )


def of_postgres(of: Settings) -> list[Check]:
    """Reachable, recent, with our newest schema, and room to write."""
    try:
        with context.ledger(of) as ledger:
            version = ledger.info.server_version // 10_000
            schema = _schema(ledger)
            folder = _data_folder(ledger)
    except Trouble as error:
        words = str(error).splitlines()[0]
        return [Check(name="postgres", ok=False, detail=words, fix=START.format(name="DATABASE_URL"))]
    recent = version >= OLDEST_POSTGRES
    fix = "" if recent else f"{OLDEST_POSTGRES} or newer"
    return [
        Check(name="postgres", ok=recent, detail=f"answers, version {version}", fix=fix),
        schema,
        _disk("postgres_disk", folder),
    ]


def _schema(ledger: views.Connection) -> Check:
    newest = _newest_revision()
    try:
        row = ledger.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    found = row[0] if row else "none"
    return Check(
        name="schema",
        ok=found == newest,
        detail=f"revision {found}, the newest is {newest}",
        fix="" if found == newest else "python -m pmarb.db.migrate",
    )


def _newest_revision() -> str:
    """The name that the last migration gives itself."""
    scripts = (files("pmarb.db.migrations") / "versions").iterdir()
    last = max((each for each in scripts if each.name.endswith(".py") and each.name[0].isdigit()), key=lambda s: s.name)
    found = re.search(r'^revision = "([^"]+)"', last.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else "unknown"


def _data_folder(ledger: views.Connection) -> str:
    try:
        row = ledger.execute("SHOW data_directory").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return str(row[0]) if row else ""


def _disk(name: str, folder: str) -> Check:
    if not folder or not os.path.isdir(folder):  # noqa: PTH112 - a path of another machine is no path here
        return Check(name=name, ok=True, detail="not visible from here", fix="look at the free space of its volume")
    free = shutil.disk_usage(folder).free
    ok = free >= LEAST_DISK
    return Check(name=name, ok=ok, detail=f"{free / 2**30:.1f} GiB free", fix="" if ok else "make room: at least 1 GiB")


def of_trading(of: Settings) -> list[Check]:
    """Whether trading is allowed, whether a kill was left unfinished, and what the ledger still holds open."""
    try:
        with context.ledger(of) as ledger:
            state = views.state(ledger)
            receipts = views.receipts(ledger, limit=1)
            left = views.open_orders(ledger)
    except Trouble:
        return []  # Said above
    proven = bool(receipts and receipts[0].verified_real and not receipts[0].open_after)
    unfinished = state.state is TradingState.KILLED and not proven
    why = f"{state.state} since {state.why!r} by {state.who}"
    return [
        Check(
            name="kill",
            ok=not unfinished,
            detail=f"{why}, zero open orders NOT proven" if unfinished else why,
            fix="pm-arb kill --direct" if unfinished else _resume(state.state),
        ),
        Check(
            name="open_orders",
            ok=not left,
            detail=f"{len(left)} orders are open in the ledger" + (f", the oldest {left[-1].state}" if left else ""),
            fix="a running executor settles them; else start it" if left else "",
        ),
    ]


def _resume(state: TradingState) -> str:
    return "" if state is TradingState.ACTIVE else "pm-arb resume --reason ..., once it is safe"
