/* Checks of system calls that lie in more than one file. */
#pragma once

struct audit;
struct guest;

/* probes/syscalls_policy.c: what the filters allow. */
void syscalls_policy(struct audit *a, struct guest *g);
void syscalls_arch(struct audit *a, struct guest *g);
void syscalls_ioctl(struct audit *a, struct guest *g);
void syscalls_action(struct audit *a, struct guest *g);

/* probes/syscalls_landlock.c: what nobody but the processes can tell. */
void syscalls_landlock(struct audit *a, struct guest *g);
