"""What others would find wrong labels with: classifiers' self-confidence, cleanlab, nearest neighbours. For audit_quality.py.

All work on the same embeddings and texts as the audit, and on the products whose category says something. Every posterior is out of fold:
five folds, each product judged by a model that never saw it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from audit_protocol import Suspicions
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

FOLDS, NEIGHBOURS, SEED = 5, 20, 0
CLEANLAB = (
    ("self_confidence", True), ("normalized_margin", False), ("normalized_margin", True), ("confidence_weighted_entropy", False),
)  # fmt: skip
"""Its scores of label quality, and whether class means are taken off first; self_confidence alone is what the classifiers' rows show."""


@dataclass(frozen=True)
class Labelled:
    """Products with a category: ids, float32[N, D] of unit norm, texts, int64[N] classes."""

    item_ids: list[str]
    x_ND: NDArray[np.float32]
    texts: Sequence[str]
    class_N: NDArray[np.int64]

    @property
    def classes(self) -> int:
        return int(self.class_N.max()) + 1


@dataclass(frozen=True)
class Peer:
    """One method's suspicions, and the seconds that it took."""

    name: str
    suspicions: Suspicions
    seconds: float


def peers(labelled: Labelled, say: Callable[[str], None]) -> list[Peer]:
    """All of them; cleanlab's scores and the pool use the classifiers' posteriors, and their seconds come on top."""
    found: list[Peer] = []

    def add(name: str, score: Callable[[], NDArray[np.float64]]) -> None:
        started = time.perf_counter()
        score_N = score()
        found.append(Peer(name, Suspicions(dict(zip(labelled.item_ids, score_N.tolist(), strict=True))), time.perf_counter() - started))
        say(f"{name}: {found[-1].seconds:.0f} s")

    posterior: dict[str, NDArray[np.float32]] = {}

    def self_confidence(name: str, fit: Callable[[], NDArray[np.float32]]) -> Callable[[], NDArray[np.float64]]:
        def score() -> NDArray[np.float64]:
            posterior[name] = fit()
            return -_given(np.log(posterior[name] + 1e-9), labelled.class_N)

        return score

    add("MLP over embeddings, self-confidence", self_confidence("mlp", lambda: out_of_fold_mlp(labelled, hidden=512)))
    add("linear over embeddings, self-confidence", self_confidence("linear", lambda: out_of_fold_mlp(labelled, hidden=0)))
    add("linear over n-grams, self-confidence", self_confidence("n-grams", lambda: out_of_fold_ngrams(labelled)))
    for source in ("mlp", "n-grams"):
        for method, adjusted in CLEANLAB:
            name = f"cleanlab, {method}{' adjusted' if adjusted else ''}, {source}"
            add(name, partial(_cleanlab, labelled.class_N, posterior[source], method, adjusted))
    index_NK = nearest(labelled.x_ND)
    votes_NC = np.zeros((len(labelled.class_N), labelled.classes), dtype=np.float32)

    def neighbours() -> NDArray[np.float64]:
        for column in range(NEIGHBOURS):
            votes_NC[np.arange(len(votes_NC)), labelled.class_N[index_NK[:, column]]] += 1 / NEIGHBOURS
        return -_given(votes_NC, labelled.class_N)

    def pool() -> NDArray[np.float64]:
        theirs_NC = np.mean([posterior["mlp"][index_NK[:, column]] for column in range(NEIGHBOURS)], axis=0)
        logs = [np.log(each + 1e-3) for each in (posterior["mlp"], posterior["n-grams"], votes_NC, theirs_NC)]
        mean_NC = np.mean(logs, axis=0)
        return -_given(mean_NC - np.log(np.exp(mean_NC).sum(axis=1, keepdims=True)), labelled.class_N)

    add("20 nearest neighbours", neighbours)
    add("MLP, n-grams, neighbours' labels and posteriors, pooled", pool)
    return found


def out_of_fold_mlp(labelled: Labelled, hidden: int, epochs: int = 20, batch: int = 512) -> NDArray[np.float32]:
    """Posteriors of a network with one hidden layer, or of a linear model: float32[N, C]."""
    x_ND, class_N = torch.from_numpy(np.ascontiguousarray(labelled.x_ND)), torch.from_numpy(labelled.class_N)
    x_ND = (x_ND - x_ND.mean(dim=0)) / x_ND.std(dim=0)

    def fit(train_M: NDArray[np.int64], test_M: NDArray[np.int64]) -> Tensor:
        size = x_ND.shape[1]
        layers = [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(0.4)] if hidden else []
        model = nn.Sequential(*layers, nn.Linear(hidden or size, labelled.classes))
        _train(model, lambda rows: model(x_ND[rows]), class_N, train_M, epochs, batch, learning_rate=1e-3, decay=0.02)
        model.eval()
        with torch.inference_mode():
            return model(x_ND[test_M]).softmax(dim=1)

    return _out_of_fold(labelled, fit)


