"""`.env.example` names every setting with the default that the code has."""

from tests import env_example


def test_it_is_what_the_settings_say() -> None:
    assert env_example.PATH.read_text() == env_example.rendered(), "stale: python -m tests.env_example"
