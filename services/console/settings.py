"""What the console reads from the environment."""

from pydantic import Field, SecretStr

from pmarb.settings import Settings


class ConsoleSettings(Settings):
    """Where the console listens and who may stop trading."""

    console_host: str = Field(default="127.0.0.1", description="address to listen on; keep it on loopback")
    console_port: int = Field(default=8080, ge=0, le=65535, description="port to listen on, 0 for any free one")
    console_token: SecretStr = Field(
        default=SecretStr(""), description="bearer token for POST /halt, /kill and /resume; empty: they are refused"
    )
    console_allowed_hosts: str = Field(
        default="127.0.0.1,localhost,console",
        description="names a browser may call the console by, comma separated (a guard against DNS rebinding)",
    )
    health_services: str = Field(
        default="scanner,risk,executor,alerter", description="services that /health wants alive, comma separated"
    )

    @property
    def allowed_hosts(self) -> list[str]:
        return _words(self.console_allowed_hosts)

    @property
    def expected(self) -> list[str]:
        return _words(self.health_services)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
