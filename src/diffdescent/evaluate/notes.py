"""What a reader of a score should beware of: each kind of note is a type, which holds its facts and
renders them as text."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

KINDS: dict[str, type[Note]] = {}
"""Every kind of note by its name, so that notes can be read back."""


@dataclass(frozen=True)
class Note:
    """A note; a subclass is a kind of note, whose fields are its facts and whose ``str`` is its
    text."""

    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str) -> None:
        cls.kind = kind
        KINDS[kind] = cls

    @property
    def group(self) -> Hashable:
        """Notes with an equal group are shown as one."""
        return self

    @classmethod
    def joined(cls, notes: Sequence[Any]) -> str:
        """The text of several notes of one group."""
        return str(notes[0])

    def to_json(self) -> dict[str, Any]:
        """The kind and the facts."""
        return {"kind": self.kind, **asdict(self)}


def note_from_json(data: Mapping[str, Any]) -> Note:
    """What :meth:`Note.to_json` gave. Raises ``KeyError`` for a kind that is not known."""
    facts = dict(data)
    return KINDS[facts.pop("kind")](**facts)


def texts(notes: Iterable[Note]) -> tuple[str, ...]:
    """The notes as text, each group once, in the order of its first note."""
    groups: dict[Hashable, list[Note]] = {}
    for note in notes:
        groups.setdefault(note.group, []).append(note)
    return tuple(found[0].joined(found) for found in groups.values())


@dataclass(frozen=True)
class UncheckedReference(Note, kind="unchecked reference"):
    """The reference has no protocol to compare with."""

    reference: str

    def __str__(self) -> str:
        return (
            f"{self.reference} does not say how it was made; that it fits these features is not"
            " checked"
        )


@dataclass(frozen=True)
class SingularCovariance(Note, kind="singular covariance"):
    """There are no more images than features."""

    images: int
    features: int

    def __str__(self) -> str:
        return (
            f"{self.images} images for {self.features} features: their covariance is singular and"
            " the distance is too large by an unknown amount; compare with equal numbers of"
            f" images only, or give more than {self.features}"
        )


@dataclass(frozen=True)
class SingularReference(Note, kind="singular reference"):
    """The reference has no more images than features."""

    images: int
    features: int

    def __str__(self) -> str:
        return (
            f"the reference has {self.images} images for {self.features} features: its"
            " covariance is singular and the distance is too large"
        )


@dataclass(frozen=True)
class BiasBeyondInterval(Note, kind="bias beyond interval"):
    """The bias of so few images is larger than half the interval."""

    images: int
    bias: float

    @property
    def group(self) -> Hashable:
        """Scores of as many images share a note, with the range of their biases."""
        return type(self), self.images

    @classmethod
    def joined(cls, notes: Sequence[BiasBeyondInterval]) -> str:
        amounts = [note.bias for note in notes]
        return notes[0]._text(f"{min(amounts):.3g} to {max(amounts):.3g}")

    def _text(self, amount: str) -> str:
        return (
            f"with {self.images} images the distance is too large by more than its interval"
            f" reaches, here by about {amount}; compare with equal numbers of images only"
        )

    def __str__(self) -> str:
        return self._text(f"{self.bias:.3g}")
