/* E11: memory: make it executable, change what guest memory is. */
#include <linux/mman.h>
#include <sys/mman.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define PAGE 4096

static long map(long protection, long flags, long fd)
{
        return CALL(SYS_mmap, NULL, PAGE, protection, flags, fd, 0);
}

static struct attempt_result map_anonymous(const struct attempt_target *t, const struct attempt *a)
{
        return reached(map(a->number, MAP_PRIVATE | MAP_ANONYMOUS, -1));
}

static struct attempt_result protect(const struct attempt_target *t, const struct attempt *a)
{
        long r = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

        return r < 0 ? refused(r) : reached(CALL(SYS_mprotect, r, PAGE, a->number));
}

/* Written through the descriptor, executable through the mapping: never both in one mapping. */
static struct attempt_result map_memfd(const struct attempt_target *t, const struct attempt *a)
{
        long fd = memfd(), r;

        if (fd < 0)
                return refused(fd);
        r = CALL(SYS_write, fd, "\xc3", 1);
        return r < 0 ? refused(r) : reached(map(PROT_READ | PROT_EXEC, a->number, fd));
}

/* The guest could have put code there. */
static struct attempt_result map_ram(const struct attempt_target *t, const struct attempt *a)
{
        return t->ram ? reached(CALL(SYS_mprotect, t->ram, PAGE, PROT_READ | PROT_EXEC))
                      : not_run("no memory is named");
}

static struct attempt_result remap_ram(const struct attempt_target *t, const struct attempt *a)
{
        long r;

        if (!t->ram)
                return not_run("no memory is named");
        /* An old size of 0 makes a second mapping of the same pages (mremap(2)). */
        r = CALL(SYS_mremap, t->ram, 0, PAGE, MREMAP_MAYMOVE);
        return r < 0 ? refused(r) : contained("its own memory, mapped twice");
}

static struct attempt_result merge_ram(const struct attempt_target *t, const struct attempt *a)
{
        long r;

        if (!t->ram)
                return not_run("no memory is named");
        r = CALL(SYS_madvise, t->ram, PAGE, MADV_MERGEABLE);
        return r < 0 ? refused(r) : contained("the kernel never merges shared memory");
}

static struct attempt_result merge_own(const struct attempt_target *t, const struct attempt *a)
{
        long r = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

        return r < 0 ? refused(r) : reached(CALL(SYS_madvise, r, PAGE, MADV_MERGEABLE));
}

static long truncate_fd(int fd, const struct attempt *a)
{
        return CALL(SYS_ftruncate, fd, a->number);
}

static struct attempt_result truncate_every(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(truncate_fd, a);
}

static struct attempt_result reopen_ram(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root("/proc/self/map_files", O_RDONLY));
}

static struct attempt_result lock_memory(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mlockall, MCL_CURRENT));
}

const struct attempt row_memory[] = {
        {"E11.1", "map memory to read and execute", map_anonymous, PROT_READ | PROT_EXEC, NULL},
        {"E11.2", "map memory to write and execute", map_anonymous, PROT_READ | PROT_WRITE | PROT_EXEC, NULL},
        {"E11.3", "make written memory executable", protect, PROT_READ | PROT_EXEC, NULL},
        {"E11.4", "make memory writable and executable", protect, PROT_READ | PROT_WRITE | PROT_EXEC, NULL},
        {"E11.5", "make guest memory executable", map_ram, 0, NULL},
        {"E11.6", "write a memfd and map it executable", map_memfd, MAP_PRIVATE, NULL},
        {"E11.7", "mremap guest memory", remap_ram, 0, NULL},
        {"E11.8", "let guest memory be merged", merge_ram, 0, NULL},
        {"E11.9", "let its own memory be merged", merge_own, 0, NULL},
        {"E11.10", "ftruncate every descriptor", truncate_every, 0, NULL},
        {"E11.11", "open guest memory's file again", reopen_ram, 0, NULL},
        {"E11.12", "lock all memory", lock_memory, 0, NULL},
        {0},
};
