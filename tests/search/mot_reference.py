"""IDF1 and CLEAR MOT from their definitions, by trying every assignment: slow, and nothing shared with the product.

References:
    Ristani et al., ECCV workshops 2016 (IDF1); Bernardin and Stiefelhagen, 2008 (CLEAR MOT); MOTChallenge's evaluation
    for the boxes that do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

Box = tuple[float, float, float, float]  # left, top, width, height
Matching = list[tuple[int, int]]


@dataclass(frozen=True)
class Line:
    """A line of a truth, or of tracks (flag 1, class 1)."""

    frame: int
    who: int
    box: Box
    flag: int = 1
    kind: int = 1

    def text(self) -> str:
        """As in MOTChallenge's files."""
        return f"{self.frame},{self.who},{','.join(map(repr, self.box))},{self.flag},{self.kind},1\n"


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inside = max(width, 0) * max(height, 0)
    return inside / (a[2] * a[3] + b[2] * b[3] - inside)


def matchings(rows: int, columns: int) -> Iterator[Matching]:
    """Every way to pair as many rows as possible with columns."""
    if rows <= columns:
        yield from ([*enumerate(order)] for order in permutations(range(columns), rows))
    else:
        yield from ([(row, column) for column, row in enumerate(order)] for order in permutations(range(rows), columns))


def best_matching(gain: dict[tuple[int, int], float], rows: int, columns: int) -> Matching:
    """The pairs with the largest sum; only those with a gain."""
    best: Matching = []
    most = -1.0
    for tried in matchings(rows, columns):
        total = sum(gain.get(pair, 0.0) for pair in tried)
        if total > most:
            best, most = tried, total
    return [pair for pair in best if gain.get(pair, 0.0) > 0]


def reference_scores(truth: Sequence[Line], tracks: Sequence[Line], forgiving: Sequence[int]) -> dict[str, int]:
    """right (IDTP), switches, misses, false: what :class:`TrackScores` calls them."""
    frames = sorted({line.frame for line in (*truth, *tracks)})
    pairs: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}
    current: dict[int, int] = {}
    switches = matched = num_true = num_found = 0
    for frame in frames:
        people, found = _counted(
            [line for line in truth if line.frame == frame], [line for line in tracks if line.frame == frame], forgiving
        )
        num_true, num_found = num_true + len(people), num_found + len(found)
        fits = {
            (i, j): overlap(person.box, track.box)
            for i, person in enumerate(people)
            for j, track in enumerate(found)
            if overlap(person.box, track.box) >= 0.5
        }
        for i, j in fits:
            pair = people[i].who, found[j].who
            pairs[pair] = pairs.get(pair, 0) + 1
        if not people or not found:
            continue
        gain = {
            (i, j): fit + 1000 * (current.get(people[i].who) == found[j].who) for (i, j), fit in fits.items()
        }  # who was matched before stays so
        chosen = best_matching(gain, len(people), len(found))
        current = {people[i].who: found[j].who for i, j in chosen}
        switches += sum(who in last and last[who] != track for who, track in current.items())
        last |= current
        matched += len(current)
    return {
        "right": _most_right(pairs), "switches": switches, "misses": num_true - matched, "false": num_found - matched,
        "num_true": num_true, "num_found": num_found,
    }  # fmt: skip


def _counted(
    truth: Sequence[Line], tracks: Sequence[Line], forgiving: Sequence[int]
) -> tuple[Sequence[Line], Sequence[Line]]:
    """The people of a frame, and the tracks that lie on nothing that forgives them."""
    fits = {
        (i, j): overlap(line.box, track.box)
        for i, line in enumerate(truth)
        for j, track in enumerate(tracks)
        if overlap(line.box, track.box) >= 0.5
    }
    chosen = best_matching(fits, len(truth), len(tracks))
    everybody = [line for line in truth if line.kind in (1, -1, 0)]
    people = [line for line in everybody if line.flag]
    gone = {j for i, j in chosen if truth[i].kind in forgiving or (truth[i] in everybody and not truth[i].flag)}
    return people, [track for j, track in enumerate(tracks) if j not in gone]


def _most_right(pairs: dict[tuple[int, int], int]) -> int:
    people, numbers = sorted({who for who, _ in pairs}), sorted({track for _, track in pairs})
    gain = {(people.index(who), numbers.index(track)): float(count) for (who, track), count in pairs.items()}
    return int(sum(gain[pair] for pair in best_matching(gain, len(people), len(numbers))))


def random_lines(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """A truth and tracks of up to four people in up to seven frames, close to each other, with gaps and changes."""
    truth, tracks = [], []
    kinds = {who: int(rng.choice([1, 1, 1, 1, 1, 1, -1, 0, 2, 6, 8, 9])) for who in range(1, 5)}
    number = {who: who for who in range(1, 5)}
    for frame in range(1, int(rng.integers(4, 10))):
        if rng.random() < 0.15:
            continue  # an empty frame
        empty_truth, empty_tracks = rng.random(2) < 0.15
        for who in range(1, 5):
            if rng.random() < 0.2:
                number[who] = int(rng.integers(1, 7))  # it may be another's, who then loses it below
            left = 12.0 * who + float(rng.normal(0, 3))
            box = (left, float(rng.normal(0, 2)), 20.0 + float(rng.random()), 40.0)
            if rng.random() < 0.75 and not empty_truth:
                truth.append(Line(frame, who, box, int(rng.random() < 0.85), kinds[who]))
            taken = {line.who for line in tracks if line.frame == frame}
            if rng.random() < 0.75 and not empty_tracks and number[who] not in taken:
                moved = (box[0] + float(rng.normal(0, 2)), box[1] + float(rng.normal(0, 3)), box[2], box[3])
                tracks.append(Line(frame, number[who], moved))
    return truth, tracks
