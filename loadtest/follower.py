"""A subscriber that knows what is to come, and compares it byte for byte at the speed of memory."""

from bisect import bisect_right

from loadtest.connection import Target
from loadtest.subscriber import Subscriber
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

    Where what arrives is something else, as with a ping in between, it is looked at frame by frame
    up to where one ends with what has arrived.
    """

    __slots__ = ("_at", "_start", "_transcript")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._transcript: Transcript
        self._start: Position
        self._at: int | None = (
            None  # where it is in the transcript; None where frames are looked at
        )

    def follow(self, transcript: Transcript, epoch: str) -> None:
        """Subscribe from the start of transcript on, which is of that epoch."""
        self._transcript = transcript
        self.position = self._start = Position(epoch, 0)
        self.subscribe(transcript.channel)

    def take(self, nbytes: int) -> None:
        """Compare what has arrived, or look at its frames."""
        data = self.view[:nbytes]
        if self._at is None:
            self.walk(data)
        elif self._transcript.bytes.startswith(data, self._at):
            self._at += nbytes
            self.size_bytes += nbytes
            self._pass(self._at)
            return
        else:
            self._stray(data)
        if self.is_between:
            self._find_place()

    def _pass(self, at: int) -> None:
        """Take note of the deliveries that end before at."""
        position = self._place
        offset = bisect_right(self._transcript.ends, at, position.offset) - 1
        if offset > position.offset:
            self.move(Position(position.epoch, offset))
            self.arrive(offset - position.offset)

    def _stray(self, data: memoryview) -> None:
        """Look at the frames in data, of the first of which a part may have come already."""
        begun = self._transcript.bytes[self._transcript.ends[self._place.offset] : self._at]
        self._at = None
        self.size_bytes -= len(begun)
        self.walk(memoryview(begun))
        self.walk(data)

    def _find_place(self) -> None:
        """Compare from now on, where the next delivery is one of the transcript."""
        epoch, offset = self._place
        if epoch == self._start.epoch and offset < self._transcript.last:
            self._at = self._transcript.ends[offset]

    @property
    def _place(self) -> Position:
        assert self.position is not None
        return self.position
