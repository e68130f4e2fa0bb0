"""Talk with a model, in words and pictures."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import gradio as gr

from vermeil_demo.clients import Gateway
from vermeil_demo.conversation import Message, answer
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.skills import TALKS, offered

_HELLO = """### Talk with your model
Write something, or bring a picture. Nothing leaves this machine."""
_LONGEST = 512


def add_chat(page: gr.Blocks, gateway: Gateway) -> None:
    """Put it on a tab of its own."""

    async def reply(
        asked: Mapping[str, object],
        history: Sequence[Message],
        model: str | None,
        tokens: int,
        temperature: float,
    ) -> AsyncGenerator[list[Message], None]:
        dials = {"max_tokens": int(tokens), "temperature": float(temperature)}
        async with aclosing(answer(gateway.streams, asked, history, model or "", **dials)) as looks:
            async for look in looks:
                yield look

    with gr.Tab("Chat", id="chat") as tab:
        missing = gr.HTML(visible=False)
        model = gr.Dropdown([], label="Model", allow_custom_value=True)
        with gr.Accordion("Finer dials", open=False), gr.Row():
            tokens = gr.Slider(8, _LONGEST, 128, step=8, label="Longest answer in tokens", min_width=240)
            temperature = gr.Slider(
                0, 1.5, 0.7, step=0.05, label="Temperature; at 0 always the same", min_width=240
            )
        gr.ChatInterface(
            reply,
            multimodal=True,
            chatbot=gr.Chatbot(
                label="Conversation",
                placeholder=_HELLO,
                height="max(340px, calc(100vh - 480px))",
                layout="bubble",
                buttons=["copy"],
                elem_id="conversation",
            ),
            textbox=gr.MultimodalTextbox(
                placeholder="Say something, or drop a picture here",
                label="Message",
                file_types=["image"],
                file_count="multiple",
                sources=["upload"],
                stop_btn=True,
                elem_id="message",
            ),
            additional_inputs=[model, tokens, temperature],
            examples=_examples(),
            run_examples_on_click=True,
            cache_examples=False,
            analytics_enabled=False,
            api_visibility="private",
            fill_height=False,
        )
    gr.on(
        [tab.select, page.load],
        lambda chosen: offered(gateway.plain, TALKS, chosen),
        model,
        [model, missing],
        show_progress="hidden",
        api_visibility="private",
    )


def _examples() -> list[list[dict[str, object]]]:
    """Something to say, and something to show."""
    examples: list[tuple[str, list[str]]] = [
        ("Return a list of", []),
        ("draw a red circle", []),
        ("", [EXAMPLES[0]]),
        ("", [EXAMPLES[1]]),
        ("how many shapes are there?", [EXAMPLES[2]]),
    ]
    return [[{"text": text, "files": files}] for text, files in examples]
