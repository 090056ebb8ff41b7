import pytest

from gateway.relay.dialect.kind import DIALECTS, find_dialect


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/openai/v1/chat/completions", "chat"),
        ("/v1/completions", "completions"),
        ("/completions", "completions"),
        ("/v1/responses", "responses"),
        ("/v1/responses/compact", "responses"),
        ("/v1/messages", "messages"),
        ("/v1/messages/count_tokens", "messages"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/rerank", "rerank"),
        ("/v1/audio/transcriptions", "audio"),
        ("/v1/audio/speech", "audio"),
        ("/v1/images/edits", "images"),
        ("/v1/something", "chat"),
        ("/", "chat"),
    ],
)
def test_the_end_of_a_path_names_the_dialect(path: str, name: str) -> None:
    assert find_dialect(path).name == name
    assert DIALECTS[name] is find_dialect(path)
