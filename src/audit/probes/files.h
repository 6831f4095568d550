/* Between the files of this boundary. */
#pragma once

#include "audit/audit.h"

void ctlsock_host(struct audit *a);
void fds_host(struct audit *a);
void root_guest(struct audit *a, struct guest *g);
void jail_host(struct audit *a);
void dirfd_guest(struct audit *a, struct guest *g);
void mounts_guest(struct audit *a, struct guest *g);
void parents_host(struct audit *a);
void tty_host(struct audit *a);
