"""What misbehaves, when, and for how long: server, network, disks, clocks, descriptors, kill -9."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.keepers import Keeper
from tests.chaos.scene import Actor, Scene

Fault = dict[str, Any]
CONTENTS = "/contents/$"
# None that is kept: a server that asks for an hour gets it, and the storm would end before that.
_ODD_DATES = (
    "Thu, 32 Foo 2026 25:61:61 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "-5",
    "1e400",
    "soon",
    "",
)


class Weather(Actor):
    """One or two misbehaviours for some seconds, then others; now and then none."""

    name = "weather"

    def __init__(self, scene: Scene, mounts: tuple[Keeper, ...], sync: Keeper) -> None:
        super().__init__(scene)
        self._mounts, self._sync = mounts, sync
        servers: Mapping[str, Callable[[], list[Fault]]] = {
            "latency": self._latency,
            "bandwidth": self._bandwidth,
            "cut": self._cut,
            "short": self._short,
            "ignore-range": self._ignore_range,
            "content-range": self._content_range,
            "corrupt": self._corrupt,
            "throttled": self._throttled,
            "server error": self._server_error,
            "no such": self._no_such,
            "unauthorized": self._unauthorized,
            "lost create": self._lost_create,
            "lost submit": self._lost_submit,
            "lag": self._lag,
            "hang": self._hang,
        }
        others: Mapping[str, Callable[[], None]] = {
            "cut connections": scene.network.cut,
            "silent network": lambda: scene.network.set_mode("silent"),
            "refused connections": lambda: scene.network.set_mode("refuse"),
            "full cache": lambda: scene.ground.cache.fill(self.chance.choice([0, 8192, 3_000_000])),
            "full state": lambda: scene.ground.state.fill(self.chance.choice([0, 8192, 100_000])),
            "full sync folder": lambda: self._fill_sync(),
            "flipped bits": self._flip,
            "wrong clock": self._wrong_clock,
            "kill mount": lambda: self.chance.choice(self._mounts).kill(),
            "end mount": lambda: self._end(self.chance.choice(self._mounts)),
            "kill sync": lambda: self._sync.kill(),
            "end sync": lambda: self._end(self._sync),
            "kill server": self._kill_server,
        }
        kills = ("kill mount", "end mount", "kill sync", "end sync", "kill server")
        wanted = scene.plan.weathers
        self._servers = {name: act for name, act in servers.items() if not wanted or name in wanted}
        self._others = {
            name: act
            for name, act in others.items()
            if (not wanted or name in wanted) and (scene.plan.kills or name not in kills)
        }
        self.synced_disk: Any = None
        self.may_kill = True  # towards the end the processes are let live, so that leaks can be seen

    def act(self) -> None:
        """Some seconds of it."""
        if self.scene.plan.calm:
            self.scene.stop.wait(1)
            return
        faults: list[Fault] = []
        for name in self._chosen(self._servers, self.chance.choice([0, 1, 1, 2])):
            faults += self._servers[name]()
            self.scene.logbook.blew(name)
        self.scene.server.faults(faults)
        for name in self._chosen(self._others, self.chance.choice([0, 1, 1])):
            if self.may_kill or not name.startswith(("kill", "end")):
                self._others[name]()
                self.scene.logbook.blew(name)
        # Most end before the programs' patience does (8 s), some do not.
        is_long = self.chance.random() < 0.2
        self.scene.stop.wait(self.chance.uniform(9, 20) if is_long else self.chance.uniform(1.5, 7))
        self._clear_others()

    def heal(self) -> None:
        """Everything is well from now on."""
        self._clear_others()
        self.scene.server.faults([])

    def _chosen(self, among: Mapping[str, Any], count: int) -> list[str]:
        return self.chance.sample(sorted(among), min(count, len(among)))

    def _clear_others(self) -> None:
        self.scene.network.set_mode("pass")
        self.scene.ground.cache.empty()
        self.scene.ground.state.empty()
        if self.synced_disk is not None:
            self.synced_disk.empty()
        self.scene.ground.clock.write_text("0")

    # --- the server

    def _latency(self) -> list[Fault]:
        return [_always({"kind": "latency", "seconds": self.chance.uniform(0.02, 1.5)})]

    def _bandwidth(self) -> list[Fault]:
        rate = self.chance.choice([150_000, 500_000, 2_000_000])
        return [_always({"kind": "bandwidth", "bytes_per_second": rate}, CONTENTS)]

    def _cut(self) -> list[Fault]:
        return [_some(self, {"kind": "cut", "after": self.chance.randrange(600_000)}, CONTENTS)]

    def _short(self) -> list[Fault]:
        return [_some(self, {"kind": "short", "by": self.chance.randrange(1, 5000)}, CONTENTS)]

    def _ignore_range(self) -> list[Fault]:
        return [_some(self, {"kind": "ignore-range"}, CONTENTS)]

    def _content_range(self) -> list[Fault]:
        shift = self.chance.choice([1, -1, 4096, 1 << 20])
        return [_some(self, {"kind": "wrong-content-range", "shift": shift}, CONTENTS)]

    def _corrupt(self) -> list[Fault]:
        faults = []
        files = [file for job in self.scene.jobs.values() for file in job.outputs if file.size]
        for file in self.chance.sample(files, min(4, len(files))):
            self.scene.spoiled.add(file.id)  # before it is so
            at = self.chance.randrange(file.size)
            faults.append(_some(self, {"kind": "corrupt", "at": at}, f"/files/{file.id}/contents/"))
        return faults

    def _throttled(self) -> list[Fault]:
        after = self.chance.choice([0.2, 1, 3, self.chance.choice(_ODD_DATES)])
        return [_some(self, {"kind": "status", "status": 429, "retry_after": after})]

    def _server_error(self) -> list[Fault]:
        status = self.chance.choice([500, 502, 503, 504])
        return [_some(self, {"kind": "status", "status": status, "html": self.chance.random() < 0.5})]

    def _no_such(self) -> list[Fault]:
        path = self.chance.choice([CONTENTS, r"/jobs/\w+/$", "/statuses/", "/files/$", "/runs/"])
        return [{**_some(self, {"kind": "status", "status": 404}, path), "times": 1, "method": "GET"}]

    def _unauthorized(self) -> list[Fault]:
        status = self.chance.choice([401, 403])
        return [{**_some(self, {"kind": "status", "status": status}), "times": self.chance.choice([1, 2])}]

    def _lost_create(self) -> list[Fault]:
        return [{**self._lost(), "method": "POST", "path": "/jobs/$", "times": self.chance.choice([1, 2])}]

    def _lost_submit(self) -> list[Fault]:
        return [{**self._lost(), "method": "POST", "path": "/submit/$", "times": self.chance.choice([1, 2])}]

    def _lost(self) -> Fault:
        acted = self.chance.random() < 0.8
        effects: list[Fault] = [
            {"kind": "drop", "acted": acted},
            {"kind": "status", "status": self.chance.choice([500, 502, 504]), "acted": acted},
        ]
        return {"effect": self.chance.choice(effects)}

    def _lag(self) -> list[Fault]:
        seconds = self.chance.uniform(0.5, 8)
        return [{**_always({"kind": "lag", "seconds": seconds}, "/jobs/"), "method": "GET"}]

    def _hang(self) -> list[Fault]:
        return [_some(self, {"kind": "hang"})]

    # --- the rest

    def _fill_sync(self) -> None:
        if self.synced_disk is not None:
            self.synced_disk.fill(self.chance.choice([0, 8192, 1_000_000]))

    def _flip(self) -> None:
        """Change a bit of some cached files, as a bad disk does; those that are open stay as they were."""
        for path in self.chance.sample(found := _cached(self.scene.ground.cache.path), min(5, len(found))):
            with contextlib.suppress(OSError):  # no room, or evicted meanwhile
                data = bytearray(path.read_bytes())
                data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
                fresh = path.with_suffix(".flipped")
                fresh.write_bytes(data)
                fresh.replace(path)

    @staticmethod
    def _end(keeper: Keeper) -> None:
        keeper.end()

    def _wrong_clock(self) -> None:
        shift = self.chance.choice([3600, -3600, 86_400, -86_400, 400 * 86_400, -400 * 86_400])
        self.scene.ground.clock.write_text(str(shift))

    def _kill_server(self) -> None:
        self.scene.server.kill()
        self.scene.stop.wait(self.chance.uniform(0, 3))
        self.scene.server.start()


def _cached(cache: Path) -> list[Path]:
    """Blocks, records and listings; not the index of the blocks, which tells where they are."""
    return sorted(path for path in cache.glob("rescalefs/*/*/**/*") if path.suffix in (".val", ".answer"))


def _always(effect: Fault, path: str = "") -> Fault:
    return {"effect": effect, "path": path, "times": None}


def _some(weather: Weather, effect: Fault, path: str = "") -> Fault:
    """A few requests of those that fit, and at times all."""
    times = weather.chance.choice([1, 1, 2, 5, None])
    return {"effect": effect, "path": path, "times": times, "skip": weather.chance.choice([0, 0, 1, 3])}
