"""What one client, and all clients together, may take of the server at a time: requests, bytes, memory for pictures."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections import deque
from collections.abc import Iterator

from PIL import Image

from facellm.server.refusals import Refusal
from facellm.vision.images import MAX_PIXELS

MAX_REQUESTS = 64  # admitted at once; each waits for the model in a thread of its own
MAX_OF_CLIENT = 48  # of them, so that there is room for others
BODY_BYTES = 256 * 2**20  # of all bodies that are held; a body takes about three times its bytes until it is answered
BODY_BYTES_OF_CLIENT = BODY_BYTES // 2
DECODE_BYTES = 3 * 2**29  # of pictures that are decoded at once: two of the largest, or many small ones
PIXEL_BYTES = 13  # of a picture while it is opened: RGBA, a copy of it, RGB on white (4 bytes in Pillow), and alpha
MINUTE = 60.0  # seconds


class Clients:
    """Counts what each client has under way. For the event loop alone, so it has no lock.

    Attributes:
        active: Requests that are admitted.
    """

    def __init__(self, rate: int = 0) -> None:
        """Starts with nobody.

        Args:
            rate: Requests of one client a minute at most; 0 counts none.
        """
        self.active = 0
        self._rate = rate
        self._held = 0  # bytes of all bodies
        self._requests: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._times: dict[str, deque[float]] = {}

    @contextlib.contextmanager
    def admitted(self, client: str) -> Iterator[Admission]:
        """Admits a request for the length of the block.

        Args:
            client: Tells clients apart: an address.

        Raises:
            Refusal: 429 where this client has too many requests, 503 where all together have.
        """
        self._check_rate(client)
        if self._requests.get(client, 0) >= MAX_OF_CLIENT:
            sentence = f"{MAX_OF_CLIENT} of your requests are under way; wait for one of them."
            raise Refusal(sentence, status=429, kind="rate_limit_error", code="rate_limit_exceeded")
        self.check_ready()
        self.active += 1
        self._requests[client] = self._requests.get(client, 0) + 1
        admission = Admission(self, client)
        try:
            yield admission
        finally:
            self.active -= 1
            self._add(self._requests, client, -1)
            self._held -= admission.held
            self._add(self._bytes, client, -admission.held)

    def check_ready(self) -> None:
        """Raises Refusal (503) where nobody would be admitted now."""
        if self.active >= MAX_REQUESTS:
            sentence = f"{MAX_REQUESTS} requests are under way; try again in a moment."
            raise Refusal(sentence, status=503, kind="server_error")

    def hold(self, client: str, count: int) -> None:
        """Counts bytes of a body that are held from now on.  Raises Refusal (429 or 503) where they are too many."""
        if self._bytes.get(client, 0) + count > BODY_BYTES_OF_CLIENT:
            sentence = f"Your requests hold {BODY_BYTES_OF_CLIENT // 2**20} MB; wait for one of them."
            raise Refusal(sentence, status=429, kind="rate_limit_error", code="rate_limit_exceeded")
        if self._held + count > BODY_BYTES:
            sentence = f"The server holds {BODY_BYTES // 2**20} MB of requests; try again in a moment."
            raise Refusal(sentence, status=503, kind="server_error")
        self._held += count
        self._add(self._bytes, client, count)

    def _check_rate(self, client: str) -> None:
        if not self._rate:
            return
        now = time.monotonic()
        times = self._times.setdefault(client, deque())
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= self._rate:
            wait = max(1, round(times[0] + MINUTE - now))
            sentence = f"You have asked {self._rate} times within a minute; wait {wait} s."
            raise Refusal(sentence, status=429, kind="rate_limit_error", code="rate_limit_exceeded", wait=wait)
        times.append(now)
        for other in [c for c, t in self._times.items() if not t or t[-1] <= now - MINUTE]:
            del self._times[other]

    @staticmethod
    def _add(counts: dict[str, int], client: str, change: int) -> None:
        """A count of none is forgotten, so that the addresses of the world leave nothing behind."""
        counts[client] = counts.get(client, 0) + change
        if counts[client] <= 0:
            del counts[client]


class Admission:
    """One request that was admitted.

    Attributes:
        held: Bytes of its body.
    """

    def __init__(self, clients: Clients, client: str) -> None:
        self._clients, self._client = clients, client
        self.held = 0

    def hold(self, count: int) -> None:
        """Counts further bytes of its body.  Raises Refusal."""
        self._clients.hold(self._client, count)
        self.held += count


class Decoding:
    """Memory for pictures that threads decode: who finds none left waits for the others, first come, first served."""

    def __init__(self, budget: int = DECODE_BYTES) -> None:
        self._budget, self._free = budget, budget
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def room_for(self, file: bytes) -> Iterator[None]:
        """Holds the memory that decoding a picture's file may take, for the length of the block."""
        need = min(self._budget, picture_bytes(file))
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._free >= need)
            self._queue.popleft()
            self._free -= need
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += need
                self._changed.notify_all()


def picture_bytes(file: bytes) -> int:
    """Returns the bytes that decoding a picture may take, by its header; nothing is decoded.

    A picture that says nothing here (HEIC; a damaged one) counts as the largest that is decoded, and so does one beyond
    that: it is refused, or decoded at a fraction of its size.
    """
    try:
        with Image.open(io.BytesIO(file), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
            pixels = image.width * image.height
    except Exception:  # Pillow's readers raise anything at hostile bytes
        pixels = MAX_PIXELS
    return min(pixels, MAX_PIXELS) * PIXEL_BYTES
