"""A subscriber that knows what is to come, and compares it byte for byte at the speed of memory."""

from bisect import bisect_right

from loadtest.clients.connection import Target
from loadtest.clients.subscriber import Subscriber
from protocol.codec import JSON
from protocol.cursor import Position
from protocol.frames import TEXT, encode_frame
from protocol.publication import Data, Publication


class Transcript:
    """What a session is sent of count publications of the same data, a JSON text, in a channel.

    They are the first of the channel. ends are where each delivery ends, behind a 0.
    """

    def __init__(self, channel: str, data: str, count: int) -> None:
        self.channel = channel
        self.last = count
        self.ends = [0]
        value = Data(data.encode())
        frames = []
        for offset in range(1, count + 1):
            message = JSON.encode_message(channel, Publication(offset, value, 0.0))
            frames.append(encode_frame(TEXT, message))
            self.ends.append(self.ends[-1] + len(frames[-1]))
        self.bytes = b"".join(frames)


class Follower(Subscriber):
    """A subscriber who wants all of a transcript.

    Where what arrives is something else, as with a ping in between, it is looked at frame by frame,
    until it is the transcript again.
    """

    __slots__ = ("_at", "_start", "_transcript")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._transcript: Transcript | None = None
        self._start: Position
        self._at: int | None = None  # in the transcript's bytes; None while frames are looked at

    def follow(self, transcript: Transcript, epoch: str) -> None:
        """Subscribe from the start of transcript on, which is of that epoch."""
        self._transcript = transcript
        self.position = self._start = Position(epoch, 0)
        self.subscribe(transcript.channel)

    def take(self, nbytes: int) -> None:
        """Compare what has arrived, or look at its frames."""
        data, transcript = self.view[:nbytes], self._transcript
        if transcript is None:
            self.walk(data)
        elif self._at is not None and transcript.bytes.startswith(data, self._at):
            self._at += nbytes
            self.size_bytes += nbytes
            self._pass(transcript, self._at)
        else:
            self._stray(transcript)
            self.walk(data)
            self._find_place(transcript)

    def _pass(self, transcript: Transcript, at: int) -> None:
        """Take note of the deliveries that end before at."""
        position = self._place
        offset = bisect_right(transcript.ends, at, position.offset) - 1
        if offset > position.offset:
            self.move(Position(position.epoch, offset))
            self.arrive(offset - position.offset)

    def _stray(self, transcript: Transcript) -> None:
        """Look at frames from now on, of the first of which a part may have come already."""
        if self._at is not None:
            end = transcript.ends[self._place.offset]
            self._head = transcript.bytes[end : self._at]
            self._skipped_bytes = max(0, end - self._at)
            self._at = None

    def _find_place(self, transcript: Transcript) -> None:
        """Compare from now on, where what is to come is in the transcript.

        Of the next delivery a part may have come already, or of the last a part be missing.
        """
        epoch, offset = self._place
        end = transcript.ends[min(offset, transcript.last)]
        is_same = epoch == self._start.epoch and transcript.bytes.startswith(self._head, end)
        if is_same and offset < transcript.last:
            self._at = end - self._skipped_bytes + len(self._head)
            self._head, self._skipped_bytes = b"", 0

    @property
    def _place(self) -> Position:
        assert self.position is not None
        return self.position
