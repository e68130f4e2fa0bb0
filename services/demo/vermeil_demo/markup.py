"""Small pieces of HTML that pages share; whatever comes from outside is escaped here."""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Literal

Tone = Literal["empty", "error", "busy"]
_ROLES = {"empty": "note", "error": "alert", "busy": "status"}


def escaped(text: object) -> str:
    """A text as it may stand in HTML, in attributes too."""
    return html.escape(str(text))


def notice(title: str, text: str = "", commands: Sequence[str] = (), *, tone: Tone = "empty") -> str:
    """A box that says what is missing or wrong, and the commands that mend it."""
    lines = "".join(f"<code>{escaped(command)}</code>" for command in commands)
    body = f"<p>{escaped(text)}</p>" if text else ""
    return (
        f'<div class="vermeil-notice {tone}" role="{_ROLES[tone]}"><strong>{escaped(title)}</strong>'
        f"{body}{lines}</div>"
    )


def caption(words: str) -> str:
    """A line under something that changes, read out when it does."""
    return f'<p class="vermeil-caption" role="status">{escaped(words)}</p>' if words else ""


def data_url(png: bytes) -> str:
    """A PNG file that travels inside the page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names and what they are, without those that are empty."""
    shown = "".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>"
        for name, value in rows
        if value not in ("", None)
    )
    return f'<dl class="vermeil-facts">{shown}</dl>'


def bar(done: float, label: str) -> str:
    """How far something is, 0 to 1."""
    percent = round(100 * done)
    return (
        f'<div class="vermeil-bar" role="progressbar" aria-label="{escaped(label)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}"><span style="width:{percent}%"></span></div>'
    )


def chip(text: str, tone: str = "") -> str:
    """A word in a pill beside a title; its tone is its class in the style sheet."""
    return f'<span class="vermeil-chip {escaped(tone)}">{escaped(text)}</span>'


def tiles(rows: Iterable[tuple[str, object]]) -> str:
    """A few large numbers, without those that are empty."""
    shown = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in rows
        if value not in ("", None)
    )
    return f'<dl class="vermeil-tiles">{shown}</dl>'


def card(title: str, body: str, *, beside: str = "") -> str:
    """A titled box; what stands beside the title is HTML."""
    return f'<section class="vermeil-card"><h2>{escaped(title)} {beside}</h2>{body}</section>'


def folded(title: str, body: str) -> str:
    """A box that opens on request."""
    return f'<details class="vermeil-card"><summary>{escaped(title)}</summary>{body}</details>'


def figure(value: float) -> str:
    """A number as people read it."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
