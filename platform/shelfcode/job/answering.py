"""Answering contexts in bulk from end to end: checked, answered, stored, summed up."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shelfcode.catalog.listed_files import list_files
from shelfcode.catalog.source_file import SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import availability_version
from shelfcode.job.capacity import Need, Stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, stage
from shelfcode.recipe_file import apply_overrides, validate_settings
from shelfcode.releases.release import Manifest, load_manifest
from shelfcode.retrieval.answer_counts import AnswerCounts
from shelfcode.retrieval.answering_settings import AnsweringSettings
from shelfcode.retrieval.context_rows import passed_over
from shelfcode.retrieval.pipeline import Asked, answer_contexts
from shelfcode.retrieval.published_retriever import RetrieverCard, check_release, load_card, speaks
from shelfcode.retrieval.translated import TranslatedProducts, translated_assortment
from shelfcode.workspace import Workspace, new_run

SHOWN_NAMES = 5


@dataclass(frozen=True)
class AnsweredContexts:
    """Lists just made.

    Attributes:
        out: where they are.
        run: under which rejected rows are kept.
        translated: how products came to the retriever's codes; None where they were not translated.
    """

    asked: Asked
    out: str
    run: str
    counts: AnswerCounts
    translated: TranslatedProducts | None

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        counts = self.counts
        return {
            "retriever": self.asked.card.label, "release": self.asked.release, "path": Workspace(self.out).address(""),
            "rows": {"read": counts.read, "answered": counts.answered, "rejected": counts.rejected},
            "short": counts.short, "empty": counts.empty, "unknown_products": counts.unknown_products,
            "unknown_retailers": counts.unknown_retailers, **({"translated": asdict(self.translated)} if self.translated else {}),
        }  # fmt: skip


def answer_in_bulk(
    retriever: str, contexts: str, workspace: str, out: str, release: str | None = None, availability: str | None = None,
    translate: bool = False, overrides: Sequence[str] = (), **flags: int | float | None,
) -> AnsweredContexts:  # fmt: skip
    """Answer contexts into a folder. What is wrong with the flags is said before a Ray is started.

    Args:
        retriever: generator@v0001, or generator@current.
        contexts: file, folder or glob of Parquet, CSV or JSON; local or s3://.
        out: folder or s3:// prefix for the lists.
        release: whose products are answered with; by default those that the retriever was trained on.
        availability: table of what each retailer has.
        translate: whether a release with other codes is translated into those that a generator speaks.
        overrides: `key=value` of AnsweringSettings.
        flags: settings that flags of their own give; None where left out.

    Raises:
        ShelfcodeError: whatever the user can mend.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = validate_settings(AnsweringSettings, {**apply_overrides({}, overrides), **given}, "settings of answering")
    opened = Workspace(workspace)
    card = load_card(opened, retriever)
    _check_settings(card, settings)
    manifest = load_manifest(opened, release or card.release)
    translated = _translated(opened, card, manifest) if translate else None
    if translated is None:
        check_release(opened, card, manifest)
    if availability:
        availability_version(availability)
    files = _list_contexts(contexts)
    start_ray()
    need = Need("answering actor", 1, settings.cpus_per_actor, "cpus_per_actor", settings.gpus_per_actor, "gpus_per_actor")
    settings = fit_to_cluster(settings, [Stage("answering", (need,), spare=1)])
    run = new_run("retrieve-batch")
    with open_workspace(workspace, run, run) as (opened, _):
        asked = Asked(opened, card, manifest.name, settings, availability, translated is not None)
        with stage(f"answering by {card.label}", unit="contexts") as progress:
            counts = answer_contexts(contexts, files, asked, out, run, progress)
    return AnsweredContexts(asked, out, run, counts, translated)


def _check_settings(card: RetrieverCard, settings: AnsweringSettings) -> None:
    if card.retriever == "cr" and (settings.beams or settings.temperature):
        flag = "--beams" if settings.beams else "--temperature"
        raise ShelfcodeError(f"{flag}: {card.label} scores every product, and follows no semantic IDs; leave the flag out")
    if settings.beams and settings.beams < settings.k:
        say(f"--beams {settings.beams} is less than the {settings.k} products of a list: lists may be shorter than they could be")


def _translated(workspace: Workspace, card: RetrieverCard, manifest: Manifest) -> TranslatedProducts | None:
    """How the products of a release come to the retriever's codes, said; None where it speaks theirs."""
    trained_on = load_manifest(workspace, card.release)
    if speaks(card, trained_on, manifest):
        say(f"--translate: {card.label} needs no translation to answer with the products of {manifest.name}")
        return None
    _, counts = translated_assortment(workspace, trained_on, manifest)
    say(
        f"{manifest.name} in the codes of {trained_on.name}: {counts.kept:,} products have theirs, {counts.translated:,} new ones are "
        f"translated whole and {counts.completed:,} in part; {counts.left_out:,} cannot be, and are not answered with"
    )
    return counts


def _list_contexts(url: str) -> list[SourceFile]:
    """The files of contexts; says which of their columns nothing is made of."""
    try:
        files = list_files(url)
        if unused := passed_over(files):
            say(f"columns of the contexts that nothing is made of: {', '.join(unused)}")
    except ShelfcodeError as error:
        raise ShelfcodeError(f"--contexts {url}: {error}") from error
    return files


def show_answered(answered: AnsweredContexts) -> None:
    """What became of the contexts, on stderr."""
    counts, asked = answered.counts, answered.asked
    say(f"{counts.read:,} contexts read: {counts.answered:,} answered, {counts.rejected:,} rejected")
    for reason, number in counts.reasons.items():
        say(f"rejected {number:,} x {reason}")
    if counts.rejected:
        say(f"rejected rows: {asked.workspace.address(f'rejected/{answered.run}')}")
    for line in shortcomings(counts, asked):
        say(line)
    say(f"lists: {Workspace(answered.out).address('')}")


def shortcomings(counts: AnswerCounts, asked: Asked) -> list[str]:
    """Why lists are not what was asked for, in words."""
    for_want_of = "beams" if asked.card.retriever == "generator" else "products that were ever sold, the only ones that it knows"
    names = ", ".join(counts.empty_retailers[:SHOWN_NAMES]) + (", ..." if len(counts.empty_retailers) > SHOWN_NAMES else "")
    told = {
        f"lists of fewer than {asked.settings.k} products": counts.short,
        "of them because the retailer has no more than the list and the cart": counts.exhausted,
        f"of them for want of {for_want_of}": counts.short - counts.exhausted,
        f"empty lists, because the retailer has no product: {names}": counts.at_empty_retailers,
        "other empty lists: what the retailer has is in the cart": counts.empty - counts.at_empty_retailers,
        "contexts of retailers that were not trained on: their lists come from everything": counts.unknown_retailers,
        "products in histories and carts that the release lacks: left out": counts.unknown_products,
    }
    return [f"{number:,} {what}" for what, number in told.items() if number]
