"""Region descriptions as written on a command line: ``size=1G,align=2M,provider=hmem``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daxemu.errors import UsageError

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.region import DaxRegion

__all__ = ["RegionSpec"]


class RegionSpec(NamedTuple):
    """A region to be made. The defaults are those of a test's device: 64 MiB, if neither size nor raw is given."""

    size: str = ""
    align: str = "2M"
    provider: str = "pmem"
    backend: str = ""
    start: str = ""
    driver: str = "device_dax"
    reserve: str = "no"
    target_node: str = "0"
    numa_node: str = "0"
    raw: str = ""
    persistence: str = "memory_controller"

    @classmethod
    def parse(cls, text: str) -> RegionSpec:
        """Read ``key=value,…``. Raises UsageError naming the keys there are."""
        values: dict[str, str] = {}
        for item in filter(None, text.split(",")):
            key, equals, value = item.partition("=")
            if not equals or key not in cls._fields:
                raise UsageError(f"region {text!r}: {item!r} is not key=value with a key of {', '.join(cls._fields)}")
            if key in values:
                raise UsageError(f"region {text!r}: {key} is given twice")
            values[key] = value
        if values.get("reserve", "no") not in ("yes", "no"):
            raise UsageError(f"region {text!r}: reserve is yes or no")
        return cls(**values)

    def add_to(self, engine: Engine) -> DaxRegion:
        """Make the region in an engine, with its device. Raises as ``Engine.add_region``."""
        return engine.add_region(
            self.size or (None if self.raw else "64M"),
            raw=self.raw or None,
            align=self.align,
            provider=self.provider,
            backend=self.backend or None,
            start=self.start or None,
            driver=self.driver,
            idle=False,
            target_node=self.target_node,
            numa_node=self.numa_node,
            reserve=self.reserve == "yes",
            persistence=self.persistence,
        )
