"""A cache that is bounded in bytes."""

from agentkit.core.byte_cache import ByteCache


def test_what_was_asked_before_is_kept_up_to_the_size() -> None:
    asked: list[bytes] = []

    def doubled(key: bytes) -> bytes:
        asked.append(key)
        return key * 2

    cache = ByteCache(doubled, 300)
    keys = [bytes([number]) * 6 for number in range(20)]
    for key in keys:
        assert cache(key) == key * 2
        assert cache.size <= 300
    assert cache(keys[-1]) == keys[-1] * 2
    assert asked == keys
    cache(keys[0])
    assert asked == [*keys, keys[0]], "the oldest made room"


def test_what_is_large_is_not_kept() -> None:
    cache = ByteCache(bytes.upper, 320)
    assert cache(b"a" * 11) == b"A" * 11
    assert cache.size == 0
    cache(b"a" * 10)
    assert cache.size == 20


def test_what_another_thread_kept_meanwhile_is_counted_once() -> None:
    def ask_again(key: bytes) -> bytes:
        if not again:
            again.append(key)
            cache(key)
        return key

    again: list[bytes] = []
    cache = ByteCache(ask_again, 1_000)
    assert cache(b"a") == b"a"
    assert cache.size == 2
