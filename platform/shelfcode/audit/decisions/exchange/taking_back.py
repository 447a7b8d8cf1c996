"""Answers that were given elsewhere become decisions: each once, however often its file is sent."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.csv as pa_csv

from shelfcode.audit.decisions.decision import VERDICTS, Card, Changed, Decision, Filters
from shelfcode.audit.decisions.desk import Desk
from shelfcode.audit.decisions.exchange.answer import STAGE, Answer, CategoryPath, refused, shown
from shelfcode.catalog.decided_labels import SETS, DecidedLabel, label_rows, path_key
from shelfcode.catalog.rejected import RejectedRow, count_reasons, rejected_table
from shelfcode.errors import ShelfcodeError

UNKNOWN_SHARE_MAX = 0.5
"""Where a larger share of the answers is about products without a finding, they are of another audit."""

CARDS_AT_ONCE = 500
EVERYTHING = Filters()


@dataclass
class TakenBack:
    """What became of the answers: `decided`, `known` and `refused` add up to `read`.

    Attributes:
        known: were in the store already.
        verdicts: of those that were decided.
    """

    decided: int = 0
    known: int = 0
    refused: list[RejectedRow] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        return self.decided + self.known + len(self.refused)

    @property
    def reasons(self) -> dict[str, int]:
        return dict(count_reasons(self.refused).most_common())


def take_back(
    desk: Desk, audit: str, answers: Iterable[Answer | RejectedRow], by: str, url: str, new_paths: bool = False
) -> TakenBack:  # fmt: skip
    """Enter answers as decisions of one reviewer.

    Args:
        by: whose decisions they are.
        new_paths: whether a path may be one that no product of the catalog has yet.

    Raises:
        ShelfcodeError: most of the answers are about products that the audit has no finding of; nothing is entered then.
    """
    listed = list(answers)
    findings = Findings(desk, audit)
    _check_audit([each for each in listed if isinstance(each, Answer)], findings, audit, url)
    taken = TakenBack()
    for answer in listed:
        if isinstance(answer, RejectedRow):
            taken.refused.append(answer)
            continue
        card = findings.of(answer)
        problem = _problem(answer, card)
        if card is None or problem:
            taken.refused.append(refused(answer, problem))
            continue
        _enter(desk, audit, card, answer, findings.spelled(answer.path), by, new_paths, taken)
    return taken


def label_answers(url: str, flag: str = "--from") -> Iterator[Answer | RejectedRow]:
    """Answers from Parquet or CSV, as corrections are exported."""
    for cells, found in label_rows(url, flag):
        if isinstance(found, DecidedLabel):
            finding_id, text_hash = (str(cells[name]) if cells.get(name) else None for name in ("finding_id", "text_hash"))
            yield Answer(
                place=found.place, item_id=found.item_id, verdict=found.verdict, path=found.to_path, from_path=found.from_path,
                note=str(cells.get("note") or ""), row=cells, finding_id=finding_id,
                text_hash=text_hash,
            )  # fmt: skip
        else:
            yield RejectedRow(found.item_id, STAGE, found.reason, found.row)


class Findings:
    """The findings of an audit by their names and by their products, and its categories as a file may spell them."""

    def __init__(self, desk: Desk, audit: str) -> None:
        self.by_id: dict[str, Card] = {}
        self.by_item: Mapping[str, list[Card]] = defaultdict(list)
        for card in all_cards(desk, audit):
            self.by_id[card.finding_id] = card
            self.by_item[card.finding["item_id"]].append(card)
        known = [path.path for path in desk.paths(audit, limit=10**9)]
        suggested = [tuple(path) for card in self.by_id.values() for path in card.finding["suggested_paths"] or ()]
        self._shown = {shown(path): path for path in (*known, *suggested)}
        self._keyed = {path_key(path): path for path in (*suggested, *known)}

    def of(self, answer: Answer) -> Card | None:
        """The finding that an answer is about."""
        if answer.finding_id:
            return self.by_id.get(answer.finding_id)
        cards = self.by_item.get(answer.item_id or "", [])
        fitting = [card for card in cards if path_key(card.finding["given_path"]) == path_key(answer.from_path)]
        return next(iter([*fitting, *cards]), None)

    def spelled(self, path: CategoryPath | None) -> CategoryPath | None:
        """A path as the catalog spells it, also where names that hold the separator were taken apart."""
        return path and self._keyed.get(path_key(path), self._shown.get(shown(path), path))


def rejected_csv(rows: Sequence[RejectedRow]) -> bytes:
    """Refused answers for whoever mends them: item_id, stage, reason, row."""
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(rejected_table(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


def all_cards(desk: Desk, audit: str, filters: Filters = EVERYTHING) -> Iterator[Card]:
    """Findings by priority."""
    first = 0
    while rows := desk.findings(audit, filters, first, CARDS_AT_ONCE).rows:
        yield from rows
        first += len(rows)


def _check_audit(answers: Sequence[Answer], findings: Findings, audit: str, url: str) -> None:
    strangers = [answer for answer in answers if findings.of(answer) is None]
    if len(strangers) > UNKNOWN_SHARE_MAX * len(answers):
        named = strangers[0].item_id or strangers[0].finding_id
        raise ShelfcodeError(
            f"--from {url}: of its {len(answers):,} answers {len(strangers):,} are about products that {audit} has no finding of, such as "
            f"{named!r}. They were given on another audit or another catalog; name theirs with --audit"
        )


def _problem(answer: Answer, card: Card | None) -> str:
    """Why an answer cannot be entered, as far as the finding shows."""
    if card is None:
        return "the audit has no such finding"
    if answer.verdict not in VERDICTS:
        return f"unknown verdict: {answer.verdict!r}"
    if answer.from_path is not None and path_key(answer.from_path) != path_key(card.finding["given_path"]):
        return f"the answer is about another label than the finding: {shown(answer.from_path)}, not {shown(card.finding['given_path'])}"
    if answer.text_hash and answer.text_hash != card.finding["text_hash"]:
        return "the text of the product has changed since"
    return "the right path is missing" if answer.verdict in SETS and not answer.path else ""


def _enter(
    desk: Desk, audit: str, card: Card, answer: Answer, path: CategoryPath | None, by: str, new_paths: bool, taken: TakenBack
) -> None:  # fmt: skip
    verdict = "relabel" if answer.verdict == "accept" else answer.verdict  # of a path that is suggested, the desk makes an accept again
    path = path if verdict in SETS else None
    content = json.dumps([audit, card.finding_id, verdict, path, by])
    decision = Decision(
        card.finding_id, verdict, card.version, f"import-{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}",  # type: ignore[arg-type]
        path=path, note=answer.note, seconds=answer.seconds, batch="import", new_path=new_paths,
    )  # fmt: skip
    try:
        after = desk.decide(audit, by, decision)
    except Changed as error:
        if any(_same(event.verdict, event.path, verdict, path) for event in card.decisions):
            taken.known += 1
        else:
            taken.refused.append(refused(answer, str(error)))
    except ShelfcodeError as error:
        taken.refused.append(refused(answer, str(error)))
    else:
        if after.version == card.version:
            taken.known += 1
        else:
            taken.decided += 1
            taken.verdicts[after.decisions[-1].verdict or verdict] += 1


def _same(verdict: str | None, path: CategoryPath | None, other: str, other_path: CategoryPath | None) -> bool:
    return (verdict in SETS) == (other in SETS) and (path == other_path if other in SETS else verdict == other)
