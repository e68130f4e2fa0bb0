"""The contract's messages ↔ what the generator works with."""

from collections.abc import Callable, Iterator
from functools import partial

from vermeil.content.v1.content_pb2 import Media, Message, Part, Role, ToolCall
from vermeil.generation.v1 import generation_pb2 as wire
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil_errors import InvalidInput
from vermeil_media import Pixels

from vermeil_generator.ask import Ask, Conversation, GivenImage, Input, PlainText, Sampling, TokenIds, Turn
from vermeil_generator.loaded import LoadedModel
from vermeil_generator.loaded_adapter import LoadedAdapter
from vermeil_generator.output_format import ANY_OBJECT, JsonSchema, OutputFormat, Regex
from vermeil_generator.piece import Finish, Piece, ToldToken
from vermeil_generator.tool_messages import (
    call_from_message,
    result_from_message,
    tool_calls_from_message,
    with_tools,
)

TOKENS_IN_A_MESSAGE = 256
"""More told tokens than this are spread over several messages, which have a limit of bytes."""

_ROLES = {
    Role.ROLE_SYSTEM: "system",
    Role.ROLE_USER: "user",
    Role.ROLE_ASSISTANT: "assistant",
    Role.ROLE_TOOL: "user",
}
"""As whose turns they are spelled."""
_FINISH = {
    None: wire.FINISH_REASON_UNSPECIFIED,
    Finish.STOP: wire.FINISH_REASON_STOP,
    Finish.LENGTH: wire.FINISH_REASON_LENGTH,
    Finish.TOOL_CALL: wire.FINISH_REASON_TOOL_CALL,
}


Fetch = Callable[[Media, str], bytes]
"""The file behind a picture; errors call it by the second."""
AsPart = Callable[[Pixels], Part]
"""A picture as a part of content."""


def ask_from_message(request: GenerateRequest, fetch: Fetch) -> Ask:
    """What is asked for; a field that is out of range is refused by name. Pictures are not fetched yet."""
    calls = tool_calls_from_message(request, _output_format(request.output_format))
    return Ask(
        model=request.model,
        input=with_tools(_input(request, fetch), calls.tools) if calls else _input(request, fetch),
        sampling=_sampling(request.sampling),
        num_choices=request.num_choices or 1,
        num_logprobs=request.num_logprobs if request.HasField("num_logprobs") else None,
        echo=request.echo,
        output_format=calls or _output_format(request.output_format),
    )


def piece_to_messages(piece: Piece, as_part: AsPart) -> Iterator[GenerateResponse]:
    """A piece on the wire: one message, or several where it tells very many tokens."""
    if piece.picture is not None:
        yield GenerateResponse(choice=piece.choice, delta=as_part(piece.picture))
        return
    delta = Part(text=piece.text)
    if piece.call is not None:
        call = piece.call
        delta = Part(tool_call=ToolCall(id=call.id, tool=call.tool, arguments_json=call.arguments))
    first = GenerateResponse(choice=piece.choice, delta=delta)
    message = first
    for start in range(0, len(piece.tokens), TOKENS_IN_A_MESSAGE):
        if start:
            yield message
            message = GenerateResponse(choice=piece.choice, delta=Part(text=""))
        for token in piece.tokens[start : start + TOKENS_IN_A_MESSAGE]:
            message.tokens.append(_token(token))
    message.finish_reason = _FINISH[piece.finish]
    yield message


def loaded_to_message(model: LoadedModel, num_active: int) -> wire.LoadedModel:
    """A model in memory on the wire."""
    return wire.LoadedModel(
        name=model.name,
        context_length=model.context_length,
        num_bytes=model.num_bytes,
        num_active=num_active,
        output_modalities=model.output_modalities,
        base=model.base.name if isinstance(model, LoadedAdapter) else "",
    )


def _input(request: GenerateRequest, fetch: Fetch) -> Input:
    match request.WhichOneof("input"):
        case "conversation":
            messages = request.conversation.messages
            turns = [
                _turn(turn, f"conversation.messages[{place}]", fetch) for place, turn in enumerate(messages)
            ]
            return Conversation(tuple(turns))
        case "prompt":
            return PlainText(request.prompt)
        case "tokens":
            return TokenIds(tuple(request.tokens.ids))
    raise InvalidInput("is missing", field="input", fix="send a conversation, a prompt or tokens")


def _turn(message: Message, field: str, fetch: Fetch) -> Turn:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidInput.for_field(
            f"{field}.role",
            Role.Name(message.role) if message.role in Role.values() else message.role,
            "is not supported",
            "send a system, user, assistant or tool role",
        )
    parts = (_part(part, f"{field}.parts[{place}]", fetch) for place, part in enumerate(message.parts))
    return Turn(role, tuple(parts))


def _part(part: Part, field: str, fetch: Fetch) -> str | GivenImage:
    kind = part.WhichOneof("kind")
    if kind == "text":
        return part.text
    if kind == "image":
        name = f"{field}.image"
        return GivenImage(name, partial(fetch, part.image, name))
    if kind == "tool_call":
        return call_from_message(part.tool_call, f"{field}.tool_call")
    if kind == "tool_result":
        return result_from_message(part.tool_result, f"{field}.tool_result")
    if kind is None:
        raise InvalidInput("is empty", field=field, fix="send text or a picture")
    raise InvalidInput("no model reads this", field=f"{field}.{kind}", fix="send text and pictures")


def _sampling(message: wire.Sampling) -> Sampling:
    """Unset fields take the defaults of Sampling."""
    given = {field.name: value for field, value in message.ListFields()}
    given["logit_bias"], given["stop"] = dict(message.logit_bias), tuple(message.stop)
    return Sampling(**given)


def _output_format(message: wire.OutputFormat) -> OutputFormat | None:
    match message.WhichOneof("kind"):
        case "json_schema":
            return JsonSchema(message.json_schema)
        case "json_object" if message.json_object:
            return ANY_OBJECT
        case "regex":
            return Regex(message.regex)
    return None


def _token(token: ToldToken) -> wire.TokenLogprob:
    return wire.TokenLogprob(
        id=token.id,
        text=token.text,
        logprob=token.logprob,
        top=[wire.TopLogprob(id=each.id, text=each.text, logprob=each.logprob) for each in token.top],
        offset=token.offset,
    )
