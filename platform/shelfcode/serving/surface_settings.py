"""surfaces.yaml: which surface gets which flavor, who may ask, and how the deployments are run. An unknown field is an error.

docs/serving.md explains the file; serve_apps/surfaces.yaml is the one that ships.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, field_validator, model_validator

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.recipe_file import read_yaml, validate_settings
from shelfcode.settings import Positive, Settings

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RELEASE = re.compile(r"v\d{4,}")
CURRENT = "current"

Share = Annotated[float, Field(gt=0)]


class RouteSettings(Settings):
    """Where one surface goes: to a flavor, or to a blend of several."""

    flavor: str | None = Field(None, description="whose semantic IDs the surface gets")
    release: str | None = Field(None, description="pins one, such as v0002; the current one where it is left out")
    split: dict[str, Share] = Field(
        {}, description="release: share of the traffic, such as {current: 0.9, v0004: 0.1}; sticky by routing_key"
    )
    blend: dict[str, Share] = Field({}, description="flavor: weight, for a surface that needs both; instead of flavor")

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
        """The flavors that it names."""
        return list(self.blend) or [str(self.flavor)]


def _name_or_route(value: Any, _: Any) -> Any:
    """Not left to pydantic: of two kinds that a value might be, it tells what is wrong with each."""
    return value if isinstance(value, str) else RouteSettings.model_validate(value)


Route = Annotated[str | RouteSettings, WrapValidator(_name_or_route)]


class KeySettings(Settings):
    """One caller's bearer key, of which only the hash is written down; jobs/make_key.py makes both."""

    name: str = Field(description="of the caller; stands in logs")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="of the key, in hexadecimal")
    surfaces: list[str] | None = Field(None, description="what the key is good for; every surface where it is left out")
    requests_per_second: Positive | None = Field(None, description="of this key, instead of limits.requests_per_second")
    disabled: bool = Field(False, description="the key is known and refused")


class LimitSettings(Settings):
    """What one request, and one key, may ask for."""

    body_bytes: Positive = Field(4 * 2**20, description="of a request; larger ones are refused unread")
    products: Annotated[int, Field(ge=1, le=4096)] = Field(256, description="of one encode request")
    text_characters: Positive = Field(20_000, description="of a title, description or brand; a longer one is an error of that product")
    neighbours: Positive = Field(200, description="k of one similar request")
    page: Positive = Field(500, description="products or prefixes of one page")
    requests_per_second: Positive = Field(200, description="of a key, counted by each replica of the ingress")


