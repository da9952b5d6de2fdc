"""Where alerts go: one Apprise address each, with the priority in the channel's own words."""

import logging
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import apprise

from pmarb.domain.messages import Alert, Priority

_TYPE = {
    Priority.CRITICAL: apprise.NotifyType.FAILURE,
    Priority.HIGH: apprise.NotifyType.WARNING,
    Priority.NORMAL: apprise.NotifyType.INFO,
    Priority.LOW: apprise.NotifyType.INFO,
}
# Pushover repeats an emergency every `retry` seconds until somebody acknowledges it, for `expire` seconds.
_PUSHOVER = {
    Priority.CRITICAL: "priority=emergency&retry=60&expire=3600",
    Priority.HIGH: "priority=high",
    Priority.NORMAL: "priority=normal",
    Priority.LOW: "priority=low",
}
_NTFY = {
    Priority.CRITICAL: "priority=max",
    Priority.HIGH: "priority=high",
    Priority.NORMAL: "priority=default",
    Priority.LOW: "priority=low",
}
_GOTIFY = {
    Priority.CRITICAL: "priority=emergency",
    Priority.HIGH: "priority=high",
    Priority.NORMAL: "priority=normal",
    Priority.LOW: "priority=low",
}
_WORDS = {"pover": _PUSHOVER, "ntfy": _NTFY, "ntfys": _NTFY, "gotify": _GOTIFY, "gotifys": _GOTIFY}


class UnknownChannel(ValueError):
    """An address that Apprise does not understand. The text holds nothing of it but its scheme."""


class ChannelFailed(ConnectionError):
    """The channel did not take the alert."""


@dataclass(frozen=True, slots=True)
class Channel:
    """`name` may be logged; `url` is a secret."""

    name: str
    url: str = field(repr=False)

    def send(self, alert: Alert) -> None:
        """Deliver, blocking for some seconds at most.

        Raises:
            ChannelFailed: it was not taken.
        """
        target = apprise.Apprise.instantiate(address_for(self.url, alert.priority), suppress_exceptions=True)
        if target is None:
            raise ChannelFailed("Apprise does not understand this address any more")
        if "overflow=" not in self.url:
            target.overflow_mode = apprise.OverflowMode.SPLIT  # Pushover refuses more than 1024 characters
        # Said to be text: a channel of HTML refuses or swallows what looks like a tag, such as a venue's error page.
        taken = apprise.Apprise(target).notify(
            title=alert.title,
            body=alert.body,
            notify_type=_TYPE[alert.priority],
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not taken:
            raise ChannelFailed("the notification was not taken")


def address_for(url: str, priority: Priority) -> str:
    """The address with the priority in the channel's own words, unless the operator chose one."""
    parts = urlsplit(url)
    words = _WORDS.get(parts.scheme.lower())
    if words is None or "priority=" in parts.query:
        return url
    return f"{url}{'&' if parts.query else '?'}{words[priority]}"


def channels(urls: tuple[str, ...]) -> tuple[Channel, ...]:
    """The channels of these addresses.

    Raises:
        UnknownChannel: naming the position of the wrong address.
    """
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # Its own lines repeat ours and may show addresses
    return tuple(_channel(number, url) for number, url in enumerate(urls, start=1))


def _channel(number: int, url: str) -> Channel:
    scheme = url.partition("://")[0] if "://" in url else "?"
    if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
        raise UnknownChannel(
            f"APPRISE_URLS: address {number} (scheme {scheme}) is none that Apprise knows; "
            "Pushover is pover://user@token, others: https://github.com/caronc/apprise/wiki"
        )
    return Channel(name=f"{scheme}#{number}", url=url)
