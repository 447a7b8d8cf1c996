"""What a later audit says of decisions made before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import planted_audit
import pyarrow as pa
import pytest
from planted_audit import PlantedAudit, plant_audit

from shelfcode.audit.decisions.decision import Card, Decision
from shelfcode.audit.decisions.desk import open_desk
from shelfcode.audit.decisions.later_audits import ROSE
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

Say = Callable[..., Decision]
FINDINGS = 30


class Shop:
    """A workspace whose catalog changes, a desk over it, and its first audit."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(str(folder / "workspace"))
        self.desk = open_desk(f"sqlite:///{folder}/reviews.sqlite")
        self.first = plant_audit(self.workspace, FINDINGS)
        self.audit = self.first.manifest.audit
        self.rows: dict[str, dict[str, Any]] = {row["item_id"]: row for row in self.first.findings.to_pylist()}
        self.desk.take_in(self.workspace, self.audit)

    def cards(self) -> list[Card]:
        """With suggestions, and labels that do not differ in their letters alone."""
        cards = self.desk.findings(self.audit, limit=100).rows
        return [card for card in cards if card.finding["suggested_paths"] and card.finding["issue"] != "spelling"]

    def audit_again(self, gone: str = "", **changes: Any) -> str:
        """The catalog as it is now, and an audit of it, which is taken in."""
        reworded = changes.get("reworded", ())
        products = [
            {
                "item_id": row["item_id"], "title": row["title"] + " (new recipe)" * (row["item_id"] in reworded),
                "description": row["description"], "brand": row["brand"],
                "category_path": changes.get("relabelled", {}).get(row["item_id"], row["given_path"]),
            }
            for row in self.rows.values()
            if row["item_id"] != gone
        ]  # fmt: skip
        part = "catalog/planted/part-000000.parquet"
        self.workspace.write_table(part, pa.Table.from_pylist(products))
        snapshot = Snapshot(
            folder="catalog/planted", source="x", fingerprint="f", read=len(products), rejected=0, rejected_folder="", reasons={},
            parts=(SnapshotPart(path=part, rows=len(products)),),
        )  # fmt: skip
        self.workspace.write_json("catalog/planted/manifest.json", snapshot.model_dump(mode="json"))
        later = plant_audit(self.workspace, FINDINGS, **changes).manifest.audit
        self.desk.take_in(self.workspace, later)
        return later

    def state(self, card: Card, audit: str | None = None) -> str:
        return self.desk.finding(audit or self.audit, card.finding_id).state


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.desk.close()


def path(card: Card, place: int = 0) -> tuple[str, ...]:
    return tuple(card.finding["suggested_paths"][place])


def test_what_became_of_answers_is_seen_in_the_catalog(shop: Shop, say: Say) -> None:
    applied, waiting, elsewhere, kept, moved, reworded, gone, untouched = shop.cards()[:8]
    for card in (applied, waiting, elsewhere):
        shop.desk.decide(shop.audit, "anna", say(card, "accept"))
    for card in (kept, reworded):
        shop.desk.decide(shop.audit, "anna", say(card, "keep"))
    item = {id(card): card.finding["item_id"] for card in (applied, elsewhere, moved, reworded, gone)}
    relabelled = {item[id(applied)]: path(applied), item[id(elsewhere)]: path(elsewhere, 1), item[id(moved)]: path(moved, 1)}
    shop.audit_again(item[id(gone)], relabelled=relabelled, reworded=[item[id(reworded)]])
    states = [shop.state(card) for card in (applied, waiting, elsewhere, kept, moved, reworded, gone, untouched)]
    assert states == ["applied", "decided", "stale", "decided", "stale", "stale", "stale", "open"]
    notes = {event.finding_id: event.note for event in shop.desk.history(shop.audit) if event.kind == "stale"}
    assert notes[reworded.finding_id].startswith("its text changed")
    assert notes[gone.finding_id].startswith("the product is no longer in the catalog")
    assert notes[moved.finding_id].startswith(f"its label is {' > '.join(path(moved, 1))} now")
    assert shop.desk.verify(shop.audit) == []
    shop.audit_again()
    assert shop.state(applied) == "reverted", "its label is the old one again"
    shop.audit_again(relabelled={item[id(applied)]: path(applied)})
    assert shop.state(applied) == "applied"


