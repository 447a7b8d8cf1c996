"""Who may ask for what: bearer keys, stored only as hashes, each for some surfaces or all of them."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shelfcode.errors import ShelfcodeError
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.routing import route_of
from shelfcode.serving.surface_settings import KeySettings, ReviewRole, SurfaceSettings

PREFIX = "shelf_"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYBODY = KeySettings(name="anybody", sha256="0" * 64, review="lead", availability=True)
"""The caller where `auth` is none."""


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def key_hash(key: str) -> str:
    """The hash that is stored of a key. A key has 256 random bits, so a fast hash without salt gives nothing away."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def check_listening(settings: SurfaceSettings, host: str) -> None:
    """Refuse to listen beyond this machine where no keys are asked for.

    Raises:
        ShelfcodeError: the server listens on more than loopback.
    """
    if settings.auth == "none" and host not in LOOPBACK:
        raise ShelfcodeError(
            f"auth is none and the server would listen on {host}, where everybody could ask: make keys with jobs/make_key.py and write "
            "auth: keys into surfaces.yaml, or listen on 127.0.0.1"
        )


@dataclass(frozen=True)
class Gate:
    """Lets callers through, or says why not.

    Requests are counted here: libraries that do so start a thread or a timer for nearly every one, which takes a tenth of a look-up's time.

    Attributes:
        rates: caller -> requests a second.
        made: caller -> the second of its last request, and how many it has made in it.
    """

    settings: SurfaceSettings
    rates: Mapping[str, int]
    made: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: SurfaceSettings) -> "Gate":
        usual = settings.limits.requests_per_second
        return cls(settings, {key.name: key.requests_per_second or usual for key in (ANYBODY, *settings.keys)})

    def caller(self, key: str | None) -> KeySettings:
        """The caller whose key this is.

        Raises:
            Problem: there is no key, nobody has it, or it is disabled.
        """
        if self.settings.auth == "none":
            return ANYBODY
        if not key:
            raise Problem("no-key", "send your key in the header: Authorization: Bearer KEY")
        caller = _owner(self.settings.keys, key_hash(key))
        if caller is None:
            raise Problem("no-key", "nobody has this key; jobs/make_key.py makes one")
        return self.enabled(caller)

    def enabled(self, caller: KeySettings) -> KeySettings:
        """The caller, if the key is not disabled.

        Raises:
            Problem: it is.
        """
        if caller.disabled:
            raise Problem("key-not-permitted", f"the key of {caller.name} is disabled")
        return caller

    def admit(self, caller: KeySettings) -> None:
        """Count a request.

        Raises:
            Problem: the caller has made too many within a second.
        """
        now = int(time.time())
        second, count = self.made.get(caller.name, (now, 0))
        self.made[caller.name] = now, count + 1 if second == now else 1
        if self.made[caller.name][1] > self.rates[caller.name]:
            most = self.rates[caller.name]
            raise Problem("too-many-requests", f"{caller.name} may make {most} requests a second; try again in a second")

    def permit_surface(self, caller: KeySettings, surface: str) -> None:
        """Refuse a surface that the caller's key is not good for.

        Raises:
            Problem: the key is for other surfaces.
        """
        if caller.surfaces is not None and surface not in caller.surfaces:
            raise Problem("key-not-permitted", f"the key of {caller.name} is for {', '.join(caller.surfaces) or 'no surface'}")

    def permit_retailer(self, caller: KeySettings, retailer_id: str | None) -> None:
        """Refuse a retailer that the caller's key is not good for. A limited key is not told whether there is such a retailer.

        Raises:
            Problem: the key is for other retailers, or for some, and none was named.
        """
        if caller.retailers is None or retailer_id in caller.retailers:
            return
        if retailer_id is None:
            raise Problem("key-not-permitted", f"the key of {caller.name} is for some retailers only: name one of them in retailer_id")
        raise Problem("key-not-permitted", f"the key of {caller.name} is not for retailer {retailer_id[:100]!r}")

    def permit_availability(self, caller: KeySettings, retailer_id: str) -> None:
        """Refuse whoever may not say what a retailer has.

        Raises:
            Problem: the key is not for that, or not for this retailer.
        """
        if not caller.availability:
            raise Problem(
                "key-not-permitted",
                f"the key of {caller.name} may not say what retailers have; jobs/make_key.py --availability makes one that may",
            )
        self.permit_retailer(caller, retailer_id)

    def permit_review(self, caller: KeySettings, role: ReviewRole = "reviewer") -> None:
        """Refuse whoever may not review, or may not do what a lead does.

        Raises:
            Problem: the key is for less.
        """
        if caller.review == "none":
            raise Problem("key-not-permitted", f"the key of {caller.name} may not review; jobs/make_key.py --review makes one that may")
        if role == "lead" and caller.review != "lead":
            raise Problem("key-not-permitted", f"this is for a lead, and the key of {caller.name} is a reviewer's")

    def permit_flavor(self, caller: KeySettings, flavor: str) -> None:
        """Refuse a flavor that none of the caller's surfaces goes to. A limited key is not told whether there is such a flavor.

        Raises:
            Problem: the key is for surfaces of other flavors, or good for all and there is no such flavor.
        """
        known = self.flavors(caller)
        if flavor in known:
            return
        if caller.surfaces is not None:
            raise Problem("key-not-permitted", f"no surface that the key of {caller.name} is for goes to flavor {flavor[:100]!r}")
        raise Problem("unknown-flavor", f"no surface goes to a flavor {flavor[:100]!r}; there are {', '.join(known)}")

    def flavors(self, caller: KeySettings) -> list[str]:
        """The flavors that a caller may look into."""
        if caller.surfaces is None:
            return self.settings.flavor_names
        permitted = {flavor for surface in caller.surfaces for flavor in route_of(self.settings, surface).flavors}
        return [flavor for flavor in self.settings.flavor_names if flavor in permitted]

    def columns(self, caller: KeySettings) -> tuple[str, ...]:
        """The columns that a caller may read and filter by."""
        return tuple(self.settings.columns if caller.columns is None else caller.columns)

    def surfaces(self, caller: KeySettings) -> list[str]:
        """The surfaces that a caller may ask for, by name."""
        return [name for name in self.settings.surfaces if caller.surfaces is None or name in caller.surfaces]


def _owner(keys: Sequence[KeySettings], digest: str) -> KeySettings | None:
    """The key with this hash. All are compared, each in constant time, so that the time taken does not tell which one it is."""
    owner = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            owner = key
    return owner
