"""What a browser and the gateway compress for one another."""

import pytest

from gateway.transports.encoders import DeflatingEncoder

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_long_messages_travel_compressed_to_a_browser_and_from_it(open_console, gateway):
    console = await open_console("websocket", "news")
    (session,) = gateway.node.hub.sessions
    assert isinstance(session.encode, DeflatingEncoder)
    texts = [f"{number} {'lorem ipsum ' * 100}end" for number in range(3)]
    await console.post("news", *texts)
    await console.shows(*texts)
    await console.drop()
    await console.post("news", "short", texts[0])
    await console.interrupt.click()
    await console.shows(*texts, "short", texts[0])
    await console.publish(f'"{texts[1]}"')
    await console.shows(*texts, "short", *texts[:2])
