/* Who may use a file by its path: every directory on the way and the file itself, with their access lists. */
#pragma once

#include "audit/model/process.h"

#define ACCESS_READ  4U /* as in a mode */
#define ACCESS_WRITE 2U
#define ACCESS_EXEC  1U

#define PATH_LINKS_MAX 16 /* symbolic links followed in one walk */

struct path_step {
        char *path;
        struct observed_stat st;
        char *acl; /* as "acl PATH" answers; NULL: none that matters */
};

struct path_step_list {
        struct path_step *items;
        size_t count, room;
};

struct path_walk {
        struct path_step_list steps; /* "/" first, the file last; links are replaced by what they lead to */
        char *resolved;              /* path without links, as the walk's root sees it */
        int error;                   /* 0, or why the walk ended */
        char *question;              /* that failed */
};

/* Walks an absolute path. below: "" for the host's tree, or "/proc/PID/root" for what a process sees. */
void path_walk(struct observer *o, const char *below, const char *path, struct path_walk *ret);

/* Somebody's ids. anybody: a local user who owns nothing and is in no group. */
struct identity {
        bool anybody;
        uint32_t uid, gid;
        const struct id_list *groups; /* NULL: none */
        uint64_t caps;                /* effective or permitted; they count for files of the ids that are mapped */
        const struct id_map *uid_map, *gid_map; /* of its user namespace; NULL: all ids */
};

/* The bits of wanted that the file grants, or that a capability gives. */
unsigned int step_grants(const struct path_step *s, const struct identity *who, unsigned int wanted);

/* The first step that keeps who from using the file (search on the directories, all wanted bits on the file), or NULL.
 */
const struct path_step *path_stops(const struct path_walk *w, const struct identity *who, unsigned int wanted);

/* Where the host sees what process p knows as path (absolute): NULL when no mount of the host's shows it. host: mounts
 * of the host's own mount namespace. same_tree: p's root directory is the host's. */
char *path_on_host(struct observer *o, const struct process *p, bool same_tree, bool same_mounts,
                   const struct mount_list *host, const char *path);
