"""The scanner tells the bids of books that it knows to be true now, and of no others."""

from decimal import Decimal

from pmarb.clock import ManualClock
from pmarb.domain.values import NANOS
from services.scanner.board import Board
from tests.scanning import DOWN_TOKEN, UP_TOKEN, a_book, a_market, limits

NOW = 1_790_000_200 * NANOS


class Proven(dict[str, int]):
    """Since when each token's book is known to be true."""

    def proven(self, token: str) -> int:
        return self.get(token, 0)


def test_a_book_that_nobody_vouches_for_has_no_bid() -> None:
    proofs = Proven()
    board = Board(assets=("btc",), limits=limits(), clock=ManualClock(NOW), proofs=proofs, on_found=lambda _: None)
    board.add(a_market(), up=a_book(UP_TOKEN, bid="0.49", ask="0.50"), down=a_book(DOWN_TOKEN, bid="0", ask="0.51"))
    assert board.marks().bids == {}
    oldest = NOW - NANOS // 2
    proofs.update({UP_TOKEN: oldest, DOWN_TOKEN: oldest})
    told = board.marks()
    assert told.bids == {UP_TOKEN: Decimal("0.49"), DOWN_TOKEN: Decimal(0)}, "nothing bid is worth nothing, and known"
    assert told.ts_event == NOW
    proofs[UP_TOKEN] = oldest - 1
    assert set(board.marks().bids) == {DOWN_TOKEN}
