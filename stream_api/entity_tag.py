"""Entity tags: whether the copy that a client has is still the right one."""

from __future__ import annotations


def names_tag(if_none_match: str, etag: str) -> bool:
    """Whether the header `If-None-Match` names this tag, compared weakly.

    Proxies that compress turn a strong tag into a weak one.
    """
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag.removeprefix("W/") in tags or "*" in tags
