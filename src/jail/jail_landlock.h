/* Jail stage: Landlock, a second lock on names, ports and signals that does not depend on the namespaces. */
#pragma once

#include "base/err.h"

/*
 * Denies the calling thread, and everything it starts later, every access that the running kernel's Landlock
 * can handle: files by name, TCP bind and connect, abstract Unix sockets and signals to the outside. What is
 * open stays usable (see jail_landlock.c). Call it while the process has one thread: before ABI 8 Landlock
 * restricts threads, not processes. Needs no_new_privs, or CAP_SYS_ADMIN in the user namespace.
 *
 * *ret_abi is the kernel's Landlock ABI version, or 0 when it has none, which the caller must show as a
 * missing layer. Returns 0, or a negative errno when there is Landlock but it could not be applied; the
 * thread is then not restricted.
 */
int jail_landlock_seal(unsigned int *ret_abi, struct err *e);
