/* Between the files of this boundary. */
#pragma once

#include "audit/audit.h"

void ctlsock_host(struct audit *a);
void fds_host(struct audit *a);
