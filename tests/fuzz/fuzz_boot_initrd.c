/*
 * The hand-over, after any kernel that a loader could have accepted: initrd placement, command line, memory map, in
 * both protocols. The input is a few numbers, and BOOT_PARAMETERS.
 */
#include <string.h>
#include <sys/mman.h>

#include "boot_world.h"
#include "vmm/x86_64/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct boot_world w; /* too large for a stack */
        struct reader input = {data, len}, r;
        struct boot_params bp = {0};
        struct boot_kernel k = {0};
        struct boot_entry entry;
        struct err e = ERR_INIT;
        uint64_t ram_end, top, bottom;
        bool pvh, fits;
        int result;

        boot_world_open(&w, &input);
        r = (struct reader){w.image, w.image_len};
        ram_end = w.ram.regions[0].len_bytes;
        pvh = read_u8(&r) & 1;
        k.end = read_in(&r, MIB + 1, ram_end);
        k.initrd_end_max = read_u32(&r) + (uint64_t)(read_u8(&r) & 1);
        k.cmdline_len_max = read_u16(&r);
        k.entry = MIB;

        /* What has to fit, counted in pages. */
        top = (k.initrd_end_max < ram_end ? k.initrd_end_max : ram_end) / 4096;
        bottom = (k.end + 4095) / 4096;
        fits = bottom <= top && (w.initrd_len + 4095) / 4096 <= top - bottom;

        result = pvh ? boot_pvh_hand_over(&w.request, &k, &e) : boot_linux_hand_over(&w.request, &k, &bp, &e);
        if (w.ram.len_bytes <= 64 * MIB)
                MUST(mincore(w.ram.regions[0].host, w.ram.len_bytes, w.resident) == 0);
        if (strlen(w.cmdline) > k.cmdline_len_max || strlen(w.cmdline) >= BOOT_CMDLINE_MAX ||
            (w.initrd_len > 0 && !fits)) {
                must_be_error(&e, result, STATUS_BIT(STATUS_IMAGE));
        } else {
                MUST(result == 0);
                entry = (struct boot_entry){pvh ? BOOT_PVH : BOOT_LINUX64, k.entry,
                                            pvh ? LAYOUT_PVH_INFO : LAYOUT_ZERO_PAGE};
                boot_world_check(&w, &entry, k.end, k.initrd_end_max);
        }
        boot_world_close(&w);
        return 0;
}
