/* Labels of mandatory access control. */
#pragma once

#include "audit/model/host.h"

enum mac_kind { MAC_NONE, MAC_APPARMOR, MAC_SELINUX };

enum mac_state {
        MAC_ABSENT,     /* no such LSM is active */
        MAC_UNKNOWN,    /* the label cannot be read */
        MAC_UNCONFINED, /* unconfined, complain mode, permissive */
        MAC_CONFINED,
};

struct mac {
        enum mac_kind kind;
        enum mac_state state;
        int error;      /* of MAC_UNKNOWN */
        char *question; /* that was asked for the label, for evidence; NULL with MAC_ABSENT */
        char *label;    /* raw; NULL when not known */
        char *unique;   /* the part that can tell guests apart: profile name, or categories ("c1,c2"); NULL: none */
};

void mac_read(struct observer *o, const struct host *h, const struct process *p, struct mac *ret);

/* The unique part where it confines, else NULL. */
char *mac_confining_label(struct observer *o, const struct host *h, const struct process *p);
