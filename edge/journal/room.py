"""Who may put what: limits over lanes, and the policy that makes room or refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from edge.errors import Full
from edge.journal import rows
from edge.journal.bounds import UNBOUND, Bound
from edge.journal.entry import Limits, Policy
from edge.journal.lane import Lane
from edge.journal.outgoing import Clear, Put

log = logging.getLogger("edged.journal")
SHARE_UNTHINNED = 0.5
LEAST_EXPIRY, MOST_EXPIRY = 0.5, 60.0


class Room:
    """The bounds of a journal. lanes: those of the journal, by name."""

    def __init__(self, lanes: Mapping[str, Lane]) -> None:
        self._lanes = lanes
        self._bounds: list[tuple[str, Bound]] = []
        self._bound: dict[str, object] = {}

    def bind(self, prefix: str, limits: Limits, topics: Sequence[tuple[Callable[[str], bool], Limits]]) -> None:
        """See `Journal.set_limits`."""
        wanted = (limits, tuple(topics))
        if self._bound.get(prefix) == wanted:
            return
        self._bound[prefix] = wanted
        self._bounds = [one for one in self._bounds if one[0] != prefix]
        self._bounds += [(prefix, Bound(own, _covers(prefix, applies))) for applies, own in topics]
        self._bounds.append((prefix, Bound(limits, _covers(prefix, None))))
        for _, bound in self._bounds:
            bound.entries = bound.size_bytes = 0
        for lane in self._lanes.values():
            lane.bound = self.bound_of(lane.name)
            if lane.bound is not UNBOUND:
                lane.bound.add(lane.stats.pending, lane.stats.pending_bytes)

    def bound_of(self, name: str) -> Bound:
        """The bound of a lane: that of the first topic filter that matches, else the component's."""
        return next((bound for _, bound in self._bounds if bound.applies(name)), UNBOUND)

    def expire_every(self) -> float:
        """Seconds between two looks for what is too old."""
        shortest = min((bound.limits.max_age for _, bound in self._bounds if bound.limits.max_age), default=MOST_EXPIRY)
        return min(MOST_EXPIRY, max(LEAST_EXPIRY, shortest / 4))

    def admit(self, lane: Lane, put: Put) -> None:
        """Make room by the policy, or count the put as dropped. Raises Full. Ends with `settle`."""
        bound = lane.bound
        if not bound.limited:
            return
        size = sum(rows.size_of(message) for _, message in put.puts)
        self._fit(lane, bound, put, size)
        if not put.thinned:
            put.reserved = (bound, len(put.puts), size)
            bound.add(len(put.puts), size)

    def settle(self, put: Put) -> None:
        """The put is written or has failed."""
        if put.reserved is not None:
            bound, entries, size = put.reserved
            bound.entries = max(0, bound.entries - entries)
            bound.size_bytes = max(0, bound.size_bytes - size)
            put.reserved = None

    def _fit(self, lane: Lane, bound: Bound, put: Put, size: int) -> None:
        policy, count = bound.limits.policy, len(put.puts)
        if policy is Policy.KEEP_LAST:
            put.clear.append(Clear(lane.name, -1, 0, frozenset(lane.outstanding), "replaced"))
            return
        if policy is Policy.DOWNSAMPLE and not bound.room_for(count, size, SHARE_UNTHINNED) and bound.thins():
            put.thinned = "downsampled"
            return
        if bound.room_for(count, size):
            return
        self._tell(bound, lane)
        if policy is Policy.DROP_NEWEST:
            put.thinned = "full"
        elif policy is Policy.REJECT or not self._clear(lane, bound, put, size):
            what = f"{bound.entries} messages, {bound.size_bytes} bytes"
            raise Full(f"the journal of {lane.name} is full ({what}); the broker or the app has to take some first, or raise the limit")

    def _clear(self, lane: Lane, bound: Bound, put: Put, size: int) -> bool:
        """Order that the oldest of the lane goes, or of the longest lane where this one has too little; False: nothing can go."""
        entries, more = bound.excess(len(put.puts), size)
        donors = [one for one in (lane, self._longest(bound)) if one is not None]
        for one in donors:
            idle = one.stats.pending - len(one.outstanding)
            if idle >= max(entries, 1) and one.stats.pending_bytes >= more:
                put.clear.append(Clear(one.name, entries, more, frozenset(one.outstanding), "full"))
                return True
        return False

    def _longest(self, bound: Bound) -> Lane | None:
        mine = [lane for lane in self._lanes.values() if lane.bound is bound]
        return max(mine, key=lambda lane: lane.stats.pending_bytes, default=None)

    @staticmethod
    def _tell(bound: Bound, lane: Lane) -> None:
        """Once until there is room again."""
        if not bound.told:
            bound.told = True
            log.warning("the journal of %s is full: policy %s applies", lane.name, bound.limits.policy.value)


def _covers(prefix: str, applies: Callable[[str], bool] | None) -> Callable[[str], bool]:
    """Lanes of that prefix, whose rest fits."""
    if applies is None:
        return lambda name: name.startswith(prefix)
    return lambda name: name.startswith(prefix) and applies(name[len(prefix) :])
