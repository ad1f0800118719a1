"""Which sidecars run: what they wrote, trusted only while their lock is held."""

from __future__ import annotations

from pathlib import Path

from edge import instances
from edge.datadir import hold
from edge.instances import Instance


def test_running_shows_what_is_held_and_nothing_else(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as one, hold(tmp_path, "b") as two:
        instances.write(one.path, [Instance("a", 1, http_port=3500), Instance("a2", 1)])
        instances.write(two.path, [Instance("b", 2)])

        found = {each.app_id: each for each in instances.running(tmp_path)}
    assert set(found) == {"a", "a2", "b"} and found["a"].http_port == 3500 and found["a"].data_dir == str(tmp_path / "a")

    assert list(instances.running(tmp_path)) == []


def test_find_gives_the_instance_of_an_app_or_none(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as one:
        instances.write(one.path, [Instance("a", 1)])

        assert instances.find(tmp_path, "a") == Instance("a", 1, data_dir=str(one.path))
        assert instances.find(tmp_path, "b") is None


def test_a_damaged_file_and_keys_of_another_version_are_passed_over(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as one, hold(tmp_path, "b") as two:
        (one.path / instances.FILE).write_text("{")
        (two.path / instances.FILE).write_text('[{"app_id": "b", "pid": 2, "from_the_future": true}]')

        assert [each.app_id for each in instances.running(tmp_path)] == ["b"]


def test_remove_takes_it_back(tmp_path: Path) -> None:
    with hold(tmp_path, "a") as one:
        instances.write(one.path, [Instance("a", 1)])
        instances.remove(one.path)
        instances.remove(one.path)

        assert list(instances.running(tmp_path)) == []