def test_a_correction_that_is_spelled_otherwise_was_applied(shop: Shop, say: Say) -> None:
    card = shop.cards()[0]
    shop.desk.decide(shop.audit, "anna", say(card, "accept"))
    shop.audit_again(relabelled={card.finding["item_id"]: tuple(f" {name.upper()}" for name in path(card))})
    assert shop.state(card) == "applied"


def test_nobody_is_asked_twice_about_one_text_under_one_label(shop: Shop, say: Say) -> None:
    kept, accepted, unsure, excluded, reverted = shop.cards()[:5]
    shop.desk.decide(shop.audit, "anna", say(kept, "keep", note="looked it up"))
    shop.desk.decide(shop.audit, "anna", say(accepted, "accept"))
    shop.desk.decide(shop.audit, "anna", say(unsure, "unsure"))
    shop.desk.decide(shop.audit, "anna", say(excluded, "exclude"))
    shop.desk.decide(shop.audit, "anna", say(reverted, "accept"))
    shop.desk.mark(shop.audit, "lead", "applied", [reverted.finding_id])
    later = shop.audit_again()
    states = [shop.state(card, later) for card in (kept, accepted, unsure, excluded, reverted)]
    assert states == ["decided", "decided", "open", "decided", "open"], "what was set back is asked about again"
    (carried,) = shop.desk.finding(later, kept.finding_id).decisions
    assert (carried.kind, carried.by, carried.verdict, carried.note) == ("carried", "anna", "keep", f"in {shop.audit}: looked it up")
    assert shop.desk.corrections(later).num_rows == 3
    assert shop.desk.summary(later).ranked.reviewed == 0, "nobody reviewed anything in this audit"
    third = shop.audit_again()
    assert shop.desk.finding(third, kept.finding_id).decisions[0].note == carried.note, "it names the audit where it was decided"


def test_a_kept_label_is_asked_about_again_once_the_evidence_changed(shop: Shop, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    surer, other, same = sorted(shop.cards(), key=lambda card: card.finding["p_wrong"])[:3]
    for card in (surer, other, same):
        shop.desk.decide(shop.audit, "anna", say(card, "keep"))
    make = planted_audit._finding

    def changed(number: int, seed: int) -> Any:
        row, right = make(number, seed)
        if row["item_id"] == surer.finding["item_id"]:
            row["p_wrong"] += ROSE + 0.05
        if row["item_id"] == same.finding["item_id"]:
            row["p_wrong"] += ROSE / 2
        if row["item_id"] == other.finding["item_id"]:
            row["suggested_paths"] = row["suggested_paths"][::-1]
        return row, right

    monkeypatch.setattr(planted_audit, "_finding", changed)
    later = shop.audit_again()
    assert [shop.state(card, later) for card in (surer, other, same)] == ["open", "open", "decided"]


def test_where_the_snapshot_was_swept_the_findings_say_what_they_can(shop: Shop, say: Say) -> None:
    card, other = shop.cards()[:2]
    shop.desk.decide(shop.audit, "anna", say(card, "keep"))
    later = plant_audit(shop.workspace, FINDINGS, relabelled={other.finding["item_id"]: ("Snacks", "Elsewhere")})
    shop.desk.take_in(shop.workspace, later.manifest.audit)
    assert (shop.state(card), shop.state(other)) == ("decided", "stale")
    assert shop.desk.audits()[0].states.get("stale") == 1, "what has no finding any more is left as it is"


def test_a_store_is_for_one_catalog(shop: Shop, tmp_path: Path) -> None:
    another: PlantedAudit = plant_audit(Workspace(str(tmp_path / "other")), 10, seed=7)
    assert another.manifest.audit == shop.audit
    with pytest.raises(ShelfcodeError, match="another catalog"):
        shop.desk.take_in(Workspace(str(tmp_path / "other")), another.manifest.audit)
