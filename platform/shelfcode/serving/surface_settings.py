"""surfaces.yaml: which surface gets which flavor, who may ask, and how the deployments are run. An unknown field is an error.

docs/serving.md explains the file; serve_apps/surfaces.yaml is the one that ships.
"""

import re
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, field_validator, model_validator

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.recipe_file import read_yaml, validate_settings
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.replica_settings import ReplicaSettings
from shelfcode.serving.retrieve_settings import ImpressionSettings, RetrievalSettings, RetrieveSettings
from shelfcode.settings import Positive, Settings

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RELEASE = re.compile(r"v\d{4,}")
CURRENT = "current"
PREFIX = r"^(/[A-Za-z0-9._~-]+)*$"
ATTRIBUTES = "attributes"
"""Stands for all attributes of a product in a list of columns."""
COLUMNS = ("title", "brand", "category_path", "price", ATTRIBUTES)

ReviewRole = Literal["none", "reviewer", "lead"]
"""What a key permits in the review of audits. A lead may do whatever a reviewer may."""

Share = Annotated[float, Field(gt=0)]


class RouteSettings(Settings):
    """Where one surface goes: to one flavor, or to a blend of several."""

    flavor: str | None = Field(None, description="the flavor whose semantic IDs the surface gets")
    release: str | None = Field(None, description="a pinned release, such as v0002; the current one where it is left out")
    split: dict[str, Share] = Field(
        {}, description="release: share of the traffic, such as {current: 0.9, v0004: 0.1}; a routing_key stays on its side"
    )
    blend: dict[str, Share] = Field({}, description="flavor: weight, for a surface that needs several; instead of flavor")
    retrieve: RetrieveSettings | None = Field(None, description="how carts are answered; as `retrieve` below where it is left out")

    @model_validator(mode="after")
    def _one_way(self) -> "RouteSettings":
        if bool(self.flavor) == bool(self.blend):
            raise ValueError("a surface has either a flavor or a blend")
        if self.release and self.split:
            raise ValueError("a surface has either a release or a split")
        if self.blend and (self.release or self.split):
            raise ValueError("a blend takes the current release of each flavor: it has no release and no split")
        odd = [name for name in [*filter(None, [self.release]), *self.split] if name != CURRENT and not RELEASE.fullmatch(name)]
        if odd:
            raise ValueError(f"releases are written v0001 or current, not {', '.join(odd)}")
        return self

    @property
    def flavors(self) -> list[str]:
        """The flavors that the route names."""
        return list(self.blend) or [str(self.flavor)]


def _name_or_route(value: Any, _: Any) -> Any:
    """Chosen here and not by pydantic, which would say of both kinds what is wrong with the value."""
    return value if isinstance(value, str) else RouteSettings.model_validate(value)


Route = Annotated[str | RouteSettings, WrapValidator(_name_or_route)]


class KeySettings(Settings):
    """One caller's bearer key, of which only the hash is written down; jobs/make_key.py makes both."""

    name: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(description="of the caller; appears in logs")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="of the key, in hexadecimal")
    surfaces: list[str] | None = Field(None, description="the surfaces that the key is good for; all where it is left out")
    columns: list[str] | None = Field(None, description="what the key may read and filter by, instead of the endpoint's `columns`")
    requests_per_second: Positive | None = Field(None, description="of this key, instead of limits.requests_per_second")
    review: ReviewRole = Field(
        "none", description="whether the key is good for the review of audits; a lead also settles conflicts, exports and changes settings"
    )
    retailers: list[str] | None = Field(
        None, description="the retailers that the key may ask about, and must name one of; any, or none, where it is left out"
    )
    availability: bool = Field(False, description="whether the key may say what its retailers have")
    disabled: bool = Field(False, description="the key is known, and refused")


class LimitSettings(Settings):
    """How much one request, and one key, may ask for."""

    body_bytes: Positive = Field(4 * 2**20, description="size of a request, unpacked if it was packed; larger ones are refused unread")
    body_seconds: float = Field(10, gt=0, le=600, description="time in which the body of a request must arrive")
    products: Annotated[int, Field(ge=1, le=most.PRODUCTS)] = Field(256, description="products per encode request")
    text_characters: Annotated[int, Field(gt=0, le=most.TEXT_CHARACTERS)] = Field(
        20_000, description="length of a title, description or brand; a longer one fails its product"
    )
    neighbours: Annotated[int, Field(gt=0, le=most.NEIGHBOURS)] = Field(200, description="largest k of a similar or a retrieve request")
    beams: Annotated[int, Field(gt=0, le=most.BEAMS)] = Field(500, description="largest beam_width of a retrieve request")
    page: Annotated[int, Field(gt=0, le=most.PAGE)] = Field(500, description="products or prefixes per page")
    requests_per_second: Positive = Field(200, description="per key, counted by each replica of the ingress")


