/* See boot_world.h. */
#include "boot_world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/x86_64/layout.h"

#define GUARD      4096ULL
#define RSDP       LAYOUT_ACPI
#define INITRD_MAX (2 * MIB) /* more than a small guest has room for */
#define FILE_MAX   (1 * MIB)
#define SMALL_MAX  (64 * MIB) /* of a guest whose pages are all looked at */

/* As zero-page.rst and start_info.h have them. */
#define E820_ENTRIES 0x1e8
#define E820_TABLE   0x2d0
struct e820_entry {
        uint64_t start, len;
        uint32_t type;
} __attribute__((packed));

struct start_info {
        uint32_t magic, version, flags, nr_modules;
        uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
        uint32_t memmap_entries, reserved;
};
struct module {
        uint64_t paddr, size, cmdline_paddr, reserved;
};
struct memmap_entry {
        uint64_t start, len;
        uint32_t type, reserved;
};

/* RAM as guest_ram_map() lays it out, between two pages that nothing may touch. */
static void ram_open(struct guest_ram *ram, uint64_t len)
{
        uint64_t below = len < LAYOUT_HOLE_START ? len : LAYOUT_HOLE_START;
        uint8_t *p = mmap(NULL, len + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        MUST(p != MAP_FAILED);
        p += GUARD;
        MUST(mprotect(p, len, PROT_READ | PROT_WRITE) == 0);
        (void)madvise(p, len, MADV_NOHUGEPAGE); /* a kernel without huge pages does not know it */
        *ram = (struct guest_ram){.len_bytes = len, .region_count = len > below ? 2 : 1};
        ram->regions[0] = (struct ram_region){0, below, p};
        ram->regions[1] = (struct ram_region){LAYOUT_HOLE_END, len - below, p + below};
}

static int file_open(const char *name, const void *bytes, size_t len, uint64_t file_len)
{
        int fd = memfd_create(name, MFD_CLOEXEC);

        MUST(fd >= 0);
        MUST(pwrite(fd, bytes, len, 0) == (ssize_t)len);
        MUST(ftruncate(fd, (off_t)file_len) == 0);
        return fd;
}

static uint8_t initrd_byte(uint64_t i)
{
        return (uint8_t)(i * 31 + i / 4096 + 1);
}

/* Only its beginning and its end are not zero: the middle costs nothing. */
static int initrd_open(uint64_t len)
{
        uint8_t bytes[64];
        int fd = file_open("initrd", NULL, 0, len);

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = initrd_byte(i);
        MUST(pwrite(fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), 0) > 0);
        if (len >= 2 * sizeof(bytes))
                MUST(pwrite(fd, bytes, sizeof(bytes), (off_t)(len - sizeof(bytes))) == (ssize_t)sizeof(bytes));
        return fd;
}

void boot_world_open(struct boot_world *w, struct reader *input)
{
        struct reader p = read_tail(input, BOOT_PARAMETERS);
        uint16_t memory = read_u16(&p);
        uint32_t file_len = read_u32(&p), initrd_len = read_u32(&p);
        size_t cmdline_len = read_in(&p, 0, sizeof(w->cmdline) - 1);
        uint8_t how = read_u8(&p);
        bool large = how & 1;

        memset(w, 0, sizeof(*w));
        /* 2 to 64 MiB by pages, or around the PCI hole. */
        ram_open(&w->ram, large ? LAYOUT_HOLE_START + memory * BOOT_PAGE_BYTES - 128 * MIB
                                : 2 * MIB + memory % ((SMALL_MAX - 2 * MIB) / BOOT_PAGE_BYTES + 1) * BOOT_PAGE_BYTES);
        w->image_len = input->len;
        w->image = (uint8_t *)read_text(input);
        w->file_len = w->image_len + file_len % FILE_MAX;
        w->initrd_len = initrd_len % (how & 2 ? INITRD_MAX : 4 * BOOT_PAGE_BYTES); /* large ones take long to read */
        memset(w->cmdline, 'c', cmdline_len);
        w->request = (struct boot_request){
                .ram = &w->ram,
                .kernel_fd = -1,
                .initrd_fd = w->initrd_len > 0 ? initrd_open(w->initrd_len) : -1,
                .cmdline = w->cmdline,
                .rsdp = RSDP,
        };
}

