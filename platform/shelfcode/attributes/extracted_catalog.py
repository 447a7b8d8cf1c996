"""The attributes of a catalog's products, as a table in the workspace, and the account of how they came there."""

from dataclasses import dataclass

from shelfcode.keys import KeyIndex


@dataclass(frozen=True)
class ExtractedCatalog:
    """Where the attributes of a snapshot's products are, and how they came there.

    Attributes:
        parts: of the attributes table, those of other products among them.
        owner: row key of each of the snapshot's products -> number of the part that holds its attributes.
        extracted, shared, reused: products that went through the extractor now, that share the text of another one, and that had
            been through it before; they add up.
        calls: times that the model was asked, second tries among them; 0 for the rules.
        failures: why products were left to the rules -> how many.
        truncated: of the extracted ones, those whose text was too long for the model.
        unsupported: ingredients and tags of the extracted ones that their text does not support, dropped.
    """

    parts: tuple[str, ...]
    owner: KeyIndex
    extracted: int
    shared: int
    reused: int
    calls: int
    failures: dict[str, int]
    truncated: int
    unsupported: int

    def account(self) -> list[str]:
        """What happened, in lines for people."""
        lines = [
            f"{self.extracted:,} texts extracted in {self.calls:,} calls of the model, {self.shared:,} products share another's text, "
            f"{self.reused:,} unchanged and not extracted again"
            if self.calls or not self.extracted
            else f"{self.extracted:,} texts extracted by rules, {self.shared:,} products share another's text, {self.reused:,} unchanged"
        ]
        lines += [f"left to the rules: {count:,} x {reason}" for reason, count in self.failures.items() if self.calls]
        if self.truncated:
            lines.append(f"{self.truncated:,} texts were longer than the model's context and were cut at a word")
        if self.extracted:
            lines.append(f"{self.unsupported:,} ingredients and tags dropped: the product's own text does not support them")
        return lines

    def counts(self) -> dict[str, int]:
        """The same as numbers, for a job's last line."""
        return {
            "extracted": self.extracted, "shared": self.shared, "reused": self.reused, "calls": self.calls,
            "left_to_rules": sum(self.failures.values()), "truncated": self.truncated, "unsupported_dropped": self.unsupported,
        }  # fmt: skip
