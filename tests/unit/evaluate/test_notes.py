"""Notes are types: they go through JSON, and those of one kind are shown as one."""

from __future__ import annotations

import json

import pytest

from diffdescent.evaluate.notes import (
    KINDS,
    BiasBeyondInterval,
    Note,
    SingularCovariance,
    SingularReference,
    UncheckedReference,
    note_from_json,
    texts,
)

NOTES: list[Note] = [
    UncheckedReference("photos.npz"),
    SingularCovariance(30, 40),
    SingularReference(30, 40),
    BiasBeyondInterval(64, 1.25),
]


@pytest.mark.parametrize("note", NOTES)
def test_through_json(note: Note) -> None:
    again = note_from_json(json.loads(json.dumps(note.to_json())))
    assert again == note
    assert str(again) == str(note)
    assert KINDS[note.kind] is type(note)


def test_biases_are_told_by_their_range_and_everything_else_once() -> None:
    found = texts(
        [
            BiasBeyondInterval(64, 1.25),
            NOTES[0],
            BiasBeyondInterval(64, 0.5),
            NOTES[0],
            BiasBeyondInterval(32, 3.0),
        ]
    )
    assert len(found) == 3
    assert "64 images" in found[0]
    assert "here by about 0.5 to 1.25;" in found[0]
    assert found[1] == str(NOTES[0])
    assert "here by about 3 to 3;" in found[2]
    assert "here by about 1.25;" in str(NOTES[3])
