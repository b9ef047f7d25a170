from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core import blocks as blocks_file
from agentkit.core.blocks import joined, lengthened
from agentkit.core.growing import GrowingTuple
from agentkit.core.messages import Message, UserMessage


@given(st.lists(st.lists(st.binary(min_size=1, max_size=9), max_size=4)))
def test_blocks_are_what_they_hold_with_commas_between(additions: list[list[bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_file, "_BLOCK", 10)
        blocks: tuple[bytes, ...] = ()
        for addition in additions:
            blocks = lengthened(blocks, addition)
    assert b"".join(blocks) == b",".join([item for addition in additions for item in addition])
    assert all(len(block) >= 10 for block in blocks[:-1])
    assert all(blocks)


def test_a_longer_history_shares_all_blocks_but_the_last() -> None:
    messages = GrowingTuple[Message]()
    seen: list[tuple[bytes, ...]] = []
    for number in range(100):
        messages = messages.plus([UserMessage(f"{number} " + "x" * 5000)])
        seen.append(joined(messages, "encoded", lambda message: message.encoded))
    for shorter, longer in pairwise(seen):
        assert all(block is same for block, same in zip(shorter[:-1], longer, strict=False))
    assert 10 < len(seen[-1]) < 20
    assert b"".join(seen[-1]) == b",".join([message.encoded for message in messages])
