"""What goes to a broker whose library is all coroutines: confirmed or sent again, in order."""

from __future__ import annotations

import asyncio

from components.pubsub._outgoing import Outgoing
from edge.model import Message
from edge.tasks import Tasks
from tests.harness_mqtt import until


async def test_what_a_lost_connection_did_not_confirm_is_sent_again_in_order() -> None:
    sent: list[int] = []
    confirmed: list[asyncio.Future[None]] = []

    async def start(message: Message) -> asyncio.Future[None]:
        sent.append(int(message.data))
        confirmed.append(asyncio.get_running_loop().create_future())
        return confirmed[-1]

    async with Tasks("test") as tasks:
        out = Outgoing("bus", start)
        out.run(tasks)
        out.up()
        publishing = [out.send(Message("t", b"%d" % number)) for number in range(4)]
        await until(lambda: len(sent) == 4)
        confirmed[0].set_result(None)
        await publishing[0]

        out.down("the connection is broken")
        answered = [future.done() for future in publishing]
        out.up()
        await until(lambda: len(sent) == 7)
        for future in confirmed[4:]:
            future.set_result(None)
        await asyncio.gather(*publishing)
        out.close()

    assert answered == [True, False, False, False]
    assert sent == [0, 1, 2, 3, 1, 2, 3]
