from agentkit import ChatClient, LocalModel, Model, Prompted
from tests.scripted import Scripted, said


def test_what_agentkit_has_are_models() -> None:
    """The type checkers hold each to the protocol."""
    models: list[Model] = [
        ChatClient("m", base_url="http://127.0.0.1:1"),
        Prompted(ChatClient("n", base_url="http://127.0.0.1:1")),
        LocalModel(),
        Scripted(said("x")),
    ]
    assert [model.name for model in models] == ["m", "n", "SmolLM2-135M-Instruct.Q4_1", "scripted"]
