"""The page that the signalling server shows at ``/``: open rooms, and how to join one. No script, nothing external."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5"><title>Headwire</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
td, th {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8884 }}
pre {{ background: #8881; padding: .7rem 1rem; overflow-x: auto; border-radius: 6px }}
</style></head><body>
<h1>Headwire</h1><p>A video call in 35 floats a frame. This server introduces senders and receivers to each other;
the call itself goes directly between them, encrypted.</p>
<h2>Rooms</h2>{rooms}
<h2>Join</h2><p>On the side with the camera:</p><pre>headwire send --room {room} --signal {url}{token}</pre>
<p>On the side with the screen, before or after:</p><pre>headwire receive --room {room} --signal {url}{token}</pre>
</body></html>
"""


def render_page(url: str, rooms: Sequence[tuple[str, Sequence[str], float]], names: bool) -> str:
    """rooms: (name, roles present, seconds open). names: show the rooms' names (a server with a secret does not)."""
    waiting = next((name for name, roles, _ in rooms if list(roles) == ["sender"]), "NAME") if names else "NAME"
    token = "" if names else " --token TOKEN"
    return _PAGE.format(rooms=_table(rooms, names), room=escape(waiting), url=escape(url), token=token)


def _table(rooms: Sequence[tuple[str, Sequence[str], float]], names: bool) -> str:
    if not rooms:
        return "<p>No room is open now.</p>"
    if not names:
        return f"<p>{len(rooms)} open. Each needs its token, from whoever runs this server.</p>"
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{_state(roles)}</td><td>{_duration(seconds)}</td></tr>"
        for name, roles, seconds in rooms
    )
    return f"<table><tr><th>room</th><th>state</th><th>open for</th></tr>{lines}</table>"


def _state(roles: Sequence[str]) -> str:
    if len(roles) == 2:
        return "in a call"
    return "sender waits for a receiver" if roles[0] == "sender" else "receiver waits for a sender"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
