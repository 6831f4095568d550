/* What of a monitor's memory is its guest's RAM. */
#include "audit/model/ram.h"

#include "audit/text.h"
#include "base/cleanup.h"

static bool is_ram_name(const char *name)
{
        static const char *const names[] = {
                "/memfd:guest_ram ",
                "/memfd:guest_mem ",
                "/memfd:ch_ram ",
                "/memfd:crosvm_guest",
                "/memfd:memory-backend-memfd ",
                "/anon_hugepage ",
                "[anon:guest",
                "[anon:crosvm_guest",
        };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (text_has_prefix(name, names[i]))
                        return true;
        return text_has_prefix(name, "/dev/hugepages/");
}

#define RAM_GUESS_LEAST (8ULL << 20)
#define RAM_GUESS_ALIGN (2ULL << 20)

/* By size and flags: what a monitor maps for a guest is large, writable, and was advised upon. Thread stacks (8 MiB and
 * a guard) and heaps are not. Of files: shared memory, huge pages, and what is mapped privately from its first byte on
 * (-mem-path with share=off, a snapshot); data of programs is smaller. */
static bool looks_like_ram(const struct mapping *m)
{
        uint64_t size = m->end - m->start;

        if (!text_has_prefix(m->perms, "rw") || size < RAM_GUESS_LEAST || size % RAM_GUESS_ALIGN || m->name[0] == '[' ||
            text_has_prefix(m->name, "anon_inode:"))
                return false;
        if (m->vm_flags & VM_HUGETLB)
                return true;
        if (m->name[0] == '/')
                return m->perms[3] == 's' || m->offset == 0;
        return m->vm_flags & (VM_HUGEPAGE | VM_MERGEABLE | VM_DONTDUMP | VM_NORESERVE);
}

/* First what its name tells, then what it looks like: names are the monitor's choice, and must not hide the rest. */
void guest_ram_find(struct observer *o, struct guest *g)
{
        for (int pass = 0; pass < 2; pass++)
                for (size_t i = 0; i < g->vmm->maps.count; i++) {
                        struct mapping *m = &g->vmm->maps.items[i];

                        if (m->is_ram || (pass == 0 ? !is_ram_name(m->name) : !looks_like_ram(m)))
                                continue;
                        m->is_ram = true;
                        *GROW(o->arena, &g->ram) = (struct ram){.mapping = m, .inferred = pass == 1};
                        g->ram_bytes += m->end - m->start;
                }
}
