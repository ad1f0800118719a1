"""A descriptor pool of our own: classes are made at first use, and another package's copy of Dapr's files never clashes with ours."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()


def load(names: dict[str, Any], serialized: bytes) -> FileDescriptor:
    """Add one file (what it imports is there already) and let the module whose globals are `names` answer for its types."""
    file = POOL.AddSerializedFile(serialized)
    messages, enums = file.message_types_by_name, file.enum_types_by_name

    def find(name: str) -> Any:
        if name in messages:
            found: Any = GetMessageClass(messages[name])
        elif name in enums:
            found = EnumTypeWrapper(enums[name])
        else:
            numbers = [enum.values_by_name[name].number for enum in enums.values() if name in enum.values_by_name]
            if not numbers:
                raise AttributeError(f"{file.name} has no {name}")
            found = numbers[0]
        names[name] = found
        return found

    names["__getattr__"] = find
    return file
