import threading

from realtime.frame import Latest


def test_newest_frame_wins() -> None:
    slot: Latest[int] = Latest()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0) == 3
    assert slot.take(0) is None


def test_replaced_items_are_counted_and_taken_ones_are_not() -> None:
    slot: Latest[str] = Latest()
    slot.put("a")
    slot.take(0)
    slot.put("b")
    assert slot.dropped == 0
    slot.put("c")
    slot.put("d")
    assert slot.dropped == 2


def test_close_wakes_a_waiter_with_none() -> None:
    slot: Latest[int] = Latest()
    taken: list[int | None] = []
    waiter = threading.Thread(target=lambda: taken.append(slot.take()))
    waiter.start()
    slot.close()
    waiter.join(5)
    assert taken == [None]


def test_put_wakes_a_waiter_with_the_item() -> None:
    slot: Latest[int] = Latest()
    taken: list[int | None] = []
    waiter = threading.Thread(target=lambda: taken.append(slot.take()))
    waiter.start()
    slot.put(7)
    waiter.join(5)
    assert taken == [7]


def test_after_closing_what_is_left_is_given_first() -> None:
    slot: Latest[int] = Latest()
    slot.put(1)
    slot.close()
    assert slot.closed
    assert slot.take() == 1
    assert slot.take() is None
