import asyncio

import pytest

from control_plane.listing import FILTERED_PAGE, Page, Query, all_items, filtered


class Shelf:
    """Lists the numbers below `count`, each by its name."""

    def __init__(self, count: int) -> None:
        self.numbers = range(count)
        self.asked: list[Query] = []

    async def list_page(self, query: Query) -> Page[int]:
        self.asked.append(query)
        begin = int(query.next_token or "0")
        end = begin + query.limit
        return Page(tuple(self.numbers[begin:end]), str(end) if end < len(self.numbers) else "")


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
def test_all_items_come_once_and_in_order_however_many_pages_they_fill(count: int) -> None:
    shelf = Shelf(count)

    async def read() -> list[int]:
        return [item async for item in all_items(shelf.list_page, 10)]

    assert asyncio.run(read()) == list(range(count))
    assert len(shelf.asked) == max(1, -(-count // 10))


def keep_tens(query: Query, count: int) -> tuple[Page[int], Shelf]:
    shelf = Shelf(count)
    return asyncio.run(filtered(shelf.list_page, query, lambda number: number % 10 == 0, str)), shelf


def test_a_filtered_page_is_filled_and_names_the_next_that_is_kept() -> None:
    page, _ = keep_tens(Query(limit=3), 1000)
    assert page == Page((0, 10, 20), "30")


def test_a_filtered_listing_goes_on_where_the_page_before_ended() -> None:
    page, _ = keep_tens(Query(limit=3, next_token="30"), 60)
    assert page == Page((30, 40, 50))


def test_a_search_that_keeps_little_reads_by_large_pages_after_the_first() -> None:
    page, shelf = keep_tens(Query(limit=5), 1000)
    assert page.items == (0, 10, 20, 30, 40)
    assert [query.limit for query in shelf.asked] == [5, FILTERED_PAGE]


def test_a_filtered_page_of_nothing_that_is_kept_is_empty_and_the_last() -> None:
    shelf = Shelf(250)
    assert asyncio.run(filtered(shelf.list_page, Query(), lambda _: False, str)) == Page(())
