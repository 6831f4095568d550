/* Checks of this boundary that have a file of their own; the table is in inventory.c. */
#pragma once

#include "audit/audit.h"

/* processes.c */
void process_exe_host(struct audit *a);
void process_dumpable_guest(struct audit *a, struct guest *g);
void process_traced_guest(struct audit *a, struct guest *g);

/* programs.c */
void process_elf_host(struct audit *a);

/* arguments.c */
void arguments_secrets_guest(struct audit *a, struct guest *g);
void arguments_profile_guest(struct audit *a, struct guest *g);
