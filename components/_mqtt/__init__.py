"""MQTT for pub/sub and bindings: one session per client id, on the event loop, 3.1.1 or 5.

session.py keeps a session over connections (link.py), which control.py opens by paho-mqtt; outbound.py and inbound.py carry the messages.
"""

from components._mqtt.address import Broker, Certificates, parse_url
from components._mqtt.control import Identity
from components._mqtt.session import Session, Settings

__all__ = ["Broker", "Certificates", "Identity", "Session", "Settings", "parse_url"]
