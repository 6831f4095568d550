#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/inspect/parse.h"

/* The seals of the file behind a mapping; root can open it through /proc (proc_pid_map_files(5)). */
static void seals_read(int proc_fd, const struct ram_range *ram, struct memory_facts *m)
{
        _cleanup_fd_ int fd = -1;
        char path[64];
        int seals;

        snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, ram->start, ram->end);
        fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
        seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
        m->seals_known = seals >= 0;
        m->seals = seals;
}

static void merge_any_read(int proc_fd, struct memory_facts *m)
{
        char text[1024];

        if (io_read_file_at(proc_fd, "ksm_stat", text, sizeof(text)) < 0)
                return;
        if (strstr(text, "ksm_merge_any: no"))
                m->merge_any = MERGE_ANY_NO;
        else if (strstr(text, "ksm_merge_any: yes"))
                m->merge_any = MERGE_ANY_YES;
}

int inspect_memory(int proc_fd, struct inspect_facts *ret)
{
        _cleanup_fd_ int fd = openat(proc_fd, "smaps", O_RDONLY | O_CLOEXEC);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
        struct ram_range ram;
        int r;

        if (!f)
                return -errno;
        TAKE_FD(fd);
        r = parse_smaps(f, &ret->memory, &ram);
        fclose(f);
        if (r < 0)
                return r;
        if (ret->memory.ram_mappings > 0)
                seals_read(proc_fd, &ram, &ret->memory);
        merge_any_read(proc_fd, &ret->memory);
        return 0;
}
