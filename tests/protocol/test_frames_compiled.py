"""The compiled form of protocol.frames and protocol.websocket, where installing has made one.

Their other tests are about whichever form is loaded; continuous integration runs them on both.
"""

import os
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import frames, websocket
from protocol.errors import WebSocketError

SOURCES = Path(__file__).parents[2] / "protocol"
NAMES = ["frames", "websocket"]
# Continuous integration runs these tests twice: plain first, then compiled, which it insists on.
if_compiled = pytest.mark.skipif(not frames.IS_COMPILED, reason="the modules are plain Python")


def load_source(name: str) -> ModuleType:
    """Return the module that the source is, whatever form protocol has of it."""
    spec = spec_from_file_location(f"source_of_{name}", SOURCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


source_frames, source_websocket = map(load_source, NAMES)

masked_frames = st.builds(
    source_frames.encode_masked_frame,
    st.sampled_from([0, 1, 2, 9, 10]),
    st.binary(max_size=125) | st.text().map(str.encode).filter(lambda text: len(text) < 126),
    st.binary(min_size=4, max_size=4),
)
wires = st.lists(masked_frames | st.binary(max_size=12), max_size=6).map(b"".join)


def feed(receiver, wire: bytes, cut: int) -> list[object]:
    """Return what comes out of wire in two pieces, errors as what they say."""
    out = [*receiver.feed(wire[:cut]), *receiver.feed(wire[cut:])]
    return [(e.close_code, e.message) if isinstance(e, WebSocketError) else e for e in out]


@pytest.mark.parametrize("name", NAMES)
def test_no_module_is_older_than_its_source(name):
    loaded = Path(find_spec(f"protocol.{name}").origin)
    is_current = loaded.stat().st_mtime >= (SOURCES / f"{name}.py").stat().st_mtime
    assert is_current, f"{name}.py was edited since: python .build/compile.py, or pip install -e ."


def test_both_modules_are_compiled_or_neither_and_in_ci_both():
    origins = [Path(find_spec(f"protocol.{name}").origin) for name in NAMES]
    is_compiled = [origin.suffix != ".py" for origin in origins]
    assert is_compiled == [frames.IS_COMPILED] * 2
    if os.environ.get("GATEWAY_COMPILE") == "1":
        assert frames.IS_COMPILED


def test_the_source_says_that_it_is_not_compiled():
    assert not source_frames.IS_COMPILED


@if_compiled
@given(wires, st.integers(0, 200), st.integers(0, 200), st.booleans())
def test_compiled_frames_come_out_as_those_of_the_source(wire, cut, max_bytes, is_deflating):
    decoders = [
        module.FrameDecoder(max_bytes, is_deflating=is_deflating)
        for module in (frames, source_frames)
    ]
    compiled, plain = (feed(decoder, wire, cut) for decoder in decoders)
    assert compiled == plain


@if_compiled
@given(wires, st.integers(0, 200), st.integers(0, 200))
def test_compiled_messages_come_out_as_those_of_the_source(wire, cut, max_bytes):
    compiled, plain = (
        feed(module.WebSocket(max_message_bytes=max_bytes), wire, cut)
        for module in (websocket, source_websocket)
    )
    assert compiled == plain


@if_compiled
@given(st.binary(max_size=70_000), st.binary(min_size=4, max_size=4))
def test_compiled_masking_and_encoding_are_those_of_the_source(payload, key):
    assert frames.mask(payload, key) == source_frames.mask(payload, key)
    assert frames.encode_frame(2, payload) == source_frames.encode_frame(2, payload)
