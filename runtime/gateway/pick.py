"""Which instance gets a request: provisioned before on-demand; least in flight; ties to the most recently used.

The most recently used one, so that when load falls the same instances stay busy and the others become idle, which can
then be taken away. Becoming ready counts as use. Pure, and a few dictionary operations a pick however many instances
there are: they lie on shelves by what they have in flight, each shelf in order of use.
"""

from __future__ import annotations

from typing import Final


class Instance:
    """One instance as its gate sees it. Only the gate and its picker change it."""

    __slots__ = (
        "draining",
        "ejected",
        "in_flight",
        "instance_id",
        "last_finished_s",
        "provisioned",
        "ready_at_s",
        "removed",
        "slots",
    )

    def __init__(self, instance_id: str, *, provisioned: bool, slots: int, ready_at_s: float) -> None:
        self.instance_id: Final = instance_id
        self.provisioned = provisioned
        self.slots = slots
        self.ready_at_s = ready_at_s  # when this gateway learned that it is ready
        self.in_flight = 0
        self.draining = False
        self.ejected = False  # its address did not answer
        self.removed = False
        self.last_finished_s: float | None = None

    @property
    def is_offered(self) -> bool:
        """Whether it may take a request now."""
        return self.in_flight < self.slots and not (self.draining or self.ejected or self.removed)

    @property
    def is_there(self) -> bool:
        """Whether it takes requests, if only later."""
        return not (self.draining or self.ejected or self.removed)


class Picker:
    """The instances that have a free slot."""

    __slots__ = ("_on_demand", "_provisioned")

    def __init__(self) -> None:
        self._provisioned = _Shelves()
        self._on_demand = _Shelves()

    def __len__(self) -> int:
        return self._provisioned.count + self._on_demand.count

    def add(self, instance: Instance) -> None:
        """Put one in that is not inside, as the most recently used of those with as much in flight."""
        self._shelves_of(instance).add(instance)

    def remove(self, instance: Instance) -> None:
        """Take one out, before anything of it changes. One that is not inside stays outside."""
        self._shelves_of(instance).remove(instance)

    def enter(self) -> Instance:
        """The instance whose turn it is has one more in flight. There must be one."""
        return (self._provisioned if self._provisioned.count else self._on_demand).enter()

    def enter_one(self, instance: Instance) -> None:
        """This instance, which is inside, has one more in flight."""
        shelves = self._shelves_of(instance)
        shelves.remove(instance)
        instance.in_flight += 1
        if instance.is_offered:
            shelves.add(instance)

    def offered(self) -> list[Instance]:
        """Those of the kind whose turn it is."""
        return (self._provisioned if self._provisioned.count else self._on_demand).all()

    def leave(self, instance: Instance) -> bool:
        """An instance, inside or not, has one less in flight. Gives whether it is inside now."""
        shelves = self._provisioned if instance.provisioned else self._on_demand
        shelves.remove(instance)
        instance.in_flight -= 1
        if instance.is_offered:
            shelves.add(instance)
            return True
        return False

    def _shelves_of(self, instance: Instance) -> _Shelves:
        return self._provisioned if instance.provisioned else self._on_demand


class _Shelves:
    """Instances of one kind: `_by_in_flight[n]` has those with n in flight, the most recently used last."""

    __slots__ = ("_by_in_flight", "_lowest", "count")

    def __init__(self) -> None:
        self._by_in_flight: list[dict[Instance, None]] = []
        self._lowest = 0  # no shelf below this one has anything on it
        self.count = 0

    def add(self, instance: Instance) -> None:
        level = instance.in_flight
        while len(self._by_in_flight) <= level:
            self._by_in_flight.append({})
        self._by_in_flight[level][instance] = None
        self.count += 1
        if level < self._lowest:
            self._lowest = level

    def remove(self, instance: Instance) -> None:
        level = instance.in_flight
        if level < len(self._by_in_flight) and instance in self._by_in_flight[level]:
            del self._by_in_flight[level][instance]
            self.count -= 1

    def all(self) -> list[Instance]:
        return [instance for shelf in self._by_in_flight for instance in shelf]

    def enter(self) -> Instance:
        shelves, level = self._by_in_flight, self._lowest
        while not shelves[level]:
            level += 1
        self._lowest = level
        instance, _ = shelves[level].popitem()
        level += 1
        instance.in_flight = level
        if level == instance.slots:
            self.count -= 1
        elif level < len(shelves):
            shelves[level][instance] = None
        else:
            shelves.append({instance: None})
        return instance
