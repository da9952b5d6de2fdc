"""Markets on the news of a made-up world: one for each fee category, an event with "Other", a game, a newer id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.sandbox import wording
from services.sandbox.families import Spot, date_slug, eastern, midnight
from services.sandbox.fees import FeeSchedule
from services.sandbox.terms import DAY_S, HOUR_S, YES_NO, Making, Rule, Series, Terms

UMA_S = 7200.0
SLOW = Making(every_s=30.0, lively_from_s=30 * DAY_S, touch_usd=80.0, top3_usd=900.0)
GAME = Making(every_s=2.0, lively_from_s=DAY_S)


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """A question with its fee category (venue.md 4.1) and log-odds."""

    tag: str
    words: str
    fee_type: str
    rate: str
    rebate: str
    weight: float

    @property
    def fees(self) -> FeeSchedule:
        return FeeSchedule(rate=Decimal(self.rate), rebate_rate=Decimal(self.rebate))


# tag, what may happen, fee type, rate, rebate share, log-odds.
_ROWS = (
    ("sports", "the visitors win the cup", "sports_fees_v3", "0.05", "0.15", 0.4),
    ("economics", "the central bank cut its rate", "economics_fees", "0.05", "0.25", -1.1),
    ("culture", "the film of the year win a prize", "culture_fees", "0.05", "0.25", 0.9),
    ("weather", "the capital see rain", "weather_fees", "0.05", "0.25", 0.2),
    ("general", "the bridge open to traffic", "general_fees", "0.05", "0.25", -0.3),
    ("finance", "the index close higher", "finance_prices_fees", "0.04", "0.25", 0.1),
    ("politics", "the bill pass the house", "politics_fees", "0.04", "0.25", -0.6),
    ("mentions", "the speaker say the word", "mentions_fees", "0.04", "0.25", 1.4),
    ("tech", "the model be released", "tech_fees", "0.04", "0.25", -1.8),
    ("geopolitics", "the treaty be signed", "zero_fees", "0", "0", -0.9),
)
TOPICS = tuple(
    Topic(tag=tag, words=words, fee_type=kind, rate=rate, rebate=rebate, weight=weight)
    for tag, words, kind, rate, rebate, weight in _ROWS
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """One YES/NO event a day for a topic; ends at midnight in New York."""

    topic: Topic
    name: str = "plain"

    @property
    def key(self) -> str:
        return f"{self.topic.tag}:{self.name}"

    @property
    def series(self) -> Series | None:
        return None

    def starts(self, now_s: int) -> Iterable[int]:
        return (midnight(now_s),)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        return (declared(self.topic, start, family=self.name),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmented:
    """A neg-risk event with named outcomes and "Other", whose meaning may change as outcomes are named."""

    name: str = "augmented"
    key: str = "election:augmented"

    @property
    def series(self) -> Series | None:
        return None

    def starts(self, now_s: int) -> Iterable[int]:
        return (midnight(now_s),)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        topic = next(each for each in TOPICS if each.tag == "politics")
        date, end = date_slug(eastern(start)), midnight(start + DAY_S + DAY_S // 12)
        people = (("Alder", 0.6), ("Birch", 0.2), ("Cedar", -0.8), ("Other", -1.6))
        slugs = tuple(f"will-{name.lower()}-win-the-vote-on-{date}" for name, _ in people)
        return [
            Terms(
                family=self.name,
                slug=slug,
                event_slug=f"who-wins-the-vote-on-{date}",
                question=f"Will {'another candidate' if name == 'Other' else name} win the vote?",
                event_title="Who wins the vote?",
                description=wording.declared(f"{'another candidate' if name == 'Other' else name} wins the vote"),
                source="",
                rule=Rule.DECLARED,
                start=start,
                end=end,
                known=end,
                labels=YES_NO,
                tags=("politics",),
                fees=topic.fees,
                fee_type=topic.fee_type,
                neg_risk=True,
                augmented=True,
                other=name == "Other",
                group=slugs,
                group_title=name,
                group_threshold=str(number),
                weight=weight,
                held=False,
                settle_s=UMA_S,
                making=SLOW,
            )
            for number, (slug, (name, weight)) in enumerate(zip(slugs, people, strict=True))
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Game:
    """A match every six hours: named outcomes, and takers wait three seconds after their order was accepted."""

    name: str = "sports"
    key: str = "game:sports"

    @property
    def series(self) -> Series:
        return Series(slug="sandbox-league", title="Sandbox League", recurrence="daily")

    def starts(self, now_s: int) -> Iterable[int]:
        current = now_s // (6 * HOUR_S) * 6 * HOUR_S
        return (current, current + 6 * HOUR_S)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        topic = TOPICS[0]
        slug = f"sbx-hares-tortoises-{start}"
        return (
            Terms(
                family=self.name,
                slug=slug,
                event_slug=slug,
                question="Hares vs. Tortoises",
                event_title="Hares vs. Tortoises",
                description=wording.declared("the named team wins the match"),
                source="",
                rule=Rule.DECLARED,
                start=start + 4 * HOUR_S,
                end=start + 6 * HOUR_S,
                known=start + 6 * HOUR_S,
                labels=("Hares", "Tortoises"),
                series=self.series,
                tags=("sports", "games"),
                fees=topic.fees,
                fee_type=topic.fee_type,
                weight=0.3,
                held=False,
                seconds_delay=3,
                game=True,
                settle_s=UMA_S,
                making=GAME,
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A daily event of the newer protocol: position ids, orders signed for version 3."""

    name: str = "positions"
    key: str = "tech:positions"

    @property
    def series(self) -> Series | None:
        return None

    def starts(self, now_s: int) -> Iterable[int]:
        return (midnight(now_s),)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        topic = next(each for each in TOPICS if each.tag == "tech")
        return (declared(topic, start, family=self.name, position=True),)


def declared(topic: Topic, start: int, *, family: str, position: bool = False) -> Terms:
    moment, end = eastern(start), midnight(start + DAY_S + DAY_S // 12)
    title = f"Will {topic.words} on {moment:%B} {moment.day}?"
    kind = "-v2" if position else ""
    slug = f"will-{topic.words.replace(' ', '-')}-on-{date_slug(moment)}{kind}"
    return Terms(
        family=family,
        slug=slug,
        event_slug=slug,
        question=title,
        event_title=title,
        description=wording.declared(topic.words),
        source="",
        rule=Rule.DECLARED,
        start=start,
        end=end,
        known=end,
        labels=YES_NO,
        tags=(topic.tag,),
        fees=topic.fees,
        fee_type=topic.fee_type,
        weight=topic.weight,
        held=topic.tag == "finance",
        settle_s=UMA_S,
        position=position,
        making=SLOW,
    )


PLAIN = tuple(Plain(topic=topic) for topic in TOPICS)
