"""E-mail in memory: what was set up, and a test that ends as told."""

from __future__ import annotations

import attrs

from llm_core import MailSetup


@attrs.define
class MemoryMail:
    """Both the port `MailBook` and what sends; `trouble` is why a test does not leave."""

    present: MailSetup = MailSetup()
    secret: str = ""
    trouble: str | None = None
    by: list[str] = attrs.field(factory=list)
    tested: int = 0

    def begin(self) -> None:
        self.present, self.secret, self.trouble, self.by, self.tested = MailSetup(), "", None, [], 0

    @property
    def book(self) -> MemoryMail:
        return self

    async def setup(self) -> MailSetup:
        return self.present

    async def password(self) -> str:
        return self.secret

    async def replace(self, setup: MailSetup, password: str | None, by: str) -> None:
        self.present = setup
        self.secret = self.secret if password is None else password
        self.by.append(by)

    async def sent_month(self) -> str:
        return ""

    async def mark_sent(self, month: str) -> None:
        assert month

    async def test(self) -> str | None:
        self.tested += 1
        return self.trouble
