#include "audit/model/images.h"

#include <fcntl.h>
#include <string.h>

#include "audit/text.h"

#define KERNEL_O_PATH 010000000U /* include/uapi/asm-generic/fcntl.h */

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* The file's last name stands in the argument, as a whole: "file=disk.img,if=none". */
static bool argument_names(const char *argument, const char *name)
{
        size_t n = strlen(name);

        for (const char *at = argument; n && (at = strstr(at, name)); at++)
                if ((at == argument || strchr("/=,:\"", at[-1])) && (at[n] == '\0' || strchr(",:;\"#", at[n])))
                        return true;
        return false;
}

static bool is_program_option(const char *option)
{
        static const char *const options[] = {"kernel",   "initrd",       "initramfs",   "bios",
                                              "firmware", "dtb",          "config-file", "log-file",
                                              "log-path", "metrics-path", "serial",      "cmdline"};
        size_t n;

        option += strspn(option, "-");
        n = strcspn(option, "=");
        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
                if (strlen(options[i]) == n && strncmp(option, options[i], n) == 0)
                        return true;
        return false;
}

/* The argument that names the file; *ret_option is the one before it when that is an option, else itself. */
static const char *find_argument(const struct process *p, const char *path, const char **ret_option)
{
        for (size_t i = 1; i < p->argc; i++)
                if (argument_names(p->argv[i], base_name(path))) {
                        *ret_option = p->argv[i][0] != '-' && p->argv[i - 1][0] == '-' ? p->argv[i - 1] : p->argv[i];
                        return p->argv[i];
                }
        return NULL;
}

static bool is_image(const struct process *p, const struct fd *fd, const char *argument, const char *option)
{
        if (fd->stat_error < 0 || (fd->flags & KERNEL_O_PATH))
                return false;
        if (fd->kind == FD_BLOCK)
                return true;
        if (fd->kind != FD_REGULAR || (fd->flags & O_APPEND) || fd->st.size == 0 ||
            (fd->st.dev == p->exe_stat.dev && fd->st.ino == p->exe_stat.ino))
                return false;
        for (size_t i = 0; i < p->maps.count; i++) {
                const struct mapping *m = &p->maps.items[i];

                if (m->ino == fd->st.ino && m->dev == fd->st.dev &&
                    (m->is_ram || m->perms[2] == 'x' || m->perms[3] == 's'))
                        return false;
        }
        if (argument)
                return !is_program_option(option);
        return fd->st.size >= IMAGE_LEAST && fd->st.size % 512 == 0;
}

/* The driver of the block node that lies on the node with that name: libvirt gives a file and its format apart. */
static bool node_driver_is_raw(const struct process *p, const char *argument)
{
        const char *node = strstr(argument, "\"node-name\":\"");
        char wanted[160];
        size_t n;

        if (!node)
                return strstr(argument, "\"driver\":\"raw\"") != NULL;
        node += strlen("\"node-name\":\"");
        n = strcspn(node, "\"");
        if (n + 16 > sizeof(wanted))
                return false;
        memcpy(wanted, "\"file\":\"", 8);
        memcpy(wanted + 8, node, n);
        memcpy(wanted + 8 + n, "\"", 2);
        for (size_t i = 1; i < p->argc; i++)
                if (strstr(p->argv[i], wanted))
                        return strstr(p->argv[i], "\"driver\":\"raw\"") != NULL;
        return false;
}

static enum image_choice choice_of(const struct guest *g, const struct process *p, const char *argument,
                                   const char *option)
{
        if (strcmp(g->kind, "bulkhead") == 0 || strcmp(g->kind, "Firecracker") == 0)
                return CHOICE_RAW; /* they know no other format */
        if (strcmp(g->kind, "QEMU") == 0) {
                if (!argument)
                        return CHOICE_UNKNOWN;
                if (strcmp(option, "-blockdev") == 0)
                        return strstr(argument, "driver=raw") || node_driver_is_raw(p, argument) ? CHOICE_RAW
                                                                                                 : CHOICE_EXPLICIT;
                if (strstr(argument, "format=raw") || strstr(argument, "driver=raw"))
                        return CHOICE_RAW;
                return strstr(argument, "format=") || strstr(argument, "driver=") ? CHOICE_EXPLICIT : CHOICE_PROBED;
        }
        if (strcmp(g->kind, "Cloud Hypervisor") == 0 && argument && strstr(argument, "image_type="))
                return strstr(argument, "image_type=raw") ? CHOICE_RAW : CHOICE_EXPLICIT;
        return strcmp(g->kind, "unknown") == 0 ? CHOICE_UNKNOWN : CHOICE_PROBED;
}

static struct image *image_of(struct image_list *l, size_t from, const struct process *p, const uint64_t object[2])
{
        for (size_t i = from; i < l->count; i++)
                if (l->items[i].process == p && l->items[i].object[0] == object[0] &&
                    l->items[i].object[1] == object[1])
                        return &l->items[i];
        return NULL;
}

void images_read(struct arena *a, const struct guest *g, struct image_list *ret)
{
        size_t from = ret->count;

        for (size_t m = 0; m < g->members.count; m++) {
                const struct process *p = g->members.items[m].process;

                for (size_t i = 0; i < p->fds.count; i++) {
                        const struct fd *fd = &p->fds.items[i];
                        const char *argument, *option = "";
                        struct image image = {.guest = g, .process = p, .fd = fd}, *known;

                        if (fd->kind != FD_BLOCK && fd->kind != FD_REGULAR)
                                continue;
                        image.path = arena_text(a, fd->link);
                        image.deleted = text_has_suffix(image.path, " (deleted)");
                        if (image.deleted)
                                image.path[strlen(image.path) - strlen(" (deleted)")] = '\0';
                        argument = find_argument(p, image.path, &option);
                        if (!is_image(p, fd, argument, option))
                                continue;
                        image.block = fd->kind == FD_BLOCK;
                        /* Where the access mode cannot be read it counts as writing. */
                        image.writable = !fd->fdinfo || (fd->flags & O_ACCMODE) != O_RDONLY;
                        if (!image.writable && argument && strstr(argument, "pflash"))
                                continue; /* firmware's code, as many guests share it */
                        image.object[0] = image.block ? UINT64_MAX : fd->st.dev;
                        image.object[1] = image.block ? fd->st.rdev : fd->st.ino;
                        image.argument = argument;
                        image.choice = choice_of(g, p, argument, option);
                        known = image_of(ret, from, p, image.object);
                        if (known)
                                known->writable = known->writable || image.writable;
                        else
                                *GROW(a, ret) = image;
                }
        }
}
