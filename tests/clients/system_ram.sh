# A device becomes memory and comes back: what daxctl says and sysfs answers, on a real kernel (busybox sh) and under daxemu (bash).
# Recorded with both drivers loaded and Debian's daxctl; blocks are numbered from the device's first.
M=/sys/devices/system/memory D=/sys/bus/dax/devices/dax0.0 B=/sys/bus/dax/drivers
FIRST=$((($(cat $D/resource) + 0x7ffffff) / 0x8000000))
COUNT=$((($(cat $D/resource) + $(cat $D/size)) / 0x8000000 - FIRST))
said=$(mktemp)
trap 'rm -f $said' EXIT
r() {
  echo "\$ $*"
  eval "$@" 2>$said
  s=$?
  cat $said
  [ $s = 0 ] || echo "rc=$s"
}
write() { (echo -n "$1" >"$2") 2>&1 | sed 's/.*: //'; }
state() { write "$2" $M/memory$((FIRST + $1))/state; }
driver() { basename "$(readlink $D/driver || echo none)"; }
blocks() {
  i=0
  while [ -d $M/memory$((FIRST + i)) ] && [ $i -lt ${1:-$COUNT} ]; do
    b=$M/memory$((FIRST + i))
    echo "$i $(cat $b/state) $(cat $b/online) $(cat $b/valid_zones) $(cat $b/removable) $(cat $b/phys_device) $(cd $b && echo node*)"
    i=$((i + 1))
  done
}

r driver
r cat $M/auto_online_blocks
r cat $M/block_size_bytes
r daxctl list
r daxctl offline-memory dax0.0
r daxctl reconfigure-device -m devdax dax0.0
r daxctl list
r write online $M/auto_online_blocks
r daxctl reconfigure-device -m system-ram dax0.0
r daxctl reconfigure-device -N -m system-ram dax0.0
r daxctl reconfigure-device -f -m system-ram dax0.0
r blocks
r daxctl reconfigure-device -f -m devdax dax0.0
r write offline $M/auto_online_blocks
r daxctl online-memory dax0.0
r daxctl offline-memory dax0.0
r daxctl reconfigure-device -N -m system-ram dax0.0
r driver
r 'cat /dev/dax0.0 2>&1 | sed "s/.*: //"'
r daxctl list
r daxctl reconfigure-device -N -m system-ram dax0.0
r daxctl online-memory dax0.0
r blocks
r daxctl list
r daxctl online-memory dax0.0
r daxctl reconfigure-device -m devdax dax0.0
r daxctl disable-device dax0.0
r daxctl enable-device dax0.0
r daxctl offline-memory dax0.0
r daxctl offline-memory dax0.0
r daxctl online-memory --no-movable dax0.0
r daxctl list
r daxctl offline-memory dax0.0
r daxctl reconfigure-device -m devdax dax0.0
r daxctl list
r daxctl reconfigure-device -m system-ram dax0.0
r daxctl reconfigure-device -m devdax dax0.0
r daxctl reconfigure-device -f -m devdax dax0.0
r daxctl reconfigure-device --no-movable -m system-ram dax0.0
r daxctl reconfigure-device -f -m devdax dax0.0
r daxctl online-memory foo
r daxctl offline-memory all

r daxctl reconfigure-device -N -m system-ram dax0.0
for word in on 1 onlin online_foo ' online' 'online ' Online; do r state 0 "'$word'"; done
r state 0 online_movable
r state 0 online
r state 0 online_kernel
r state 0 online_movable
r blocks 3
r state 0 offline
r state 0 offline
r state 0 online_kernel
r state 2 online_movable
r state 1 online
r blocks 4
r state 2 offline
r state 1 offline
r blocks 4
for word in 1 1 0 0 y n 2 maybe; do r write $word $M/memory$FIRST/online; done
for word in online_kernel online_movable offline 1 'online '; do r write "'$word'" $M/auto_online_blocks; done
r cat $M/auto_online_blocks
for file in removable phys_index valid_zones; do r write 1 $M/memory$FIRST/$file; done
r write change $M/memory$FIRST/uevent
r write foo $M/memory$FIRST/uevent
for file in soft_offline_page hard_offline_page; do for word in foo -1 0x100000000000000; do r write $word $M/$file; done; done
r write memory$FIRST /sys/bus/memory/drivers_probe
r write foo /sys/bus/memory/drivers_probe
r 'readlink $M/memory$FIRST/subsystem; readlink $M/memory$FIRST/node0'
r cat $M/memory$FIRST/uevent

r state 1 online_movable
r write dax0.0 $B/kmem/unbind
r driver
r blocks
r write dax0.0 $B/kmem/bind
r state 1 offline
r write dax0.0 $B/kmem/bind
r write dax0.0 $B/device_dax/bind
r write dax0.0 $B/device_dax/new_id
r write dax0.0 $B/device_dax/bind
r driver
r blocks
r daxctl list
r daxctl reconfigure-device -N -m system-ram dax0.0
r daxctl reconfigure-device -m devdax dax0.0
r daxctl destroy-device -f dax0.0
r cat $D/size
