#!/bin/sh
# The only program of a Linux guest of tools/demo: tells what kind of machine it finds itself in, between two markers,
# waits for a line on the console, and switches the machine off.
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# shellcheck disable=SC2154 # the kernel hands what it does not know on its command line to init's environment
hostname "$demo_name"

echo "=== demo begin"
echo '$ uname -a'
uname -a
echo '$ nproc'
nproc
echo '$ grep MemTotal /proc/meminfo'
grep MemTotal /proc/meminfo
echo '$ ps | wc -l'
ps | wc -l
echo '$ dmesg | grep "Hypervisor detected"'
dmesg | grep -o 'Hypervisor detected.*'
echo "=== demo end"

read -r _
poweroff -f
