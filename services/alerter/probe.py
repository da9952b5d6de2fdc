"""`python -m services.alerter.probe`: sends a test alert to every channel and prints a line of JSON for each."""

import json
import sys

from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.settings import load
from services.alerter.__main__ import known_channels
from services.alerter.channels import Channel, ChannelFailed
from services.alerter.settings import AlerterSettings


def main() -> int:
    """0 when every channel took it, 1 when one did not, 3 when there is none."""
    targets = known_channels(load(AlerterSettings))
    results = [_try(channel) for channel in targets]
    return 3 if not results else int(not all(results))


def _try(channel: Channel) -> bool:
    alert = Alert(
        kind=AlertKind.TEST,
        priority=Priority.NORMAL,
        dedupe_key="test",
        title="pm-arb test alert",
        body="If you can read this, alerts reach you.",
        ts_event=0,
        ts_init=0,
    )
    error = ""
    try:
        channel.send(alert)
    except ChannelFailed as failed:
        error = str(failed)
    sys.stdout.write(json.dumps({"channel": channel.name, "delivered": not error, "error": error}) + "\n")
    return not error


if __name__ == "__main__":
    sys.exit(main())
