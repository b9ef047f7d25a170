from agentkit import Usage
from agentkit.cli.formatting import format_json, format_usage, shortened


def test_a_text_is_shortened_to_a_line() -> None:
    assert (shortened("one\n two"), shortened("x" * 201)) == ("one two", "x" * 200 + "…")


def test_json_does_not_steer_a_terminal() -> None:
    assert format_json({"a": "\x7f\x1b"}) == '{"a": "\\u007f\\u001b"}\n'
    assert format_json([1], indent=1) == "[\n 1\n]\n"


def test_what_requests_cost_is_written() -> None:
    assert format_usage(Usage()) == "0 requests"
    assert format_usage(Usage(1, 1000, 200)) == "1 request, 1,200 tokens"
    assert format_usage(Usage(2, 10, 5, 3, 0.25)) == "2 requests, 15 tokens (3 cached), cost 0.25"
