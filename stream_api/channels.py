"""The channels of all companies, and those of several companies while a stream is open for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_api.channel import Channel, companies_of


class Channels:
    """Finds, makes and forgets channels. `make` builds one from its name and its floor."""

    def __init__(self, make: Callable[[str, int], Channel]) -> None:
        self._make = make
        self._single: dict[str, Channel] = {}
        self._joined: dict[str, Channel] = {}
        # What an event of a company goes to: its own channel, and those that it is one of.
        self._by_company: dict[str, list[Channel]] = {}

    def find(self, name: str) -> Channel | None:
        """The channel of a company or of several, if there is one."""
        return self._single.get(name) or self._joined.get(name)

    def get(self, company_id: str, floor: int) -> Channel:
        """A company's channel; made when it is asked for the first time, complete from `floor`."""
        channel = self._single.get(company_id)
        if channel is None:
            channel = self._single[company_id] = self._make(company_id, floor)
            self._by_company.setdefault(company_id, []).append(channel)
        return channel

    def all(self) -> list[Channel]:
        """All of them."""
        return [*self._single.values(), *self._joined.values()]

    def single(self) -> list[Channel]:
        """Those of one company each; the others' rings hold the same entries once more."""
        return list(self._single.values())

    def of(self, company_id: str, floor: int) -> Sequence[Channel]:
        """The channels that a company's event goes to: its own, and those that it is one of."""
        if company_id not in self._single:
            self.get(company_id, floor)
        return self._by_company[company_id]

    def join(self, name: str, floor: int) -> None:
        """Make sure of the channel of several companies; its ring has what is above `floor`."""
        if name in self._joined:
            return
        channel = self._joined[name] = self._make(name, floor)
        for company in companies_of(name):
            self._by_company.setdefault(company, []).append(channel)

    def part(self, name: str) -> None:
        """Forget the channel of several companies: no stream is open for it any more."""
        channel = self._joined.pop(name)
        for company in companies_of(name):
            others = self._by_company[company]
            others.remove(channel)
            if not others:
                del self._by_company[company]
