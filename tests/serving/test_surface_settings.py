"""A surfaces.yaml that is wrong is told which field, and those that ship are right, down to what is commented out."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_apps.surfaces import Arguments
from shelfcode.errors import ShelfcodeError
from shelfcode.serving.surface_settings import RouteSettings, SurfaceSettings, load_surfaces, written_out

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "serve_apps" / "surfaces.yaml"
HASH = "0" * 64
RIGHT: dict[str, Any] = {"surfaces": {"search": "precision"}, "auth": "none"}


def loaded(folder: Path, fields: Any) -> SurfaceSettings:
    path = folder / "surfaces.yaml"
    path.write_text(fields if isinstance(fields, str) else yaml.safe_dump(fields))
    return load_surfaces(str(path))


def uncommented(text: str) -> list[str]:
    """The lines of YAML that a file holds as comments."""
    return [match[1] for match in re.finditer(r"^# ( *[a-z_]+: .+)$", text, re.MULTILINE)]


# What ships.


def test_the_settings_that_ship_are_right() -> None:
    settings = load_surfaces(str(SHIPPED))
    assert settings.flavor_names == ["precision", "discovery"]
    assert settings.auth == "none"


def test_every_line_that_ships_as_a_comment_is_right_where_it_stands() -> None:
    shipped = SHIPPED.read_text()
    lines = uncommented(shipped)
    assert len(lines) == 7
    for line in lines:
        name, _, value = line.strip().partition(":")
        fields = yaml.safe_load(shipped)
        (fields["surfaces"] if line.startswith(" ") else fields)[name] = yaml.safe_load(value)
        SurfaceSettings.model_validate(fields)


def test_the_configuration_that_ships_is_one_that_ray_takes() -> None:
    fields = yaml.safe_load((ROOT / "serve_apps" / "config.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(fields).applications
    module, _, name = application.import_path.partition(":")
    assert (module, name) == ("serve_apps.surfaces", "app")
    arguments = Arguments.model_validate(application.args)
    assert (ROOT / arguments.surfaces) == SHIPPED


# What is read.


def test_a_flavors_name_is_short_for_a_route_to_it() -> None:
    assert written_out("precision") == written_out(RouteSettings(flavor="precision")) == RouteSettings(flavor="precision")


def test_flavors_are_named_once_each_in_the_order_of_the_file() -> None:
    surfaces = {"a": "x", "b": {"blend": {"y": 1, "x": 2}}, "c": {"flavor": "z", "release": "v0001"}}
    settings = SurfaceSettings.model_validate({"surfaces": surfaces, "default": "last", "auth": "none"})
    assert settings.flavor_names == ["x", "y", "z", "last"]
    assert [(name, route.flavors) for name, route in settings.routes()] == [("a", ["x"]), ("b", ["y", "x"]), ("c", ["z"])]


# What is wrong.


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"surfaces": {}}, "surfaces"),
        ({"surfaces": ["search"]}, "surfaces"),
        ({"surfaces": {"Search": "precision"}}, "surfaces: .*'Search'"),
        ({"surfaces": {"se/arch": "precision"}}, "surfaces: .*'se/arch'"),
        ({"surfaces": {"search": 5}}, "surfaces.search"),
        ({"surfaces": {"search": {}}}, "surfaces.search.*either a flavor or a blend"),
        ({"surfaces": {"search": {"flavor": "a", "blend": {"b": 1}}}}, "surfaces.search.*either a flavor or a blend"),
        ({"surfaces": {"search": {"flavor": "a", "release": "v0001", "split": {"current": 1}}}}, "surfaces.search.*a release or a split"),
        ({"surfaces": {"search": {"blend": {"a": 1}, "release": "v0001"}}}, "surfaces.search.*no release and no split"),
        ({"surfaces": {"search": {"flavor": "a", "release": "2"}}}, "surfaces.search.*not 2"),
        ({"surfaces": {"search": {"flavor": "a", "split": {"current": 1, "newest": 1}}}}, "surfaces.search.*not newest"),
        ({"surfaces": {"search": {"flavor": "a", "split": {"current": 0}}}}, "surfaces.search.*split.current"),
        ({"surfaces": {"search": {"blend": {"a": -1}}}}, "surfaces.search.*blend.a"),
        ({"default": {"flavor": "a", "release": "x"}}, "default.*not x"),
        ({"auth": "password"}, "auth"),
        ({"limits": {"products": 0}}, "limits.products"),
        ({"limits": {"products": 5000}}, "limits.products"),
        ({"limits": {"requests_per_second": "many"}}, "limits.requests_per_second"),
        ({"flavors": {"precision": {"replicas_max": 0}}}, "flavors.precision.replicas_max"),
        ({"flavors": {"precision": {"replicas_min": 3, "replicas_max": 2}}}, "flavors.precision: .*replicas_max 2"),
        ({"flavors": {"precision": {"cpus": 0}}}, "flavors.precision.cpus"),
        ({"flavors": {"elsewhere": {}}}, "flavors names elsewhere"),
        ({"index": {"releases_kept": 1}}, "index.releases_kept"),
        ({"ingress": {"replicas": 0}}, "ingress.replicas"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"online_extraction": {"seconds": 0}}, "online_extraction.seconds"),
        ({"online_extraction": {"extractor": {"engine": "rules"}}}, "online_extraction: .*extractor.engine"),
        ({"keys": [{"name": "a"}]}, "keys.0.sha256"),
        ({"keys": [{"name": "a", "sha256": "shelf_key"}]}, "keys.0.sha256"),
        ({"keys": [{"name": "a", "sha256": HASH.upper() + "A"}]}, "keys.0.sha256"),
        ({"auth": "keys"}, "auth is keys and there is no key: .*jobs/make_key.py"),
        ({"keys": [{"name": "a", "sha256": HASH}, {"name": "a", "sha256": "1" * 64}]}, "two keys have the same name"),
        ({"keys": [{"name": "a", "sha256": HASH}, {"name": "b", "sha256": HASH}]}, "two keys have the same sha256"),
        ({"keys": [{"name": "a", "sha256": HASH, "surfaces": ["homepage"]}]}, "key a is for surfaces that do not exist: homepage"),
    ],
    ids=str,
)
def test_a_wrong_field_is_told_by_its_name(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ShelfcodeError) as raised:
        loaded(tmp_path, {**RIGHT, **fields})
    assert str(tmp_path / "surfaces.yaml") in str(raised.value)
    assert re.search(named, str(raised.value))


@pytest.mark.parametrize(
    ("fields", "unknown", "nearest"),
    [
        ({"auht": "none"}, "auht", "auth"),
        ({"poll_second": 2}, "poll_second", "poll_seconds"),
        ({"limits": {"product": 5}}, "limits.product", "limits.products"),
        ({"flavors": {"precision": {"replica_min": 1}}}, "flavors.precision.replica_min", "flavors.NAME.replicas_min"),
        ({"keys": [{"name": "a", "sha256": HASH, "surface": ["search"]}]}, "keys.0.surface", "surfaces"),
        ({"online_extraction": {"engin": "vllm"}}, "online_extraction.engin", "online_extraction.engine"),
    ],
    ids=str,
)
def test_an_unknown_field_is_told_the_nearest_known_one(tmp_path: Path, fields: dict[str, Any], unknown: str, nearest: str) -> None:
    with pytest.raises(ShelfcodeError, match=f"unknown field '{unknown}'; the nearest known one is '{nearest}'"):
        loaded(tmp_path, {**RIGHT, **fields})


@pytest.mark.parametrize(
    ("route", "told"),
    [
        (5, "  surfaces.search: "),
        ({"flavour": "precision"}, "  unknown field 'surfaces.search.flavour'"),
        ({"flavor": "precision", "split": {"current": 0}}, "  surfaces.search.split.current: "),
        ({}, "  surfaces.search: "),
    ],
    ids=str,
)
def test_a_wrong_route_is_told_in_one_line(tmp_path: Path, route: Any, told: str) -> None:
    with pytest.raises(ShelfcodeError) as raised:
        loaded(tmp_path, {**RIGHT, "surfaces": {"search": route}})
    _, *lines = str(raised.value).splitlines()
    assert [line[: len(told)] for line in lines] == [told]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError) as raised:
        loaded(tmp_path, {**RIGHT, "poll_seconds": -1, "limits": {"page": 0}, "colour": "red"})
    assert all(name in str(raised.value) for name in ("poll_seconds", "limits.page", "colour"))


@pytest.mark.parametrize("text", ["surfaces: [", "- a", "", "text", "\t"])
def test_a_file_that_holds_no_fields_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ShelfcodeError, match=re.escape(str(tmp_path / "surfaces.yaml"))):
        loaded(tmp_path, text)


def test_a_file_that_is_not_there_is_told_where_one_is(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"serve_apps/surfaces\.yaml is one to start from"):
        load_surfaces(str(tmp_path / "not-there.yaml"))


@pytest.mark.parametrize("arguments", [{}, {"workspace": "w", "surface": "s"}, {"workspace": None}])
def test_the_application_takes_its_arguments_and_no_others(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Arguments"):
        Arguments.model_validate(arguments)