class FlavorServingSettings(Settings):
    """How the deployment of a flavor is run."""

    replicas_min: Positive = Field(1, description="replicas kept")
    replicas_max: Positive = Field(1, description="replicas at the most, as load asks for them")
    calls_per_replica: Positive = Field(2, description="calls under way that a replica is meant for; more make the deployment grow")
    cpus: float = Field(1, gt=0, description="CPUs that Ray sets aside for a replica")
    gpus: float = Field(0, ge=0, description="GPUs a replica; a fraction shares one")
    tokens_per_batch: Positive = Field(4096, description="tokens that are encoded together, over all requests that wait")
    set: list[str] = Field(
        [],
        description="key=value, as --set: how the encoder of a release is run here, such as encoder.gpus_per_actor=0; never what it gives",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "FlavorServingSettings":
        if self.replicas_max < self.replicas_min:
            raise ValueError(f"replicas_max {self.replicas_max} is less than replicas_min {self.replicas_min}")
        return self


class IndexSettings(Settings):
    """How the item index is run."""

    replicas: Positive = Field(1, description="each holds all of it")
    cpus: float = Field(0.5, gt=0, description="CPUs that Ray sets aside for a replica")
    releases_kept: Annotated[int, Field(ge=2)] = Field(3, description="releases a flavor that stay loaded, beside those that surfaces name")


class IngressSettings(Settings):
    """How the ingress, which speaks HTTP, is run."""

    replicas: Positive = Field(1, description="two or more, and the death of one loses only what it was working on")
    cpus: float = Field(0.5, gt=0, description="CPUs that Ray sets aside for a replica")


class OnlineExtractionSettings(Settings):
    """Where a discovery product without attributes gets them from."""

    engine: Literal["rules", "vllm"] = Field("rules", description="vllm: an LLM in the path of the request, with the rules to fall back on")
    seconds: float = Field(2.0, gt=0, description="that the LLM has for all products of a request; then the rules answer")
    extractor: ExtractorSettings | None = Field(None, description="the LLM; that of the release where it is left out")
    cpus: float = Field(1, gt=0, description="CPUs that Ray sets aside for it")
    gpus: float = Field(0, ge=0, description="GPUs")

    @model_validator(mode="after")
    def _a_model_to_ask(self) -> "OnlineExtractionSettings":
        if self.extractor and self.extractor.engine != "vllm":
            raise ValueError("extractor.engine must be vllm: rules need no settings of their own here")
        return self


class SurfaceSettings(Settings):
    """All of surfaces.yaml."""

    surfaces: dict[str, Route] = Field(min_length=1, description="surface: flavor, or how it is routed")
    default: Route | None = Field(None, description="for a surface that is not named; without it that is an error 404")
    auth: Literal["keys", "none"] = Field("keys", description="none: everybody may ask, and the server only listens on loopback")
    keys: list[KeySettings] = Field([], description="who may ask")
    limits: LimitSettings = LimitSettings()
    flavors: dict[str, FlavorServingSettings] = Field({}, description="flavor: how it is run, where the defaults do not suit")
    index: IndexSettings = IndexSettings()
    ingress: IngressSettings = IngressSettings()
    online_extraction: OnlineExtractionSettings = OnlineExtractionSettings()
    availability: str | None = Field(
        None, description="Parquet file or folder of item_id and retailer_id, local or s3://; for retailer_id filters"
    )
    poll_seconds: float = Field(2.0, gt=0, description="how often CURRENT of each flavor is looked at")
    log_requests: bool = Field(True, description="a line a request: ids, sizes and times, never what it says")

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
            raise ValueError("auth is keys and there is none: make one with jobs/make_key.py, or write auth: none for this machine alone")
        for name, values in {"name": [key.name for key in self.keys], "sha256": [key.sha256 for key in self.keys]}.items():
            if len(set(values)) < len(values):
                raise ValueError(f"two keys have the same {name}")
        for key in self.keys:
            if strangers := [name for name in key.surfaces or [] if name not in self.surfaces]:
                raise ValueError(f"key {key.name} is for surfaces that are not there: {', '.join(strangers)}")
        return self

    @model_validator(mode="after")
    def _settings_of_flavors_that_are_served(self) -> "SurfaceSettings":
        if strangers := [name for name in self.flavors if name not in self.flavor_names]:
            raise ValueError(f"flavors names {', '.join(strangers)}, which no surface goes to")
        return self

    def routes(self) -> Iterator[tuple[str, RouteSettings]]:
        """Every surface with its route, written out."""
        for surface, route in self.surfaces.items():
            yield surface, written_out(route)

    @property
    def flavor_names(self) -> list[str]:
        """Flavors that any surface goes to, each once, in the order of the file."""
        routes = [route for _, route in self.routes()] + ([written_out(self.default)] if self.default else [])
        return list(dict.fromkeys(flavor for route in routes for flavor in route.flavors))


def written_out(route: str | RouteSettings) -> RouteSettings:
    """`precision` is short for `{flavor: precision}`."""
    return RouteSettings(flavor=route) if isinstance(route, str) else route


def load_surfaces(path: str) -> SurfaceSettings:
    """Read and validate a surfaces.yaml.

    Raises:
        ShelfcodeError: no such file, not YAML, or a field that is unknown or out of range; the message names it.
    """
    if not Path(path).is_file():
        raise ShelfcodeError(f"surfaces={path}: no such file; serve_apps/surfaces.yaml is one to start from")
    return validate_settings(SurfaceSettings, read_yaml(Path(path)), path)
