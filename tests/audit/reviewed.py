"""A planted audit in a review store, some of whose findings were decided: for tests of what goes out and comes back."""

from dataclasses import dataclass
from pathlib import Path

from planted_audit import PlantedAudit, plant_audit

from shelfcode.audit.decisions.decision import Card, Decision, Verdict
from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.audit.decisions.exchange.taking_back import all_cards
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class Reviewed:
    """Where it all is, and the findings by priority."""

    desk: Desk
    store: str
    workspace: Workspace
    planted: PlantedAudit

    @property
    def audit(self) -> str:
        return self.planted.manifest.audit

    def cards(self) -> list[Card]:
        return list(all_cards(self.desk, self.audit))

    def card(self, item_id: str) -> Card:
        return next(card for card in self.cards() if card.finding["item_id"] == item_id)

    def decide(self, card: Card, by: str, verdict: Verdict, path: tuple[str, ...] | None = None, note: str = "") -> Card:
        key = f"{by} {card.finding_id}"
        return self.desk.decide(self.audit, by, Decision(card.finding_id, verdict, card.version, key, path=path, note=note))


def reviewed(folder: Path, findings: int = 30) -> Reviewed:
    """An audit with this many findings, none of which is decided."""
    workspace, store = Workspace(str(folder / "workspace")), f"sqlite:///{folder}/reviews.sqlite"
    planted = plant_audit(workspace, findings)
    desk = open_desk(store)
    desk.take_in(workspace, planted.manifest.audit)
    return Reviewed(desk, store, workspace, planted)


def best(card: Card) -> tuple[str, ...]:
    """The first suggestion."""
    return tuple(card.finding["suggested_paths"][0])
