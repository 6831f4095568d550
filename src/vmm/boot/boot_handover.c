/* What both boot protocols hand over: memory map, command line, initrd. */
#include <inttypes.h>
#include <string.h>

#include "vmm/boot/boot_internal.h"
#include "vmm/x86_64/layout.h"

gpa_t boot_low_ram_end(const struct guest_ram *ram)
{
        return ram->regions[0].base + ram->regions[0].len_bytes;
}

unsigned int boot_memory_map(const struct guest_ram *ram, struct boot_memory_range ret[BOOT_MEMORY_MAP_MAX])
{
        unsigned int n = 0;

        ret[n++] = (struct boot_memory_range){0, LAYOUT_LOW_RAM_END, BOOT_MEMORY_RAM};
        ret[n++] = (struct boot_memory_range){LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END,
                                              BOOT_MEMORY_RESERVED};
        for (unsigned int i = 0; i < ram->region_count; i++) {
                const struct ram_region *r = &ram->regions[i];
                gpa_t start = r->base < LAYOUT_HIGH_RAM ? LAYOUT_HIGH_RAM : r->base;
                gpa_t end = r->base + r->len_bytes;

                if (start < end)
                        ret[n++] = (struct boot_memory_range){start, end - start, BOOT_MEMORY_RAM};
                if (i == 0) /* between low RAM and what is above the hole */
                        ret[n++] = (struct boot_memory_range){LAYOUT_ECAM, LAYOUT_ECAM_SIZE, BOOT_MEMORY_RESERVED};
        }
        return n;
}

int boot_place_cmdline(const struct boot_request *req, const struct boot_kernel *k, struct err *e)
{
        uint64_t max = BOOT_CMDLINE_MAX - 1;
        size_t len = strlen(req->cmdline);
        int r;

        _Static_assert(BOOT_CMDLINE_MAX <= LAYOUT_CMDLINE_MAX, "the command line has room");
        if (k->cmdline_len_max < max)
                max = k->cmdline_len_max;
        if (len > max)
                return err_bad(e, STATUS_IMAGE,
                               "kernel command line has %zu bytes, this kernel takes %" PRIu64 "; shorten it", len,
                               max);
        r = guest_ram_write(req->ram, LAYOUT_CMDLINE, req->cmdline, len + 1);
        return r < 0 ? err_set(e, r, "put the command line into guest memory") : 0;
}

int boot_place_initrd(const struct boot_request *req, const struct boot_kernel *k, struct boot_range *ret,
                      struct err *e)
{
        gpa_t bottom = boot_align_up(k->end, BOOT_PAGE_BYTES);
        gpa_t top = boot_low_ram_end(req->ram);
        struct boot_file f;
        uint64_t room;
        gpa_t start;
        int r;

        if (req->initrd_fd < 0) {
                *ret = (struct boot_range){0};
                return 0;
        }
        r = boot_file_init(&f, req->initrd_fd, "initrd", e);
        if (r < 0)
                return r;

        if (k->initrd_end_max < top)
                top = k->initrd_end_max;
        top = boot_align_down(top, BOOT_PAGE_BYTES);
        room = bottom < top ? top - bottom : 0;
        if (f.len_bytes > room)
                return err_bad(e, STATUS_IMAGE,
                               "initrd has %" PRIu64 " bytes, but above the kernel only %" PRIu64
                               " bytes of guest memory can hold it; give the guest more memory or a smaller "
                               "initrd",
                               f.len_bytes, room);

        /* Top, bottom and start are page aligned and the length fits, so start cannot fall below bottom. */
        start = boot_align_down(top - f.len_bytes, BOOT_PAGE_BYTES);
        r = boot_file_read_to_guest(&f, req->ram, start, f.len_bytes, 0, e);
        if (r < 0)
                return r;
        *ret = (struct boot_range){.start = start, .len_bytes = f.len_bytes};
        return 0;
}
