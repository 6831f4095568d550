#include "boot.h"

#include <stddef.h>

#define START_INFO_MAGIC 0x336ec578U /* "xEn3", bit 31 of the E set */
#define MAPPED_END       0x100000000ULL

/* struct hvm_start_info, version 1 (Xen, xen/include/public/arch-x86/hvm/start_info.h) */
struct start_info {
        uint32_t magic, version, flags, modules;
        uint64_t modules_addr, cmdline_addr, rsdp_addr, memmap_addr;
        uint32_t memmap_entries, reserved;
};

static void copy_cmdline(const char *src, char *ret)
{
        size_t i = 0;

        for (; i < BOOT_CMDLINE_MAX - 1 && src[i]; i++)
                ret[i] = src[i];
        ret[i] = '\0';
}

bool boot_read(uint64_t start_info, struct boot_info *ret)
{
        const struct start_info *info = (const struct start_info *)start_info;

        if (info->magic != START_INFO_MAGIC || info->version < 1 || info->memmap_entries > BOOT_MEMMAP_MAX ||
            info->memmap_entries == 0 || info->memmap_addr >= MAPPED_END || info->cmdline_addr >= MAPPED_END)
                return false;
        for (unsigned int i = 0; i < info->memmap_entries; i++)
                ret->memmap[i] = ((const struct boot_memmap_entry *)info->memmap_addr)[i];
        ret->memmap_entries = info->memmap_entries;
        if (info->cmdline_addr)
                copy_cmdline((const char *)info->cmdline_addr, ret->cmdline);
        return true;
}

const char *boot_option(const struct boot_info *boot, const char *name)
{
        for (const char *word = boot->cmdline; *word;) {
                size_t n = 0;

                while (name[n] && word[n] == name[n])
                        n++;
                if (!name[n] && word[n] == '=')
                        return word + n + 1;
                if (!name[n] && (word[n] == '\0' || word[n] == ' '))
                        return "";
                while (*word && *word != ' ')
                        word++;
                while (*word == ' ')
                        word++;
        }
        return NULL;
}

uint64_t boot_option_number(const struct boot_info *boot, const char *name, uint64_t otherwise)
{
        const char *text = boot_option(boot, name);
        uint64_t value = 0;

        if (!text || *text < '0' || *text > '9')
                return otherwise;
        for (; *text >= '0' && *text <= '9'; text++)
                value = value * 10 + (uint64_t)(*text - '0');
        return *text == '\0' || *text == ' ' ? value : otherwise;
}

uint64_t boot_ram_bytes(const struct boot_info *boot)
{
        uint64_t sum = 0;

        for (unsigned int i = 0; i < boot->memmap_entries; i++) {
                if (boot->memmap[i].type == BOOT_MEMMAP_RAM)
                        sum += boot->memmap[i].size;
        }
        return sum;
}