class FlavorServingSettings(ReplicaSettings):
    """How the deployment of a flavor runs."""

    cpus: float = Field(1, gt=0, description="CPUs that Ray reserves per replica")
    gpus: float = Field(0, ge=0, description="GPUs per replica; a fraction shares one")
    tokens_per_batch: Positive = Field(4096, description="tokens encoded together, over all waiting requests")
    set: list[str] = Field(
        [],
        description="key=value, as --set: how an encoder runs here, such as encoder.gpus_per_actor=0; nothing that changes its vectors",
    )


class IndexSettings(Settings):
    """How the item index runs."""

    replicas: Positive = Field(1, description="replicas; each holds the whole index")
    cpus: float = Field(0.5, gt=0, description="CPUs that Ray reserves per replica")
    releases_kept: Annotated[int, Field(ge=2)] = Field(
        3, description="releases per flavor that stay loaded, besides those named by surfaces"
    )


class IngressSettings(Settings):
    """How the ingress, which speaks HTTP, runs."""

    replicas: Positive = Field(1, description="replicas; with two or more, the death of one loses only the requests that it was answering")
    cpus: float = Field(0.5, gt=0, description="CPUs that Ray reserves per replica")


class HttpSettings(Settings):
    """Under which names and addresses the endpoint is asked."""

    hosts: list[str] = Field(
        [],
        description="names that a request may be sent to, without ports. Where auth is none, other names than these and those of this "
        "machine itself are refused: a web page may have its own name lead to 127.0.0.1. Where auth is keys, any name will do as long as "
        "none is given here",
    )
    prefix: Annotated[str, Field(pattern=PREFIX)] = Field(
        "", description="path below which a proxy shows the endpoint, such as /shelfcode, where the proxy takes it away before it passes on"
    )
    trust_proxy: bool = Field(False, description="take that path from the header X-Forwarded-Prefix; only behind a proxy that sets it")
    cors_origins: list[Annotated[str, Field(pattern=r"^(\*|https?://[^/\s]+)$")]] = Field(
        [], description="origins such as https://shop.example whose scripts may call /v1 from a browser; * for all"
    )


class SessionSettings(Settings):
    """How long somebody who has signed in stays so, on the pages."""

    hours: float = Field(12, gt=0, description="time after which a browser has to send its key again")
    secret: Annotated[str, Field(min_length=32)] = Field(
        default_factory=lambda: secrets.token_urlsafe(32),
        repr=False,
        description="signs sessions. Where it is left out, every start makes a new one, and ends the sessions of the one before",
    )


class ReviewStoreSettings(Settings):
    """Where the decisions of reviewers are kept. Without a store there is no review, and everything else is served as usual."""

    store: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        repr=False,
        description="postgresql+psycopg://HOST/DATABASE, or the path of an SQLite file, from the folder of surfaces.yaml; it is made where "
        "it is missing. A file is for one node: on several, use PostgreSQL",
    )
    threads: Annotated[int, Field(ge=1, le=64)] = Field(8, description="calls to the store at once, for each replica of the ingress")
    waiting: Positive = Field(512, description="calls that may wait for one of these threads; more are told to come back in a second")


class OnlineExtractionSettings(Settings):
    """Where a product without attributes gets them, in a flavor that reads attributes."""

    engine: Literal["rules", "vllm"] = Field(
        "rules", description="vllm: an LLM reads products during the request, and the rules where it fails"
    )
    seconds: float = Field(2.0, gt=0, description="time that the LLM has for all products of a request; after it, the rules answer")
    extractor: ExtractorSettings | None = Field(None, description="the LLM; the release's own where it is left out")
    cpus: float = Field(1, gt=0, description="CPUs that Ray reserves for it")
    gpus: float = Field(0, ge=0, description="GPUs that Ray reserves for it")

    @model_validator(mode="after")
    def _a_model_to_ask(self) -> "OnlineExtractionSettings":
        if self.extractor and self.extractor.engine != "vllm":
            raise ValueError("extractor.engine must be vllm: rules need no settings of their own here")
        return self


