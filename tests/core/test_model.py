import pytest

from agentkit import ChatClient, ChatRequest, ConfigurationError, Fallback, LocalModel, Model, Prompted, UserMessage
from agentkit.core.model import Sends, preview
from tests.scripted import Scripted, said

CLIENT = ChatClient("m", base_url="http://127.0.0.1:1")
HELLO = ChatRequest((UserMessage("Hello"),))


def test_what_agentkit_has_are_models() -> None:
    """The type checkers hold each to the protocol."""
    models: list[Model] = [
        CLIENT,
        Prompted(ChatClient("n", base_url="http://127.0.0.1:1")),
        LocalModel(),
        Scripted(said("x")),
    ]
    assert [model.name for model in models] == ["m", "n", "SmolLM2-135M-Instruct.Q4_1", "scripted"]


def test_those_of_agentkit_show_what_they_would_send() -> None:
    showing: list[Sends] = [CLIENT, Prompted(CLIENT), Fallback(CLIENT), LocalModel()]
    assert [isinstance(model, Sends) for model in (*showing, Scripted(said("x")))] == [True] * 4 + [False]


def test_a_preview_is_of_a_model_that_shows_it() -> None:
    for streamed in (False, True):
        assert preview(CLIENT, HELLO, streamed=streamed) == CLIENT.sends(HELLO, streamed=streamed)
    with pytest.raises(ConfigurationError, match="Scripted"):
        preview(Scripted(said("x")), HELLO)
