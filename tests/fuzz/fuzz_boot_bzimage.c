/* The loader of bzImages: the input is the file's start, and BOOT_PARAMETERS. */
#include <string.h>

#include "boot_world.h"

/* Offsets of Documentation/arch/x86/boot.rst. */
static uint64_t field(const uint8_t *head, size_t offset, size_t size)
{
        uint64_t v = 0;

        memcpy(&v, head + offset, size);
        return v;
}

static void check(struct boot_world *w, const struct boot_entry *entry)
{
        uint8_t head[BOOT_HEAD_BYTES] = {0};
        uint64_t sects, syssize, init_size, need, pref, align, load;

        memcpy(head, w->image, w->image_len < sizeof(head) ? w->image_len : sizeof(head));
        sects = field(head, 0x1f1, 1) ? field(head, 0x1f1, 1) : 4;
        syssize = field(head, 0x1f4, 4) * 16;
        init_size = field(head, 0x260, 4);
        pref = field(head, 0x258, 8);
        align = field(head, 0x230, 4);
        need = init_size > syssize ? init_size : syssize;
        load = entry->entry - 0x200;

        MUST(entry->protocol == BOOT_LINUX64);
        MUST(field(head, 0x206, 2) >= 0x20c && (field(head, 0x236, 2) & 1) && (field(head, 0x211, 1) & 1));
        MUST(load >= MIB && load + need > load);
        if (pref == 0)
                pref = MIB;
        MUST(field(head, 0x234, 1) ? load >= pref && load - pref < align && load % align == 0 : load == pref);
        MUST(strlen(w->cmdline) <= field(head, 0x238, 4));
        boot_world_holds(w, load, syssize, (sects + 1) * 512);
        /* What the guest is handed says where the kernel is, and has the sentinel that boot.rst asks for. */
        MUST(field(guest_ram_at(&w->ram, entry->info, 4096), 0x214, 4) == load);
        MUST(field(guest_ram_at(&w->ram, entry->info, 4096), 0x1ef, 1) == 0);
        boot_world_check(w, entry, load + need, field(head, 0x22c, 4) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct boot_world w; /* too large for a stack */
        struct reader input = {data, len};
        struct boot_entry entry;

        boot_world_open(&w, &input);
        if (w.image_len >= 0x206) /* the magic is not what is to be found here */
                memcpy(w.image + 0x202, "HdrS", 4);
        if (boot_world_load(&w, &entry) == 0)
                check(&w, &entry);
        boot_world_close(&w);
        return 0;
}
