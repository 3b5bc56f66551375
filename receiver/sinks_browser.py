"""A page in the browser of this machine: JPEG pictures over a WebSocket, from a small server in its own thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import html
import logging
import threading
from typing import Any

import numpy as np

from codec.errors import HeadwireError, UsageError
from codec.parameters import Picture
from receiver.sinks import Sink, with_badge

log = logging.getLogger(__name__)

DEFAULT_PORT = 8765
HOST = "127.0.0.1"
JPEG_QUALITY = 92
OPEN_S = 10.0

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>
html,body{{height:100%;margin:0;background:#111;color:#bbb;font:15px system-ui,sans-serif}}
main{{height:100%;display:flex;flex-direction:column;align-items:center;justify-content:center;gap:12px}}
canvas{{width:min(90vw,82vh);height:min(90vw,82vh);background:#000;border-radius:8px}}
</style></head><body><main>
<canvas id="picture" width="256" height="256"></canvas><div id="state">waiting for a picture</div>
</main><script>
const canvas=document.getElementById("picture"),state=document.getElementById("state");
let shown=0;
setInterval(()=>{{if(shown)state.textContent=shown+" pictures a second";shown=0}},1000);
function open(){{
  const socket=new WebSocket("ws://"+location.host+"/pictures");
  socket.binaryType="blob";
  socket.onmessage=async event=>{{
    const picture=await createImageBitmap(event.data);
    canvas.width=picture.width;canvas.height=picture.height;
    canvas.getContext("2d").drawImage(picture,0,0);picture.close();shown++;
    socket.send("next");
  }};
  socket.onclose=()=>{{state.textContent="the call has ended";setTimeout(open,1000)}};
}}
open();
</script></body></html>
"""


class BrowserSink(Sink):
    """Each page is sent the newest picture when it has drawn the last one: a slow page skips pictures."""

    live = True

    def __init__(self, port: int, title: str) -> None:
        """Port 0 takes a free one; ``url`` says which. Raises UsageError when the port is taken."""
        self._title = title
        self._loop = asyncio.new_event_loop()
        self._newest: Picture | None = None
        self._number = 0
        self._encoded: tuple[int, bytes] = (0, b"")
        self._changed = asyncio.Event()
        self._pages: set[asyncio.Task[None]] = set()
        self._runner: Any = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="browser", daemon=True)
        self._thread.start()
        try:
            port = asyncio.run_coroutine_threadsafe(self._start(port), self._loop).result(OPEN_S)
        except OSError as error:
            self.close()
            reason = "is taken" if error.errno == errno.EADDRINUSE else "cannot be used"
            raise UsageError(f"port {port} {reason}: choose another with --sink browser:PORT") from error
        except concurrent.futures.TimeoutError as error:
            self.close()
            raise HeadwireError("the viewer page could not be started in time: try again") from error
        self.url = f"http://{HOST}:{port}/"
        log.info("watch the call at %s", self.url)

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        copy = np.array(with_badge(picture, badge))
        if not self._closed:
            self._loop.call_soon_threadsafe(self._take, copy)

    def close(self, keep: bool = True) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(concurrent.futures.TimeoutError):
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._loop.is_running():
            self._loop.close()

    def _take(self, picture: Picture) -> None:
        self._newest = picture
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def _start(self, port: int) -> int:
        from aiohttp import web

        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_get("/pictures", self._pictures)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _finish(self) -> None:
        self._changed.set()
        for task in self._pages:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, request: Any) -> Any:
        from aiohttp import web

        return web.Response(text=PAGE.format(title=html.escape(self._title)), content_type="text/html")

    async def _pictures(self, request: Any) -> Any:
        from aiohttp import web

        if (origin := request.headers.get("Origin")) and origin.split("://")[-1] != request.host:
            raise web.HTTPForbidden(text="this page belongs to another site")
        socket = web.WebSocketResponse(timeout=0.5, heartbeat=10.0, max_msg_size=64)
        await socket.prepare(request)
        drawn = asyncio.Event()
        drawn.set()

        async def listen() -> None:
            async for _ in socket:
                drawn.set()

        async def speak() -> None:
            sent = 0
            while not self._closed:
                await drawn.wait()
                changed = self._changed
                if self._number == sent:
                    await changed.wait()
                    continue
                sent = self._number
                drawn.clear()
                await socket.send_bytes(self._jpeg())

        tasks = [asyncio.create_task(listen()), asyncio.create_task(speak())]
        self._pages.update(tasks)
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        self._pages.difference_update(tasks)
        for task in done:
            if not task.cancelled() and isinstance(task.exception(), ConnectionError):
                log.debug("a page went away: %s", task.exception())
        await socket.close()
        return socket

    def _jpeg(self) -> bytes:
        """The newest picture, coded once for all pages (0.4 ms)."""
        import cv2

        if self._encoded[0] != self._number and self._newest is not None:
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            _, data = cv2.imencode(".jpg", cv2.cvtColor(self._newest, cv2.COLOR_RGB2BGR), quality)
            self._encoded = (self._number, data.tobytes())
        return self._encoded[1]
