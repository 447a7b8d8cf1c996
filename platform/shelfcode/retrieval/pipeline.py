"""Contexts -> lists of products, by Ray Data: tasks read and check the rows, a pool of actors that each hold a retriever answers them.

    files -> batches of requests -> actors -> <out>/part-<file>-<batch>.parquet

Each actor stores its lists at once, batch by batch. A run that is killed therefore goes on where it stopped: the next one reads all
contexts again, and answers those whose part is not there.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
import ray.data
import torch

from shelfcode.catalog.rejected import count_reasons, write_rejected
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source import source_digest
from shelfcode.catalog.source_file import SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.hardware import reserved_device
from shelfcode.index.availability import availability_version
from shelfcode.progress import Progress
from shelfcode.retrieval.answer_counts import AnswerCounts, count_answers
from shelfcode.retrieval.answer_folder import (
    AnswersBegun,
    answers_table,
    begin_folder,
    complete_counts,
    finish_folder,
    finished_parts,
    write_answers,
)
from shelfcode.retrieval.answering_settings import AnsweringSettings
from shelfcode.retrieval.context_rows import context_rows, refuse_broken
from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.published_retriever import RetrieverCard, open_retriever
from shelfcode.settings import deciding
from shelfcode.workspace import Workspace

ANSWERING = 1
"""Version of how contexts are answered. Raise it with whatever changes the lists: a folder that was begun before is then refused."""


@dataclass(frozen=True)
class Asked:
    """Who is asked, and for what.

    Attributes:
        release: name of the release whose products are answered with.
        availability: table of what each retailer has; None for what it sold in training, and what nobody ever sold.
        translate: whether products of a release with other codewords go by the retriever's own.
    """

    workspace: Workspace
    card: RetrieverCard
    release: str
    settings: AnsweringSettings = AnsweringSettings()
    availability: str | None = None
    translate: bool = False


def answer_contexts(contexts: str, files: Sequence[SourceFile], asked: Asked, out: str, run: str, progress: Progress) -> AnswerCounts:
    """Answer contexts of any number, into a folder of their own (answer_folder.py).

    Every row is answered or rejected with a reason, kept under rejected/<run>/ of the workspace. Where the folder holds lists that the same
    contexts, retriever and settings made, only the missing ones are made.

    Args:
        contexts: where the files were found.
        out: folder or s3:// prefix.
        run: under which rejected rows are kept.
        progress: called with rows of the contexts.

    Raises:
        ShelfcodeError: the folder holds something else; a file cannot be read or has no `case_id`; or the retriever cannot be opened.
    """
    folder, begun = Workspace(out), _begun(contexts, files, asked)
    begin_folder(folder, begun)
    if (counts := complete_counts(folder)) is not None:
        progress(counts.read)
        return counts
    done = finished_parts(folder)
    counts = sum(done.values(), AnswerCounts())
    for answered in _answered(files, asked, folder, frozenset(done), run):
        counts += answered
        progress(answered.read)
    finish_folder(folder, begun, counts)
    return counts


def _begun(contexts: str, files: Sequence[SourceFile], asked: Asked) -> AnswersBegun:
    card, settings = asked.card, deciding(asked.settings)
    stock = asked.availability and availability_version(asked.availability)
    decides = [ANSWERING, asked.workspace.url, card.label, card.created, asked.release, asked.translate, stock, settings]
    return AnswersBegun(
        digest=source_digest(list(files), json.dumps(decides)), retriever=card.label, release=asked.release, contexts=contexts,
        availability=asked.availability, translated=asked.translate, settings=settings,
    )  # fmt: skip


def _answered(files: Sequence[SourceFile], asked: Asked, folder: Workspace, done: frozenset[str], run: str) -> Iterator[AnswerCounts]:
    """The counts of all that was read and answered, as it comes."""
    settings = asked.settings
    reading = {"files": ray.put(files), "done": ray.put(done), "asked": asked, "run": run}
    batches = ray.data.from_items(list(range(len(files))), override_num_blocks=len(files))
    batches = batches.map_batches(_read, batch_size=1, batch_format="pyarrow", fn_kwargs=reading)
    # A batch is a row here. Ray puts small rows together into one block, and a block goes to one actor.
    answers = batches.repartition(target_num_rows_per_block=1).map_batches(
        AnsweringActor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_args=(asked, folder),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=settings.actors_max),
        num_cpus=settings.cpus_per_actor,
        num_gpus=settings.gpus_per_actor or None,
        max_restarts=settings.restarts_per_actor,
    )
    try:
        for row in answers.iter_rows():
            if row["problem"]:
                raise ShelfcodeError(row["problem"])
            yield AnswerCounts.from_json(row["counts"])
    except ray.exceptions.ActorDiedError as error:
        raise ShelfcodeError(
            f"an answering actor died {settings.restarts_per_actor + 1} times. Most often a node has too little memory: reserve more CPUs "
            "for each (--set cpus_per_actor), so that fewer share a node. What was answered is kept: start the same command again, and the "
            f"rest is answered. Ray says: {str(error).strip().splitlines()[0]}"
        ) from error


def _read(
    item: pa.Table, files: "ray.ObjectRef[Sequence[SourceFile]]", done: "ray.ObjectRef[frozenset[str]]", asked: Asked, run: str
) -> Iterator[pa.Table]:
    """The requests of a file in batches, with the counts of what was read; none where they were answered before."""
    number = item["item"][0].as_py()
    file, finished = ray.get(files)[number], ray.get(done)
    try:
        for place, batch in enumerate(read_file(file, asked.settings.rows_per_part)):
            refuse_broken(batch)
            name = f"{number:06d}-{place:06d}"
            rows = context_rows(batch, file)
            write_rejected(asked.workspace, run, f"contexts-{name}", rows.rejected)
            counts = AnswerCounts(
                read=len(batch.table) + len(batch.unreadable), rejected=len(rows.rejected), reasons=count_reasons(rows.rejected)
            )
            wanted = len(rows.table) > 0 and name not in finished
            yield pa.table(
                {"part": [name], "requests": [_packed(rows.table) if wanted else None], "counts": [counts.to_json()], "problem": [""]}
            )
    except ShelfcodeError as error:  # raised here, it would reach the driver as the text of a task's failure
        yield pa.table({"part": [""], "requests": pa.nulls(1, pa.large_binary()), "counts": [""], "problem": [str(error)]})


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


class AnsweringActor:
    """A retriever in an actor. Answers a batch, stores its lists as one part, and passes on only the counts, or why there are none."""

    def __init__(self, asked: Asked, folder: Workspace) -> None:
        # Raised here, an error would reach the driver as the text of an actor's death, after several tries, and not as itself.
        self.problem = ""
        try:
            self.retriever = open_retriever(
                asked.workspace, asked.card, torch.device(reserved_device(asked.settings.gpus_per_actor)), asked.release,
                asked.availability, asked.translate,
            )  # fmt: skip
            self.place_of = self.retriever.assortment.place_of
        except ShelfcodeError as error:
            self.problem = str(error)
        self.settings, self.folder = asked.settings, folder

    def __call__(self, batch: pa.Table) -> pa.Table:
        row = batch.to_pylist()[0]
        problem, counts = self.problem or row["problem"], row["counts"]
        if row["requests"] is not None and not problem:
            requests = pa.ipc.open_stream(row["requests"]).read_all()
            counts = (AnswerCounts.from_json(counts) + self.answer(requests, row["part"])).to_json()
        return pa.table({"counts": [counts], "problem": [problem]})

    def answer(self, requests: pa.Table, part: str) -> AnswerCounts:
        """Answer a batch of requests and store the lists."""
        retriever, settings = self.retriever, self.settings
        named = contexts_from_table(requests, self.place_of, retriever.retailers, retriever.surfaces)
        seed = int.from_bytes(hashlib.blake2b(f"{settings.seed} {part}".encode(), digest_size=6).digest())  # each part draws for itself
        lists = retriever.answer(named.contexts, settings.k, settings.beams, settings.temperature, seed)
        counts = count_answers(named, lists, retriever)
        write_answers(self.folder, part, answers_table(named.case_ids, lists, retriever.assortment.item_ids), counts)
        return counts
