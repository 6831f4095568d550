/* Which of the other guests could use a file by its path. */
#pragma once

#include "audit/audit.h"
#include "audit/model/access.h"

/* Ids and capabilities of threads of a guest. */
struct reacher {
        const struct process *process;
        const struct thread *thread;
};

struct reacher_list {
        struct reacher *items;
        size_t count, room;
};

struct reach {
        struct reacher_list reachers;             /* of every process of every guest */
        struct pair_key_list uids, gids, capable; /* extra: index in reachers */
        struct mount_list mounts;                 /* the host's */
        int mounts_error;
        const struct guest *unread[2]; /* of the guests with a process whose ids are not known, the first two */
        int unread_error;
};

void reach_init(struct audit *a, struct reach *r);

/* 0, or why it cannot be said of every other guest whether it reaches files of g. */
int reach_error(struct audit *a, const struct reach *r, const struct guest *g, const char **ret_question);

/* A guest other than g whose ids or capabilities let it use the file where they would let nobody else; NULL: none. */
const struct guest *reach_other(struct audit *a, const struct reach *r, const struct path_walk *w,
                                const struct guest *g, unsigned int wanted);

/* True when a view of the file system other than g's and the host's, or a label, keeps other from g's files all the
 * same. */
bool reach_kept_away(const struct audit *a, const struct guest *g, const struct guest *other);

/* True when everybody on the host may. */
bool reach_everybody(const struct path_walk *w, unsigned int wanted);

/* p's path as the host knows it, or NULL: the host has no name for it. */
char *reach_host_path(struct audit *a, const struct reach *r, const struct process *p, const char *path);

/* "40755 0 0 /run" a line, for evidence. */
char *reach_show(struct audit *a, const struct path_walk *w);
