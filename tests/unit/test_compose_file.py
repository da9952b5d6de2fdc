"""What docker-compose.yml promises about keys, doors and capabilities, read from the file itself."""

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pmarb.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(SERVICES.keys() - {"redis", "postgres"})
WORKERS = sorted(SERVICES.keys() - {"redis", "postgres", "migrate", "sandbox", "recorder", "cli"})
ONCE = {"migrate", "cli"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_the_services_are_those_of_the_architecture() -> None:
    expected = "alerter console executor migrate postgres redis risk sandbox scanner"
    assert sorted(name for name, service in SERVICES.items() if "profiles" not in service) == expected.split()
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "recorder": ["record"],
        "cli": ["by-hand"],
    }


def test_what_is_run_by_hand_starts_nothing_else() -> None:
    assert "depends_on" not in SERVICES["cli"]
    assert SERVICES["cli"]["entrypoint"] == ["pm-arb"]


def test_only_the_executor_is_given_the_wallet_key() -> None:
    marks = ("WALLET", "CLOB_API", "/run/secrets")
    holders = {name for name, service in SERVICES.items() if any(mark in str(service) for mark in marks)}
    assert holders == {"executor"}


def test_the_folder_of_secrets_is_there_before_docker_would_make_it_as_root() -> None:
    assert "./infra/secrets:/run/secrets:ro" in SERVICES["executor"]["volumes"]
    page = (ROOT / "infra" / "secrets" / "README.md").read_text()
    (user,) = re.findall(r"^USER (\d+):", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    assert f"install -m 400 -o {user} " in page
    kept = subprocess.run(["git", "check-ignore", "infra/secrets/wallet"], cwd=ROOT, capture_output=True)
    assert kept.returncode in (0, 128)  # 128: not a git checkout


@pytest.mark.parametrize(
    ("secret", "holder"), [("APPRISE_URLS", "alerter"), ("CONSOLE_TOKEN", "console"), ("POSTGRES_DB", "postgres")]
)
def test_a_secret_goes_to_its_one_user(secret: str, holder: str) -> None:
    assert {name for name, service in SERVICES.items() if secret in str(service)} == {holder}


@every_service
def test_every_port_is_published_on_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_a_container_can_change_nothing_but_its_data(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])


@every_service
def test_memory_processes_and_logs_are_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"].endswith("m")
    assert service["pids_limit"] <= 256
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@every_service
def test_health_is_checked_by_everything_that_stays(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check == {"disable": True} if name in ONCE else check["test"][0].startswith("CMD")


@every_service
def test_everything_that_stays_comes_back_after_a_crash(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")


def test_the_kill_has_time_for_its_receipt() -> None:
    assert SERVICES["executor"]["stop_grace_period"] == "30s"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_waits_for_the_schema_and_its_servers(name: str) -> None:
    assert {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()} == {
        "redis": "service_healthy",
        "postgres": "service_healthy",
        "migrate": "service_completed_successfully",
        "sandbox": "service_healthy",
    }


@pytest.mark.parametrize("name", OURS)
def test_every_image_is_the_same_recipe_for_one_service(name: str) -> None:
    assert SERVICES[name]["build"] == {
        "context": ".",
        "dockerfile": "infra/Dockerfile",
        "args": {"SERVICE": name},
    }
    assert (ROOT / "requirements" / f"{name}.txt").exists()


@pytest.mark.parametrize("name", [*WORKERS, "recorder"])
def test_every_setting_of_a_service_can_be_set(name: str) -> None:
    module = importlib.import_module(f"services.{name}.settings")
    own = [found for found in vars(module).values() if isinstance(found, type) and issubclass(found, Settings)]
    fields = {field.upper() for settings in own for field in settings.model_fields}
    assert fields - SERVICES[name]["environment"].keys() == set()


def test_the_sandbox_remembers_its_run_in_a_volume_that_its_user_owns() -> None:
    folder = SERVICES["sandbox"]["environment"]["SANDBOX_STATE"]
    assert SERVICES["sandbox"]["volumes"] == [f"sandbox:{folder}"]
    assert COMPOSE["volumes"].keys() == {"redis", "postgres", "sandbox", "tapes"}
    recipe = (ROOT / "infra" / "Dockerfile").read_text()
    assert f"install --directory --owner 10001 --group 10001 --mode 0700 {folder}" in recipe


def test_the_scanner_can_be_scaled() -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES["scanner"].keys()


def test_the_bus_the_ledger_and_the_rules_have_no_way_out() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    inside = {name for name, service in SERVICES.items() if service["networks"] == ["back"]}
    assert inside == {"redis", "postgres", "migrate", "risk"}
    assert SERVICES["recorder"]["networks"] == ["front"]


def test_tapes_outlive_their_recorder_in_a_folder_that_its_user_owns() -> None:
    folder = SERVICES["recorder"]["environment"]["RECORD_DIR"]
    assert SERVICES["recorder"]["volumes"] == [f"tapes:{folder}"]
    assert f"tapes:{folder}" in SERVICES["cli"]["volumes"]
    assert f" {folder}\n" in (ROOT / "infra" / "Dockerfile").read_text()


def test_the_image_drops_root_and_asks_no_registry_for_its_recipe() -> None:
    recipe = (ROOT / "infra" / "Dockerfile").read_text()
    assert "USER 10001:10001" in recipe
    assert "syntax=" not in recipe
    assert "--require-hashes --only-binary :all:" in recipe


def test_redis_keeps_what_it_acknowledged_and_evicts_nothing() -> None:
    settings = (ROOT / "infra" / "redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"} <= set(settings)
