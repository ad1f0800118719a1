"""What a second instance of an app left is found by the first start that sees it without a holder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cli.edged import until
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import mosquitto, needs_mosquitto, plain


def second(folder: Path, **settings: object) -> Sidecar:
    other = Sidecar(folder, **settings)  # type: ignore[arg-type]
    other.log_path = folder / "second.txt"
    return other


def test_state_of_an_ended_instance_is_adopted_once_and_own_keys_win(tmp_path: Path) -> None:
    with sidecar(tmp_path) as first, contextlib.ExitStack() as up:
        other = second(tmp_path).start()
        up.callback(other.kill)
        first.call("POST", "/v1.0/state/statestore", [{"key": "both", "value": "mine"}])
        other.call("POST", "/v1.0/state/statestore", [{"key": "both", "value": "theirs"}, {"key": "left", "value": 1}])
        other.kill()
        first.stop()

        first.start()
        assert first.call("GET", "/v1.0/state/statestore/left").body == b"1"
        assert first.call("GET", "/v1.0/state/statestore/both").body == b'"mine"'
        assert f"Adopted 0 messages and 1 rows that an instance left in {tmp_path}/data/test.2" in first.log()
        assert not (tmp_path / "data/test.2/edged.db").exists()
        first.call("DELETE", "/v1.0/state/statestore/left")
        first.stop()

        first.start()
        assert first.call("GET", "/v1.0/state/statestore/left").status == 204
        assert first.log().count("Adopted") == 1


@needs_mosquitto
def test_messages_that_waited_for_the_broker_are_sent_by_who_adopts_them(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        resources = {"mq.yaml": component("mq", "pubsub.mqtt3", {"url": broker.url, "consumerID": "{uuid}"})}
        first = Sidecar(tmp_path, resources=resources)
        other = second(tmp_path, resources=resources)
        try:
            first.start()
            other.start()
            for number in range(20):
                assert other.call("POST", "/v1.0/publish/mq/t?metadata.rawPayload=true", str(number).encode()).status == 204
            other.kill()
            first.stop()

            broker.start()
            with plain(broker.port) as client:
                client.subscribe("t")
                first.start()
                until(lambda: len(client.payloads()) >= 20)
                assert sorted(map(int, client.payloads())) == list(range(20))
        finally:
            for each in (first, other):
                if each.process is not None and each.process.poll() is None:
                    each.kill()
