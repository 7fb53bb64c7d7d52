"""Listings: which page is asked for, one page of the answer, and what is made of several: all items, or some.

Whatever lists gives its pages in one order; the `next_token` of one page is the name that the next one begins with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FILTERED_PAGE: Final = 100  # items read at a time in search of those that are kept


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; `next_token` is "" on the last."""

    items: tuple[T, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Which page of a listing. Names sort by code point; `start_key` is the first name that may appear."""

    prefix: str = ""
    start_key: str = ""
    limit: int = 20
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class InvocationQuery:
    """Which asynchronous invocations of a function, by the UTC milliseconds at which they were accepted."""

    prefix: str = ""
    status: str = ""
    qualifier: str = ""
    begin_ms: int = 0
    end_ms: int | None = None  # not included
    newest_first: bool = True
    limit: int = 20
    next_token: str = ""


async def all_items(list_page: Callable[[Query], Awaitable[Page[T]]], page_items: int) -> AsyncIterator[T]:
    """Every item there is, read so many at a time."""
    query = Query(limit=page_items)
    while True:
        page = await list_page(query)
        for item in page.items:
            yield item
        if not page.next_token:
            return
        query = replace(query, next_token=page.next_token)


async def filtered(
    list_page: Callable[[Query], Awaitable[Page[T]]],
    query: Query,
    keep: Callable[[T], bool],
    name: Callable[[T], str],
) -> Page[T]:
    """A page of those that are kept: as many are read as it takes to fill it. The token is the next one's name.

    First as many as are asked for, which is enough where nothing is filtered out; then by the largest page.
    """
    limit = query.limit
    kept: list[T] = []
    while True:
        page = await list_page(query)
        for item in filter(keep, page.items):
            if len(kept) == limit:
                return Page(tuple(kept), name(item))
            kept.append(item)
        if not page.next_token:
            return Page(tuple(kept))
        query = replace(query, next_token=page.next_token, limit=max(limit, FILTERED_PAGE))
