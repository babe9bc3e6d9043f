"""The short form of the PAC's campaign."""

from .pac import MOST_SECONDS, run


def test_fifty_thousand_changed_pacs_are_groups_or_claims_or_our_own_error_and_none_takes_long() -> None:
    report = run(50_000, seed=1)

    assert report.failures == ()
    assert report.held == report.done == 50_000
    assert report.counts["read"] > 5_000  # or else it only shows that everything is refused
    assert report.counts["claims read"] > 500
    assert report.counts["longest ms"] <= MOST_SECONDS * 1000
