/* Between the files of the processor checks. */
#pragma once

#include "audit/audit.h"

/*
 * A finding about the processors. On a host that is itself a virtual machine nothing better than UNKNOWN can be said:
 * what its own host does on the real processors is not visible. FAIL and NA stay: a kernel that calls itself vulnerable
 * is.
 */
struct finding *cpu_finding(struct audit *a, enum verdict v, const struct guest *g, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* The line of /sys/devices/system/cpu/vulnerabilities/NAME; NULL with *ret_error (may be NULL) set. */
char *cpu_vulnerability(struct audit *a, const char *name, int *ret_error);

/* Shows that line. */
void cpu_vulnerability_show(struct audit *a, struct finding *f, const char *name, const char *line);

/* What such a line means for guests: PASS, FAIL or UNKNOWN. */
enum verdict cpu_line_verdict(struct audit *a, const char *line);

/* What is known about two threads of one core, from cpu_smt.c. */
struct smt {
        int error; /* smt/active could not be read */
        bool active;
        char *control; /* NULL: could not be read */
};

void smt_read(struct audit *a, struct smt *ret);
void smt_show(struct audit *a, struct finding *f, const struct smt *s);

/* True when it is certain that no two guests run on one core at once. */
bool smt_guests_apart(struct audit *a);

void cpu_smt_host(struct audit *a);
void cpu_smtpair_pairs(struct audit *a);
void cpu_share_pairs(struct audit *a);
void cpu_srso_host(struct audit *a);
void cpu_ucode_host(struct audit *a);
void cpu_spec_guest(struct audit *a, struct guest *g);
