"""The simulated market that tries the meter: the real rules trade it, and a seed is a seed."""

from bench.trial import live, measure
from pmarb.domain.meter import Verdict


def test_a_seed_lives_the_same_life_twice_and_leaves_evidence() -> None:
    one, other = live("slow_makers", 1, 0.35), live("slow_makers", 1, 0.35)
    assert one.report.decision_hash == other.report.decision_hash
    found = one.report.evidence
    assert found == other.report.evidence
    assert one.report.settlement.agreed == one.report.settlement.known > 0
    assert any(bet.filled for bet in found.bets)
    assert all(bet.marks for bet in found.bets if bet.closes_at - bet.decided_at > 70e9)
    assert all(sample.mid is not None for sample in found.samples[:20])
    assert measure(one, 1).verdict is not Verdict.EDGE, "twenty minutes are not enough"
