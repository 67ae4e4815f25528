"""Attributes written one after the other, as a real kernel answered."""

from __future__ import annotations

from tests.kernel.fakes import G
from tests.sysfs.machine import Machine

MEASURED = r"""
device_dax/new_id   dax              EINVAL
device_dax/new_id   dax99.0          ok
device_dax/new_id   dax99.0\n        ok
device_dax/new_id   dax099.0         EINVAL
device_dax/remove_id dax98.0         ok
device_dax/remove_id dax99.0         ok
device_dax/remove_id x               EINVAL
device_dax/bind     nope             ENODEV
device_dax/unbind   nope             ENODEV
drivers_probe       nope             ENODEV
device_dax/bind     dax0.0           ENODEV
device_dax/new_id   dax0.0           ok
dax0.0/size         1073741824\n     EBUSY
dax0.0/size         0                EBUSY
dax0.0/size         4096             EINVAL
dax0.0/size         abc              EINVAL
dax0.0/align        4096             EBUSY
dax0.0/align        3                EINVAL
dax0.0/align        junk             ENXIO
create              1                ENOSPC
create              2                EINVAL
create              x                EINVAL
create              \n               EINVAL
delete              dax0.0           EBUSY
delete              dax7.7           ENXIO
dax0.0/memmap_on_memory 1            EOPNOTSUPP
dax0.0/memmap_on_memory 0            ok
dax0.0/memmap_on_memory q            EINVAL
dax0.0/align        2097152          EBUSY
device_dax/unbind   dax0.0           ok
device_dax/unbind   dax0.0           ENODEV
device_dax/bind     dax0.0           ok
device_dax/bind     dax0.0           EBUSY
device_dax/unbind   dax0.0           ok
dax0.0/size         abc              EINVAL
dax0.0/size         -1               EINVAL
dax0.0/size         +0x200000        ok
dax0.0/size         0x400000\n       ok
dax0.0/size         99999999999999999999999 ERANGE
dax0.0/size         0x4000000000     ENOSPC
dax0.0/size         4096             EINVAL
dax0.0/size         010000000        ok
dax0.0/size         =                2097152
available_size      =                1071644672
dax0.0/align        4096             ok
dax0.0/size         4096             EINVAL
dax0.0/align        1073741824       EINVAL
dax0.0/align        0x200000         ok
dax0.0/align        8192             EINVAL
dax0.0/align        0                EINVAL
dax0.0/align        z                ENXIO
dax0.0/align        99999999999999999999999 ENXIO
dax0.0/size         0                ok
dax0.0/size         =                0
dax0.0/resource     =                0x140000000
dax0.0/mapping0/start =              None
device_dax/bind     dax0.0           ENXIO
drivers_probe       dax0.0           ok
delete              dax0.0           EBUSY
dax0.0/mapping      0x140000000-0x1401fffff\n ok
dax0.0/size         =                2097152
dax0.0/mapping      0x140000000-0x1401fffff\n ENOMEM
dax0.0/mapping      0x140400000-0x140400fff\n ok
dax0.0/size         =                2097152
dax0.0/mapping      0x140401000-0x140600fff\n ok
dax0.0/size         =                4194304
dax0.0/mapping1/start =              0x140401000
dax0.0/mapping1/page_offset =        0x200
dax0.0/mapping      0x13fe00000-0x13fffffff\n ENOMEM
dax0.0/mapping      0x140800000-0x1407fffff\n EBUSY
dax0.0/mapping      0x140a00000-0x140800000\n ok
dax0.0/mapping      1234             EINVAL
dax0.0/mapping      zz-yy            EINVAL
dax0.0/mapping      10-20            ok
dax0.0/mapping      0x1-0x2-0x3      EINVAL
dax0.0/size         0                ok
dax0.0/mapping      0x140800000-0x1407fffff\n ok
create              =
seed                =
create              1                ok
create              =                dax0.1
seed                =                dax0.1
create              0x1\n            ok
create              =                dax0.2
seed                =                dax0.1
dax0.1/size         =                0
dax0.1/align        =                2097152
dax0.1/resource     =                0x140000000
dax0.1/dev          =                252:1
dax0.1/size         0x400000         ok
dax0.2/size         0x400000         ok
dax0.1/size         0x800000         ok
dax0.2/size         0x800000         ok
dax0.1/mapping0/start =              0x140000000
dax0.1/mapping0/end =                0x1403fffff
dax0.1/mapping1/start =              0x140800000
dax0.1/mapping1/end =                0x140bfffff
dax0.1/mapping1/page_offset =        0x400
dax0.2/mapping0/start =              0x140400000
dax0.2/mapping0/end =                0x1407fffff
dax0.2/mapping1/start =              0x140c00000
dax0.2/mapping1/end =                0x140ffffff
dax0.1/size         0x600000         ok
dax0.1/mapping1/end =                0x1409fffff
dax0.1/size         0x200000         ok
dax0.1/mapping0/end =                0x1401fffff
dax0.1/mapping1/start =              None
dax0.0/size         0x600000         ok
dax0.0/mapping0/start =              0x140200000
dax0.0/mapping0/end =                0x1403fffff
dax0.0/mapping1/start =              0x140800000
dax0.0/mapping1/end =                0x140bfffff
dax0.0/mapping1/page_offset =        0x200
available_size      =                1056964608
delete              dax0.1           EBUSY
device_dax/bind     dax0.2           ENODEV
seed                =                dax0.1
device_dax/new_id   dax0.1           ok
seed                =
delete              dax0.1           EBUSY
device_dax/unbind   dax0.1           ok
dax0.2/mapping      0-1              ok
dax0.1/size         0                ok
delete              dax0.1           ok
delete              dax0.1           ENXIO
create              =                dax0.2
create              1                ok
create              =                dax0.1
device_dax/new_id   dax0.2           ok
"""


def test_a_whole_life_is_as_on_linux_6_12():
    """Transcript of a run on hardware's kernel: 1 GiB of soft-reserved memory at 5 GiB, no kmem loaded."""
    machine = Machine(start=0x140000000, size=G, driver="none", drivers=("device_dax",))
    wrong = []
    for number, line in enumerate(MEASURED.strip().splitlines(), 1):
        attribute, text, *expected = line.split()
        got = str(machine.read(attribute)) if text == "=" else machine.write(attribute, text.replace("\\n", "\n"))
        if got != "".join(expected):
            wrong.append(f"{number}: {line}: {got}")
    assert not wrong
