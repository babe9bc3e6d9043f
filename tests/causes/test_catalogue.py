"""The catalogue of causes: each can be said, each is said somewhere, and the docs say the same."""

import string

import pytest

from negotiate_mw import diagnosis
from negotiate_mw.causes import CAUSES, EXAMPLE, Cause, finding

from .deployments import ROWS
from .page import PAGE, UPDATE, page
from .test_diagnosis import FOUND


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_a_cause_is_one_sentence_of_the_rest_of_a_line(cause: Cause) -> None:
    for text in (cause.symptom, cause.sentence, cause.cure):
        assert text
        assert text.isprintable()
        assert text == text.strip().removesuffix(".")


def test_every_name_in_a_text_has_an_example_and_every_example_a_text() -> None:
    named = {
        name
        for cause in CAUSES.values()
        for text in (cause.symptom, cause.sentence, cause.cure)
        for _, name, _, _ in string.Formatter().parse(text)
        if name
    }

    assert named == EXAMPLE.keys()


def test_what_was_seen_is_put_into_the_words() -> None:
    found = finding("kvno-new", spn="HTTP/www", kvno="5", kvnos="7 and 8")

    assert found.cause == "kvno-new"
    assert "HTTP/www is for kvno 5, the keytab holds 7 and 8" in found.sentence
    assert str(found) == f"Cause: {found.sentence}. Cure: {found.cure}"


def test_what_was_seen_is_not_read_as_a_text_again() -> None:
    assert "{keytab}" in finding("kvno-new", spn="{keytab}", kvno="5", kvnos="7").sentence


def test_a_cause_without_what_it_needs_is_an_error() -> None:
    with pytest.raises(KeyError):
        finding("kvno-new", spn="HTTP/www")
    with pytest.raises(KeyError):
        finding("no-such-cause")


def test_every_cause_that_the_log_can_say_is_said_for_some_refusal() -> None:
    said = {row.log for row in ROWS} | set(FOUND) | set(diagnosis._BY_REASON.values())

    assert said - {None} == {cause.slug for cause in CAUSES.values() if cause.logged}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), f"write it anew: {UPDATE}"