class SurfaceSettings(Settings):
    """All of surfaces.yaml."""

    surfaces: dict[str, Route] = Field(min_length=1, description="surface: a flavor, or a route")
    default: Route | None = Field(None, description="for surfaces that are not named; without it, asking for one is an error 404")
    auth: Literal["keys", "none"] = Field("keys", description="none: anybody may ask, and the server listens on loopback only")
    keys: list[KeySettings] = Field([], description="who may ask")
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    sessions: SessionSettings = Field(default_factory=SessionSettings)
    columns: list[str] = Field(
        list(COLUMNS),
        description="columns of the catalog that callers may read and filter by; `attributes` stands for what was extracted. "
        "Whatever else rides along in the catalog stays inside",
    )
    flavors: dict[str, FlavorServingSettings] = Field({}, description="flavor: how it runs, where the defaults do not suit")
    index: IndexSettings = IndexSettings()
    ingress: IngressSettings = IngressSettings()
    review: ReviewStoreSettings = ReviewStoreSettings()
    online_extraction: OnlineExtractionSettings = OnlineExtractionSettings()
    retrieve: RetrieveSettings | None = Field(
        None, description="how carts are answered on surfaces that do not say; without it, by products similar to those of the cart"
    )
    retrieval: RetrievalSettings = RetrievalSettings()
    impressions: ImpressionSettings = ImpressionSettings()
    availability: str | None = Field(
        None,
        description="Parquet file or folder of item_id and retailer_id, local or s3://: what each retailer has. Without it, callers say so "
        "by PUT /v1/retailers/{retailer_id}/availability",
    )
    availability_seconds: float = Field(0.5, gt=0, le=3600, description="time between two looks at what retailers have")
    poll_seconds: float = Field(2.0, gt=0, description="time between two looks at CURRENT of each flavor")
    log_requests: bool = Field(True, description="log one line per request: ids, sizes and times, never its content")

    @field_validator("surfaces")
    @classmethod
    def _surfaces_have_names(cls, surfaces: dict[str, Any]) -> dict[str, Any]:
        odd = [name for name in surfaces if not NAME.fullmatch(name)]
        if odd:
            raise ValueError(f"surfaces are named in lower case, with letters, digits, _ and -: not {', '.join(map(repr, odd))}")
        return surfaces

    @model_validator(mode="after")
    def _keys_fit(self) -> "SurfaceSettings":
        if self.auth == "keys" and not self.keys:
            raise ValueError("auth is keys and there is no key: make one with jobs/make_key.py, or write auth: none for this machine only")
        for name, values in {"name": [key.name for key in self.keys], "sha256": [key.sha256 for key in self.keys]}.items():
            if len(set(values)) < len(values):
                raise ValueError(f"two keys have the same {name}")
        for key in self.keys:
            if strangers := [name for name in key.surfaces or [] if name not in self.surfaces]:
                raise ValueError(f"key {key.name} is for surfaces that do not exist: {', '.join(strangers)}")
        return self

    @model_validator(mode="after")
    def _settings_of_flavors_that_are_served(self) -> "SurfaceSettings":
        if strangers := [name for name in self.flavors if name not in self.flavor_names]:
            raise ValueError(f"flavors names {', '.join(strangers)}, which no surface goes to")
        return self

    def retrieve_of(self, route: RouteSettings) -> RetrieveSettings | None:
        """How the carts of a surface are answered; None: by what is similar."""
        return route.retrieve or self.retrieve

    @property
    def retriever_names(self) -> list[str]:
        """The retrievers that any surface names, each once, in the order of the file."""
        routes = [route for _, route in self.routes()] + ([written_out(self.default)] if self.default else [])
        ways = [way for route in routes if (way := self.retrieve_of(route))]
        return list(dict.fromkeys(name for way in ways for name in way.retrievers))

    def routes(self) -> Iterator[tuple[str, RouteSettings]]:
        """Every surface with its route, written out."""
        for surface, route in self.surfaces.items():
            yield surface, written_out(route)

    @property
    def flavor_names(self) -> list[str]:
        """The flavors that any surface goes to, each once, in the order of the file."""
        routes = [route for _, route in self.routes()] + ([written_out(self.default)] if self.default else [])
        return list(dict.fromkeys(flavor for route in routes for flavor in route.flavors))


def written_out(route: str | RouteSettings) -> RouteSettings:
    """`precision` is short for `{flavor: precision}`."""
    return _route_to(route) if isinstance(route, str) else route


@cache  # every request asks for its route
def _route_to(flavor: str) -> RouteSettings:
    return RouteSettings(flavor=flavor)


def load_surfaces(path: str) -> SurfaceSettings:
    """Read and validate a surfaces.yaml.

    Raises:
        ShelfcodeError: no such file, not YAML, or a field that is unknown or out of range; the message names it.
    """
    if not Path(path).is_file():
        raise ShelfcodeError(f"surfaces={path}: no such file; serve_apps/surfaces.yaml is one to start from")
    return validate_settings(SurfaceSettings, read_yaml(Path(path)), path)
