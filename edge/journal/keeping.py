"""How the messages of one component are kept, from its metadata (edge.kinds.JournalFields): limits, topics of their own, rate, dedupe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import orjson

from edge.journal.entry import Limits, Policy
from edge.journal.journal import Journal
from edge.kinds import JournalFields
from edge.model import Message
from edge.record import record
from edge.spec import Duration, Size, meta, parse, specs


@record
class TopicFields:
    """The options of one filter in `journalTopics`."""

    max_messages: int = meta(0, doc="", least=0)
    max_bytes: Size = meta(Size(0), doc="", least=0)
    max_age: Duration = meta(Duration(0), doc="", least=0)
    when_full: str = meta("reject", doc="", choices=tuple(policy.value for policy in Policy))
    every: int = meta(10, doc="", least=1)
    priority: int = meta(0, doc="")


@record
class TopicRule:
    """Limits and priority of the topics that a filter matches."""

    matches: Callable[[str], bool]
    limits: Limits
    priority: int


@record
class Keeping:
    """rate: messages of a backlog per second, 0 = any. dedupe: seconds for which an event is known, 0 = off."""

    limits: Limits = Limits()
    topics: tuple[TopicRule, ...] = ()
    rate: float = 0.0
    dedupe: float = 0.0

    def priority(self, topic: str) -> int:
        """Higher goes first."""
        return next((rule.priority for rule in self.topics if rule.matches(topic)), 0)

    def bind(self, journal: Journal, prefix: str) -> None:
        """The lanes under that prefix are kept so. Costs nothing where nothing was asked for."""
        if self.topics or self.limits != Limits():
            journal.set_limits(prefix, self.limits, [(rule.matches, rule.limits) for rule in self.topics])

    def keys(self, scope: str, messages: tuple[Message, ...]) -> tuple[str, ...]:
        """A key per message by its event's source and id, "" for what is no event; nothing while dedupe is off."""
        if not self.dedupe:
            return ()
        return tuple(f"{scope}|{key}" if (key := event_key(message)) else "" for message in messages)


def keeping(properties: Mapping[str, str]) -> Keeping:
    """From a component's metadata (lower-case names). Raises ValueError with what is wrong."""
    own = {name for spec in specs(JournalFields) for name in spec.names}
    fields, problems = parse(JournalFields, {name: text for name, text in properties.items() if name in own})
    if fields is None:
        raise ValueError("; ".join(problem.message for problem in problems))
    policy = Policy(fields.journal_when_full)
    limits = Limits(fields.journal_max_bytes, fields.journal_max_messages, float(fields.journal_max_age), policy)
    return Keeping(limits, tuple(topic_rules(fields.journal_topics)), fields.journal_rate, float(fields.dedupe))


def topic_rules(text: str) -> Iterator[TopicRule]:
    """From `filter=option:value,…;filter=…`. Raises ValueError."""
    for piece in filter(None, (part.strip() for part in text.split(";"))):
        pattern, _, options = piece.partition("=")
        raw = dict(_option(one, pattern) for one in options.split(",") if one.strip())
        fields, problems = parse(TopicFields, raw)
        if fields is None or problems or not pattern:
            why = "; ".join(problem.message for problem in problems) or "no filter"
            raise ValueError(f"journalTopics: {pattern or piece}: {why}")
        limits = Limits(fields.max_bytes, fields.max_messages, float(fields.max_age), Policy(fields.when_full), fields.every)
        yield TopicRule(matcher(pattern), limits, fields.priority)


def _option(text: str, pattern: str) -> tuple[str, str]:
    name, colon, value = text.strip().partition(":")
    if not colon:
        raise ValueError(f"journalTopics: {pattern}: {text.strip()} has no value; write option:value")
    return name.strip(), value.strip()


def matcher(pattern: str) -> Callable[[str], bool]:
    """An MQTT topic filter (§4.7); a last `*` stands for any rest, for brokers without levels."""
    if pattern.endswith("*"):
        return lambda topic: topic.startswith(pattern[:-1])
    wanted = pattern.split("/")

    def matches(topic: str) -> bool:
        levels = topic.split("/")
        for at, part in enumerate(wanted):
            if part == "#":
                return True
            if at >= len(levels) or part not in ("+", levels[at]):
                return False
        return len(levels) == len(wanted)

    return matches


def event_key(message: Message) -> str:
    """`source|id` of a CloudEvent, "" for what is none."""
    try:
        event = orjson.loads(message.data)
        return f"{event['source']}|{event['id']}"
    except (ValueError, KeyError, TypeError):
        return ""