def out_of_fold_ngrams(labelled: Labelled, features: int = 2**17) -> NDArray[np.float32]:
    """Posteriors of logistic regressions, a class against the rest, over hashed words, their pairs and parts: float32[N, C]."""
    words = HashingVectorizer(n_features=features, ngram_range=(1, 2), alternate_sign=False, norm=None).transform(labelled.texts)
    parts = HashingVectorizer(n_features=features, analyzer="char_wb", ngram_range=(3, 5), alternate_sign=False, norm=None)
    tfidf = TfidfTransformer(sublinear_tf=True).fit_transform(words + parts.transform(labelled.texts)).tocsr()

    def fit(train_M: NDArray[np.int64], test_M: NDArray[np.int64]) -> Tensor:
        model = SGDClassifier(loss="log_loss", alpha=2e-6, max_iter=8, tol=None, random_state=SEED)
        model.fit(tfidf[train_M], labelled.class_N[train_M])
        found = torch.zeros(len(test_M), labelled.classes)
        found[:, torch.from_numpy(model.classes_)] = torch.from_numpy(model.predict_proba(tfidf[test_M])).float()
        return found

    return _out_of_fold(labelled, fit)


def nearest(x_ND: NDArray[np.float32], neighbours: int = NEIGHBOURS, rows: int = 1024) -> NDArray[np.int64]:
    """The nearest other products by cosine, exactly: int64[N, K]."""
    x, found = torch.from_numpy(np.ascontiguousarray(x_ND)), []
    for first in range(0, len(x), rows):
        cosine_BN = x[first : first + rows] @ x.T
        own = torch.arange(len(cosine_BN))
        cosine_BN[own, own + first] = -2
        found.append(cosine_BN.topk(neighbours, dim=1).indices)
    index_NK: NDArray[np.int64] = torch.cat(found).numpy()
    return index_NK


def _train(
    model: nn.Module, logits: Callable[[NDArray[np.int64]], Tensor], class_N: Tensor, train_M: NDArray[np.int64], epochs: int, batch: int,
    learning_rate: float, decay: float,
) -> None:  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=decay)
    steps = epochs * (-(-len(train_M) // batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate * 3, total_steps=steps)
    generator = np.random.default_rng(SEED)
    model.train()
    for _ in range(epochs):
        shuffled = generator.permutation(train_M)
        for first in range(0, len(shuffled), batch):
            rows = shuffled[first : first + batch]
            optimizer.zero_grad()
            cross_entropy(logits(rows), class_N[rows]).backward()
            optimizer.step()
            schedule.step()


def _out_of_fold(labelled: Labelled, fit: Callable[[NDArray[np.int64], NDArray[np.int64]], Tensor]) -> NDArray[np.float32]:
    posterior_NC = np.zeros((len(labelled.class_N), labelled.classes), dtype=np.float32)
    torch.manual_seed(SEED)
    for train_M, test_M in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(labelled.x_ND, labelled.class_N):
        posterior_NC[test_M] = fit(train_M, test_M).numpy()
    return posterior_NC


def _cleanlab(class_N: NDArray[np.int64], posterior_NC: NDArray[np.float32], method: str, adjusted: bool) -> NDArray[np.float64]:
    """cleanlab's label quality, turned round."""
    from cleanlab.rank import get_label_quality_scores  # only in the extra `benchmarks`: its licence is AGPL

    smoothed_NC = np.clip(posterior_NC.astype(np.float64), 1e-12, None)
    smoothed_NC /= smoothed_NC.sum(axis=1, keepdims=True)
    quality_N: NDArray[np.float64] = get_label_quality_scores(class_N, smoothed_NC, method=method, adjust_pred_probs=adjusted)
    return -quality_N


def _given(value_NC: NDArray[np.floating], class_N: NDArray[np.int64]) -> NDArray[np.float64]:
    return value_NC[np.arange(len(class_N)), class_N].astype(np.float64)
