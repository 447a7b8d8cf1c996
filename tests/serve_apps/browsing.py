"""A page in a browser, with somebody who watches what it does."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Watched:
    """A browser's page, and whatever it should not have done. `pictures` may come from there."""

    page: Any
    url: str
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    pictures: str = "data:"

    def follow(self) -> None:
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.strangers.append(request.url) if self._is_strange(request.url) else None)

    def _is_strange(self, url: str) -> bool:
        return not url.startswith((self.url, "data:", self.pictures))

    def open(self, path: str, status: int = 200) -> None:
        answer = self.page.goto(f"{self.url}{path}")
        assert answer.status == status
        if status >= 400:  # Chromium complains of such an answer itself
            self.complaints[:] = [said for said in self.complaints if str(status) not in said]
