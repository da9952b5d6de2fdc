"""What the documents say is what the code does."""

import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.edge import break_even, max_buy_price, net_edge
from pmarb.domain.fees import for_category
from pmarb.domain.messages import STREAM_OF, RejectionReason
from pmarb.domain.orders import OrderState
from pmarb.domain.values import Side
from services.cli import docs
from services.cli.words import REASONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_generated_tables_are_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert docs.rendered(text) == text, "run: python -m services.cli.docs"


def test_every_reason_and_state_has_its_words() -> None:
    assert set(REASONS) == set(RejectionReason)
    assert set(docs.STATES) == set(OrderState)


def test_every_message_is_in_the_table() -> None:
    table = docs.tables()["messages"]
    for cls in STREAM_OF:
        assert f"`{cls.__name__}`" in table
        assert all(f"`{field.name}`" in table for field in fields(cls))


def test_the_worked_trade_of_the_readme_is_right() -> None:
    crypto, price, fair, shares = for_category("crypto"), Decimal("0.50"), Decimal("0.62"), Decimal(5)
    fee = crypto.charged(shares=shares, price=price)
    cost = shares * price + fee
    threshold = max(Decimal("0.02"), 2 * Decimal("0.03"))
    limit = max_buy_price(fair=fair, min_edge=threshold, fees=crypto, tick=Decimal("0.01"))
    said = (
        f"**{net_edge(side=Side.BUY, fair=fair, price=price, fees=crypto).normalize()}**",
        f"| {break_even(side=Side.BUY, price=price, fees=crypto).normalize()} |",
        f"| {limit} |",
        f"| {threshold} |",
        f"${fee.normalize()} = ${cost.normalize()}",
        f"+${(shares - cost).normalize()}",
        f"−${cost.normalize()}",
    )
    for words in said:
        assert words in README


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_setting_of_the_readme_exists() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    table = README.split("## Settings")[1].split("## Stop")[0]
    for name in re.findall(r"`([A-Z][A-Z_]{4,})`", table):
        assert f"{name}=" in example, name
