/*
 * The audit: a table of checks, each run over the host, over each guest, and over all guests at once (pairs); and the
 * findings that they leave. A check states facts and a verdict with the raw evidence behind it; a verdict without
 * evidence does not exist.
 *
 * Guests in the text of a finding are written as markers (GUEST_MARK), which a report turns into the guest's name, or
 * into "another guest" in a report for one tenant: the text itself never holds a name, a path, a pid or an address of a
 * guest. Those go into evidence, which belongs to one guest, to the host, or to the operator only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/model/guests.h"
#include "audit/model/host.h"
#include "audit/pairs.h"

enum verdict { VERDICT_NA, VERDICT_PASS, VERDICT_WARN, VERDICT_UNKNOWN, VERDICT_FAIL }; /* the worse, the higher */
enum severity { SEVERITY_INFO, SEVERITY_LOW, SEVERITY_MEDIUM, SEVERITY_HIGH, SEVERITY_CRITICAL };
enum boundary {
        BOUNDARY_INVENTORY,
        BOUNDARY_NAMESPACES,
        BOUNDARY_PRIVILEGES,
        BOUNDARY_SYSCALLS,
        BOUNDARY_FILES,
        BOUNDARY_MEMORY,
        BOUNDARY_CPU,
        BOUNDARY_KVM,
        BOUNDARY_STORAGE,
        BOUNDARY_NETWORK,
        BOUNDARY_DEVICES,
        BOUNDARY_RESOURCES,
        BOUNDARY_LIFECYCLE,
        BOUNDARY_KERNEL,
        BOUNDARY_COUNT,
};

extern const char *const verdict_names[];  /* "PASS" */
extern const char *const severity_names[]; /* "high" */
extern const char *const boundary_names[]; /* "Namespaces" */

struct audit;

struct check {
        const char *id; /* as in docs/audit.md */
        enum severity severity;
        enum verdict worst;   /* that it can come to, UNKNOWN aside: FAIL or WARN; PASS for rows that only inform */
        const char *claim;    /* one sentence that a PASS means */
        const char *examined; /* what is looked at, exactly */
        const char *rule;     /* how the verdict comes about */
        const char *source;   /* who says that this matters */
        const char *remedy;   /* what to do about a FAIL or WARN */
        const char *needs;    /* the privilege, for UNKNOWN: "root", "CAP_SYS_PTRACE or the guest's user", "" */
        bool deep;            /* only with --deep; else UNKNOWN */
        /* A FAIL that rests on this one missing layer (a LAYER_BIT) is WARN while at least three others separate every
         * pair; 0: never softened. */
        unsigned int softened;
        /* Any of them may be NULL. A guest of which pairs could not read something has a finding_unknown(), and no
         * other guest passes then: what was not read may be what they share. */
        void (*host)(struct audit *a);
        void (*guest)(struct audit *a, struct guest *g);
        void (*pairs)(struct audit *a);
};

/* One per boundary, ended by an entry without id: src/audit/probes/. */
extern const struct check *const check_tables[BOUNDARY_COUNT];

#define EVIDENCE_HOST     (-1) /* about the host alone: every tenant may see it */
#define EVIDENCE_OPERATOR (-2) /* names more than one guest, or none that is known */

struct evidence {
        int owner;       /* index of the guest it is about, or one of the above */
        char *question;  /* as asked, printable */
        char *excerpt;   /* raw answer, printable, TEXT_EVIDENCE_MAX bytes at most; or "error: ..." */
        int64_t time_ms; /* since 1970 */
};

struct evidence_list {
        struct evidence *items;
        size_t count, room;
};

struct index_list {
        size_t *items;
        size_t count, room;
};

struct finding {
        const struct check *check;
        enum boundary boundary;
        enum verdict verdict, unsoftened;
        char *text;               /* one sentence, with markers */
        struct index_list guests; /* whom it concerns; none: the host. Two or more: every pair of them */
        struct evidence_list evidence;
        const char *needs; /* of UNKNOWN: what would determine it; NULL */
        bool unread;       /* something of the guest could not be read */
        bool pair;         /* from the pairs function: about the guest and all others, or about those listed */
};

struct finding_list {
        struct finding **items;
        size_t count, room;
};

struct audit {
        struct arena *arena;
        struct observer *observer;
        struct host host;
        struct inventory inv;
        struct pair_model pairs;
        struct network *network; /* model/network.h; NULL: no check has asked yet */
        struct images *images;   /* model/images.h; NULL: no check has asked yet */
        struct finding_list findings;
        const struct check *check; /* that is running */
        enum boundary boundary;
};

/* Runs every check. progress (may be NULL) is told the id before each. */
void audit_run(struct audit *a, void (*progress)(void *ctx, const char *id), void *ctx);

/* ---- for checks ---- */

/* A new finding of the running check. guest: whom it concerns; NULL: the host. The text is a printf format; a guest in
 * it is
 * "%s" with GUEST_MARK(a, g). */
struct finding *finding_add(struct audit *a, enum verdict v, const struct guest *g, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* One more guest that it concerns. */
void finding_concern(struct audit *a, struct finding *f, const struct guest *g);

/* Evidence: the question and the raw answer, cut. owner: GUEST_OWNER(g), EVIDENCE_HOST or EVIDENCE_OPERATOR. */
void finding_show(struct audit *a, struct finding *f, int owner, const char *question, const void *bytes, size_t len);
/* The same with a text made here of what was asked: "fd 7 -> /dev/kvm". */
void finding_showf(struct audit *a, struct finding *f, int owner, const char *question, const char *fmt, ...)
        __attribute__((format(printf, 5, 6)));
/* The lines of text that begin with one of the prefixes (a NULL-terminated list). */
void finding_show_lines(struct audit *a, struct finding *f, int owner, const char *question, const char *text,
                        const char *const *prefixes);
/* A question that failed. */
void finding_show_error(struct audit *a, struct finding *f, int owner, const char *question, int error);

/* UNKNOWN because a question failed with error: says what it needs (the check's needs, or "nothing: it ended" for
 * -ESRCH, which makes it NA). */
struct finding *finding_unknown(struct audit *a, const struct guest *g, int error, const char *question);

/* The same of a finding that is there already, with evidence. */
void finding_turn_unknown(struct audit *a, struct finding *f, const struct guest *g, int error, const char *question);

/* The text by which a finding refers to a guest: printable, short-lived only in the arena. */
#define GUEST_MARK(a, g) arena_printf((a)->arena, "\001%zu\002", (g)->index)
#define GUEST_OWNER(g)   ((int)(g)->index)

/* A printable copy of a stranger's text, for evidence texts: */
#define SHOW(a, text) text_printable((a)->arena, (text), strlen(text), 160, false)

/* The worst verdict of a and b. */
static inline enum verdict verdict_worse(enum verdict x, enum verdict y)
{
        return x > y ? x : y;
}
