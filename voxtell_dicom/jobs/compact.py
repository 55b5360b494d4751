"""A volume as a job stores it: its frames refer to the instances of its series version, which is stored once."""

from __future__ import annotations

from typing import Any

_SAME = ("sop_instance_uid", "sop_class_uid", "path")  # of Frame and Instance


def pack(volume: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a volume, with the place of its instance in place of what a frame shares with it."""
    places = {tuple(each[name] for name in _SAME): place for place, each in enumerate(series["instances"])}

    def packed(frame: dict[str, Any]) -> dict[str, Any]:
        place = places.get(tuple(frame[name] for name in _SAME))
        if place is None:
            return frame
        return {"instance": place, **{name: value for name, value in frame.items() if name not in _SAME}}

    return _with_frames(volume, packed)


def unpack(volume: dict[str, Any], series: dict[str, Any] | None) -> dict[str, Any]:
    """Return the inverse of `pack`; a volume that was stored in full is as it was."""

    def unpacked(frame: dict[str, Any]) -> dict[str, Any]:
        if "instance" not in frame or series is None:
            return frame
        instance = series["instances"][frame["instance"]]
        rest = {name: value for name, value in frame.items() if name != "instance"}
        return {**{name: instance[name] for name in _SAME}, **rest}

    return _with_frames(volume, unpacked)


def _with_frames(volume: dict[str, Any], change: Any) -> dict[str, Any]:
    return {
        **volume,
        "frames": [change(frame) for frame in volume["frames"]],
        "parts": [_with_frames(part, change) for part in volume.get("parts", ())],
    }
