/* Checks of this boundary that have a file of their own; the table is in namespaces.c. */
#pragma once

#include "audit/audit.h"

/* As in a sentence: "mount". */
const char *namespace_name(enum ns_kind kind);

/* namespaces_pairs.c: guests that share namespaces. */
void namespaces_pid_pairs(struct audit *a);
void namespaces_mnt_pairs(struct audit *a);
void namespaces_net_pairs(struct audit *a);
void namespaces_ipc_pairs(struct audit *a);

/* namespaces_proc.c */
void namespaces_proc_guest(struct audit *a, struct guest *g);
