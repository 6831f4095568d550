/* Checks of this boundary that have a file of their own; the table is in privileges.c. */
#pragma once

#include "audit/audit.h"

/*
 * 0 when the ids that this auditor is shown are the host's: it is in the host's user namespace. Else -EXDEV: what it is
 * shown as 0 may be anyone.
 */
int privileges_ids_hosts(struct audit *a);

/* privileges_users.c */
void privileges_root_guest(struct audit *a, struct guest *g);
void privileges_users_pairs(struct audit *a);
void privileges_groups_host(struct audit *a);

/* privileges_mac.c */
void privileges_mac_host(struct audit *a);
void privileges_mac_guest(struct audit *a, struct guest *g);
void privileges_mac_pairs(struct audit *a);

/* privileges_devices.c */
void privileges_devices_host(struct audit *a);