void boot_world_close(struct boot_world *w)
{
        fd_closep(&w->request.kernel_fd);
        fd_closep(&w->request.initrd_fd);
        free(w->image);
        munmap(w->ram.regions[0].host - GUARD, w->ram.len_bytes + 2 * GUARD);
}

int boot_world_load(struct boot_world *w, struct boot_entry *ret)
{
        const struct boot_entry untouched = {.protocol = BOOT_PVH, .entry = 0x1234, .info = 0x5678};
        struct err e = ERR_INIT;
        int r;

        *ret = untouched;
        w->request.kernel_fd = file_open("kernel", w->image, w->image_len, w->file_len);
        r = boot_load(&w->request, ret, &e);
        /* Now, before anything is read there: that touches a page too. */
        if (w->ram.len_bytes <= SMALL_MAX)
                MUST(mincore(w->ram.regions[0].host, w->ram.len_bytes, w->resident) == 0);
        if (r == 0)
                return 0;
        must_be_error(&e, r, STATUS_BIT(STATUS_IMAGE));
        MUST(memcmp(ret, &untouched, sizeof(untouched)) == 0);
        return r;
}

static void explain(struct boot_world *w, gpa_t gpa, uint64_t len)
{
        MUST(w->written_count < ARRAY_LEN(w->written));
        w->written[w->written_count++] = (struct boot_range){gpa, len};
}

void boot_world_holds(struct boot_world *w, gpa_t gpa, uint64_t len, uint64_t off)
{
        const uint8_t *p = guest_ram_at(&w->ram, gpa, len);
        uint64_t from_image = off < w->image_len ? w->image_len - off : 0;

        MUST(p && gpa >= LAYOUT_HIGH_RAM);
        MUST(off <= w->file_len && len <= w->file_len - off);
        explain(w, gpa, len);
        if (from_image > len)
                from_image = len;
        MUST(from_image == 0 || memcmp(p, w->image + off, from_image) == 0);
        if (len > from_image)
                MUST(p[from_image] == 0 && p[len - 1] == 0);
}

static void check_initrd(struct boot_world *w, gpa_t start, uint64_t len, gpa_t kernel_end, uint64_t end_max)
{
        const uint8_t *p = guest_ram_at(&w->ram, start, len);

        MUST(len == w->initrd_len);
        if (len == 0)
                return;
        MUST(p && start % BOOT_PAGE_BYTES == 0);
        MUST(start >= kernel_end && start >= LAYOUT_HIGH_RAM);
        MUST(start + len <= end_max && start + len <= LAYOUT_HOLE_START);
        for (size_t i = 0; i < 64 && i < len; i++)
                MUST(p[i] == initrd_byte(i));
        for (size_t i = 0; i < 64 && len >= 128; i++)
                MUST(p[len - 64 + i] == initrd_byte(i));
        explain(w, start, len);
}

/* In order, without overlap, only RAM is called RAM, and all of it but the first MiB's end; the ECAM is reserved. */
static void check_memory_map(const struct boot_world *w, const struct memmap_entry *map, size_t count)
{
        uint64_t end = 0, ram = 0;
        unsigned int ecams = 0;

        MUST(count >= 3 && count <= 5);
        for (size_t i = 0; i < count; i++) {
                MUST(map[i].len > 0 && map[i].start >= end);
                end = map[i].start + map[i].len;
                MUST(end > map[i].start);
                MUST(map[i].type == BOOT_MEMORY_RAM || map[i].type == BOOT_MEMORY_RESERVED);
                if (map[i].start == LAYOUT_ECAM) {
                        MUST(map[i].len == LAYOUT_ECAM_SIZE && map[i].type == BOOT_MEMORY_RESERVED);
                        ecams++;
                        continue;
                }
                MUST(guest_ram_at(&w->ram, map[i].start, map[i].len));
                if (map[i].type == BOOT_MEMORY_RAM)
                        ram += map[i].len;
                else
                        MUST(end == LAYOUT_HIGH_RAM && map[i].start == LAYOUT_LOW_RAM_END);
        }
        MUST(ecams == 1);
        MUST(ram == w->ram.len_bytes - (LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END));
}

