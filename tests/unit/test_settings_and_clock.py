"""Settings name what is wrong and what is allowed; secrets come from files and stay secret; time can run faster."""

import errno
import os
import re
import time
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from pmarb.clock import ManualClock, ScaledClock
from pmarb.domain.values import NANOS
from pmarb.settings import Settings, WrongSettings, load, misspelt
from pmarb.venue.polybolt import PriceKeys
from services.cli.envfile import unread
from services.recorder.settings import RecorderSettings
from services.risk.settings import RiskSettings
from tests import env_example


def test_without_any_environment_it_is_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    settings = load(Settings)
    assert (settings.venue, settings.execution, settings.bankroll_usd) == ("sandbox", "live", Decimal(300))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VENUE", "binance", ["VENUE was 'binance'", "'sandbox' or 'polymarket'"]),
        ("CLOCK_SPEED", "0", ["CLOCK_SPEED was '0'", "greater than 0"]),
        ("BANKROLL_USD", "-5", ["BANKROLL_USD was '-5'", "greater than or equal to 1"]),
        ("HARD_CAP_USD", "21", ["HARD_CAP_USD was '21'", "less than or equal to 20"]),
    ],
)
def test_a_wrong_value_is_named(
    name: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as stop:
        load(RiskSettings)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAX_ORDRE_USD", "MAX_ORDER_USD"),
        ("MAX_ORDERS_USD", "MAX_ORDER_USD"),
        ("daily_loss_pcnt", "DAILY_LOSS_PCT"),
        ("BANKROL_USD_FILE", "BANKROLL_USD_FILE"),
    ],
)
def test_a_misspelt_limit_is_not_ignored(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(WrongSettings) as stop:
        load(RiskSettings)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {name} is no setting; did you mean {meant}? Correct it or take it away\n"


@pytest.mark.parametrize("service", env_example.SERVICES)
def test_no_setting_is_taken_for_another_one(service: str) -> None:
    named = re.findall(r"^#([A-Z0-9_]+)=", env_example.rendered(), re.MULTILINE)
    assert len(named) > 60
    usual = [*named, *(f"{name}_FILE" for name in named), "PATH", "HOME", "TZ", "DATABASE_URL_RO", "PGPASSWORD"]
    for settings in env_example.classes_of(service):
        assert misspelt(settings, usual) == {}


def test_what_nobody_reads_in_the_env_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MAX_ORDER_USD=3\nWALLET_PRIVATE_KEY_FILE=/x\nCOMPOSE_PROJECT_NAME=a\nALERT_URLS=ntfy://mine\n")
    assert unread(file) == []
    (tmp_path / ".env.example").write_text(env_example.rendered())
    assert unread(file) == ["ALERT_URLS"]
    file.unlink()
    assert unread(file) == []


def test_a_secret_comes_from_its_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://me:hunter2@db/x\n")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    settings = load(Settings)
    assert settings.dsn == "postgresql://me:hunter2@db/x"
    assert "hunter2" not in repr(settings)
    monkeypatch.delenv("DATABASE_URL")


def test_a_part_of_the_price_sockets_credentials_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLYBOLT_API_KEY", "hunter2")
    monkeypatch.setenv("POLYBOLT_API_SECRET", " ")
    with pytest.raises(WrongSettings):
        load(RecorderSettings)
    error = capsys.readouterr().err
    assert "POLYBOLT_API_KEY, POLYBOLT_API_SECRET and POLYBOLT_API_PASSPHRASE belong together" in error
    assert "hunter2" not in error


async def test_the_price_sockets_credentials_are_those_of_the_settings_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx.AsyncClient() as http:
        assert await RecorderSettings(venue="polymarket").price_keys(http) is None
        for part in ("KEY", "SECRET", "PASSPHRASE"):
            monkeypatch.setenv(f"POLYBOLT_API_{part}", part.lower())
        keys = await load(RecorderSettings).model_copy(update={"venue": "polymarket"}).price_keys(http)
    assert keys == PriceKeys(key="key", secret="secret", passphrase="passphrase")
    assert "secret=" not in repr(keys)


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere/dsn")
    with pytest.raises(WrongSettings):
        load(Settings)
    assert "DATABASE_URL_FILE was '/nowhere/dsn'; No such file" in capsys.readouterr().err


def test_a_secret_file_of_another_user_says_which_user_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "dsn"
    closed.write_text("postgresql://me@db/x")
    closed.chmod(0)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(closed))
    if os.access(closed, os.R_OK):
        monkeypatch.setattr(Path, "read_text", refused)  # Root reads everything
    with pytest.raises(WrongSettings):
        load(Settings)
    assert f"Permission denied: this runs as user {os.getuid()}" in capsys.readouterr().err


def refused(*_: object, **__: object) -> str:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_venue_time_runs_faster_from_its_anchor_and_latencies_do_not() -> None:
    anchor = time.time_ns() - 10 * NANOS
    clock = ScaledClock(speed=20, anchor=anchor)
    assert clock.now() - anchor == pytest.approx(200 * NANOS, rel=0.01)
    assert abs(clock.real() - time.time_ns()) < NANOS
    assert clock.in_real(10) == 0.5


def test_only_the_sandbox_may_bend_time() -> None:
    assert Settings(venue="polymarket", clock_speed=10).clock().speed == 1
    assert Settings(venue="sandbox", clock_speed=10).clock().speed == 10


async def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(time_ns=5)
    await clock.sleep(2)
    assert clock.now() == clock.real() == 5 + 2 * NANOS


def test_limits_allow_for_the_sandboxs_speed_and_shrink_for_real_money() -> None:
    fast, normal = RiskSettings(clock_speed=10).limits(), RiskSettings().limits()
    assert fast.stale_book - normal.stale_book == 9 * 50_000_000
    assert RiskSettings(venue="polymarket", execution="live").limits().trades_per_day == 10
    assert RiskSettings().limits().trades_per_day == 200
