"""Answers to free sentences, without a node."""

from __future__ import annotations

from lb_ros.nodes.answering import predicates_of


def test_repeated_texts_get_names_of_their_own() -> None:
    texts = ['it is hot', 'it is hot', 'it is hot (2)', 'it is cold']
    found = predicates_of(texts)
    assert [predicate.positive for predicate in found] == [(text,) for text in texts]
    assert len({predicate.name for predicate in found}) == len(texts)
    assert [found[0].name, found[3].name] == ['it is hot', 'it is cold']
