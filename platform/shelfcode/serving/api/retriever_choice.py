"""Which version of each retriever answers with the products of a release: it must speak the release's codes, or it cannot be asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.release import load_manifest
from shelfcode.retrieval.published_retriever import RETRIEVERS, VOCABULARY, RetrieverCard, load_card, speaks
from shelfcode.retrieval.translated import translated_assortment
from shelfcode.versions import current_of, published_versions
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class Choice:
    """The retrievers of one release.

    Attributes:
        labels: name of surfaces.yaml -> version, such as generator -> generator@v0002.
        without: name -> why the workspace has none of it; requests are answered without it then.
        refusal: why the release cannot be served by a retriever that there is; None where all goes well.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None


def choose_retrievers(workspace: Workspace, names: Sequence[str], release: str, translate: bool) -> Choice:
    """The current version of each retriever, or where that was trained on other codes, the newest one that was not.

    Retrievers of other flavors are passed over.

    Args:
        translate: whether one of other codes may go by the release's translation table.
    """
    labels, without = dict[str, str](), dict[str, str]()
    manifest = load_manifest(workspace, release)
    for name in names:
        base, _, pinned = name.partition("@")
        cards = [card for card in _cards(workspace, base, pinned) if card.release.partition("@")[0] == manifest.flavor]
        if not cards:
            if not any(True for _ in _cards(workspace, base, pinned)):
                without[name] = f"{workspace.url} has no retriever {name}: train it with {RETRIEVERS.made_by} --name {base}"
            continue
        fitting = next((card for card in cards if speaks(card, load_manifest(workspace, card.release), manifest)), None)
        if fitting is None and translate:
            try:
                translated_assortment(workspace, load_manifest(workspace, cards[0].release), manifest)
                fitting = cards[0]
            except ShelfcodeError as error:
                return Choice(refusal=f"{cards[0].label}, trained on {cards[0].release}, cannot be translated: {error}")
        if fitting is None:
            return Choice(
                refusal=f"retriever {name} speaks the codes of {cards[0].release}, and {release} has others: train one on it "
                f"({RETRIEVERS.made_by} --name {base} --release {release}), or set retrieval.translate. Until then the one before stays"
            )
        labels[name] = fitting.label
    return Choice(labels, without)


def trained_retailers(workspace: Workspace, labels: Sequence[str]) -> list[str]:
    """The retailers that some retrievers were trained on, each once."""
    files = [f"{load_card(workspace, label).folder}/{VOCABULARY}/vocabulary.json" for label in labels]
    return list(dict.fromkeys(name for file in files for name in workspace.read_json(file)["retailers"]))


def _cards(workspace: Workspace, base: str, pinned: str) -> Iterator[RetrieverCard]:
    """The current version first, then the others, the newest first; of a pinned one that alone."""
    folder = f"{RETRIEVERS.folder}/{base}"
    published = published_versions(workspace, folder)
    current = current_of(workspace, folder)
    versions = [pinned] if pinned else list(dict.fromkeys([*filter(None, [current]), *reversed(published)]))
    for version in versions:
        if version in published:
            yield load_card(workspace, f"{base}@{version}")