static void check_linux(struct boot_world *w, gpa_t kernel_end, uint64_t initrd_end_max)
{
        const uint8_t *bp = guest_ram_at(&w->ram, LAYOUT_ZERO_PAGE, sizeof(struct boot_params));
        struct memmap_entry map[8] = {0};
        uint32_t initrd[2], cmdline; /* 0x218 ramdisk_image, 0x21c ramdisk_size; 0x228 cmd_line_ptr */
        uint64_t rsdp;               /* 0x070 acpi_rsdp_addr */
        size_t count = bp[E820_ENTRIES];

        memcpy(initrd, bp + 0x218, sizeof(initrd));
        memcpy(&cmdline, bp + 0x228, sizeof(cmdline));
        memcpy(&rsdp, bp + 0x70, sizeof(rsdp));
        MUST(cmdline == LAYOUT_CMDLINE && rsdp == RSDP);
        MUST(count <= ARRAY_LEN(map));
        for (size_t i = 0; i < count; i++) {
                struct e820_entry entry;

                memcpy(&entry, bp + E820_TABLE + i * sizeof(entry), sizeof(entry));
                map[i] = (struct memmap_entry){entry.start, entry.len, entry.type, 0};
        }
        check_memory_map(w, map, count);
        explain(w, LAYOUT_ZERO_PAGE, sizeof(struct boot_params));
        check_initrd(w, initrd[0], initrd[1], kernel_end, initrd_end_max);
}

static void check_pvh(struct boot_world *w, gpa_t kernel_end, uint64_t initrd_end_max)
{
        const struct start_info *info = guest_ram_at(&w->ram, LAYOUT_PVH_INFO, sizeof(*info));
        const struct module *m;
        const struct memmap_entry *map;

        MUST(info->magic == 0x336ec578 && info->version == 1 && info->flags == 0);
        MUST(info->cmdline_paddr == LAYOUT_CMDLINE && info->rsdp_paddr == RSDP);
        MUST(info->nr_modules == (w->initrd_len > 0));
        map = guest_ram_at(&w->ram, info->memmap_paddr, info->memmap_entries * sizeof(*map));
        MUST(map);
        check_memory_map(w, map, info->memmap_entries);
        explain(w, LAYOUT_PVH_INFO, LAYOUT_ZERO_PAGE - LAYOUT_PVH_INFO);
        if (w->initrd_len == 0)
                return;
        m = guest_ram_at(&w->ram, info->modlist_paddr, sizeof(*m));
        MUST(m);
        check_initrd(w, m->paddr, m->size, kernel_end, initrd_end_max);
}

/* Nothing is in a page that nobody has explained. */
static void check_pages(const struct boot_world *w)
{
        for (size_t page = 0; page < w->ram.len_bytes / BOOT_PAGE_BYTES; page++) {
                gpa_t start = page * BOOT_PAGE_BYTES;
                bool explained = false;

                if (!(w->resident[page] & 1))
                        continue;
                for (size_t i = 0; i < w->written_count && !explained; i++)
                        explained = w->written[i].start < start + BOOT_PAGE_BYTES &&
                                    start < w->written[i].start + w->written[i].len_bytes;
                MUST(explained);
        }
}

void boot_world_check(struct boot_world *w, const struct boot_entry *entry, gpa_t kernel_end, uint64_t initrd_end_max)
{
        size_t len = strlen(w->cmdline);
        const char *cmdline;

        MUST(kernel_end <= w->ram.regions[0].len_bytes);
        cmdline = guest_ram_at(&w->ram, LAYOUT_CMDLINE, len + 1);
        MUST(memcmp(cmdline, w->cmdline, len + 1) == 0);
        MUST(len < BOOT_CMDLINE_MAX);
        explain(w, LAYOUT_CMDLINE, len + 1);
        if (entry->protocol == BOOT_PVH) {
                MUST(entry->info == LAYOUT_PVH_INFO);
                check_pvh(w, kernel_end, initrd_end_max);
        } else {
                MUST(entry->info == LAYOUT_ZERO_PAGE);
                check_linux(w, kernel_end, initrd_end_max);
        }
        if (w->ram.len_bytes <= SMALL_MAX)
                check_pages(w);
}
