/* Between the files of this boundary. */
#pragma once

#include "audit/audit.h"
#include "audit/model/images.h"

void storage_rw_pairs(struct audit *a);
void storage_ro_pairs(struct audit *a);
void storage_lock_guest(struct audit *a, struct guest *g);
void storage_probe_guest(struct audit *a, struct guest *g);
void storage_chain_host(struct audit *a);
void storage_perm_host(struct audit *a);
void storage_hostmnt_host(struct audit *a);
void storage_zero_host(struct audit *a);
void storage_sharefs_host(struct audit *a);

/* NA: the guest has no disk image, with what was looked at. */
void storage_no_image(struct audit *a, struct guest *g);

/* "link /proc/PID/fd/N", and what is there. */
char *storage_question(struct audit *a, const struct image *m);
char *storage_describe(struct audit *a, const struct image *m);
