"""Talk with a model, in words and pictures."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import gradio as gr

from vermeil_demo.clients import Gateway
from vermeil_demo.conversation import Message, answer
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.skills import TALKS, offered

_HELLO = """## Talk with your model
It answers in words and pictures. Write something, bring a picture, or begin with one of these.
Nothing leaves this machine."""
_LONGEST = 512
_EXAMPLES: tuple[tuple[str, str, list[str]], ...] = (
    ("Return a list of", "Return a list of", []),
    ("draw a red circle", "draw a red circle", []),
    ("Describe this picture", "", [EXAMPLES[0]]),
    ("Describe this one", "", [EXAMPLES[1]]),
    ("how many shapes are there?", "how many shapes are there?", [EXAMPLES[2]]),
    ("what color is the circle?", "what color is the circle?", [EXAMPLES[3]]),
)
"""What people read, what is said, what is shown."""


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
        with gr.Row(elem_classes="vermeil-dials"):
            model = gr.Dropdown([], label="Model", allow_custom_value=True, min_width=220)
            with gr.Accordion("Finer dials", open=False):
                tokens = gr.Slider(8, _LONGEST, 128, step=8, label="Longest answer in tokens")
                temperature = gr.Slider(0, 1.5, 0.7, step=0.05, label="Temperature; at 0 always the same")
        gr.ChatInterface(
            reply,
            multimodal=True,
            chatbot=gr.Chatbot(
                label="Conversation",
                placeholder=_HELLO,
                show_label=False,
                height="max(380px, calc(100dvh - 372px))",
                layout="bubble",
                buttons=["copy"],
                elem_id="conversation",
            ),
            textbox=gr.MultimodalTextbox(
                placeholder="Write, or drop a picture",
                label="Message",
                file_types=["image"],
                file_count="multiple",
                sources=["upload"],
                stop_btn=True,
                elem_id="message",
            ),
            additional_inputs=[model, tokens, temperature],
            examples=[[{"text": text, "files": files}] for _, text, files in _EXAMPLES],
            example_labels=[label for label, _, _ in _EXAMPLES],
            run_examples_on_click=True,
            cache_examples=False,
            show_progress="hidden",
            analytics_enabled=False,
            api_visibility="private",
        )
    gr.on(
        [tab.select, page.load],
        lambda chosen: offered(gateway.plain, TALKS, chosen),
        model,
        [model, missing],
        show_progress="hidden",
        api_visibility="private",
    )
