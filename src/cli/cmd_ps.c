#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/report.h"
#include "cli/report_options.h"
#include "state/state.h"

#define ROWS_MAX 65536 /* more guests than a host has ids for (STATE_IDS_DEFAULT_COUNT) */

static const char ps_help[] =
        "Usage: bulkhead ps [--json]\n\n"
        "Lists the guests of this host that live, and the devices alone. LAYERS tells whether a layer of isolation is\n"
        "missing, and how many devices are processes outside of the jail;\n"
        "bulkhead inspect NAME tells which.\n\n"
        "  --json  print JSON\n";

enum row_phase { ROW_RUNNING, ROW_DEVICE, ROW_STARTING, ROW_OTHER_VERSION }; /* ROW_DEVICE: one alone */

static const char *const phases[] = {"running", "device", "starting", "other version"};

struct row {
        char name[SPEC_NAME_MAX];
        enum row_phase phase;
        /* Of a running guest; some also of a device: */
        pid_t vmm;
        uint32_t vcpus, resets;
        uint64_t memory_bytes;
        int64_t started_unix;
        int absent;           /* layers, of all its processes */
        unsigned int outside; /* devices */
        uint32_t device_count;
        struct {
                char id[SPEC_ID_MAX];
                pid_t pid; /* 0: none */
                uint32_t restarts;
        } devices[VMM_DEVICES_MAX];
};

struct rows {
        struct row *list;
        size_t count, room;
};

static int row_add(struct rows *rows, const struct row *row, struct err *e)
{
        if (rows->count == ROWS_MAX)
                return err_set(e, -E2BIG, "list more than %d guests", ROWS_MAX);
        if (rows->count == rows->room) {
                size_t room = rows->room ? rows->room * 2 : 16;
                struct row *list = reallocarray(rows->list, room, sizeof(*list));

                if (!list)
                        return err_set(e, -ENOMEM, "list the guests");
                rows->list = list;
                rows->room = room;
        }
        rows->list[rows->count++] = *row;
        return 0;
}

/* A layer that any of the guest's processes does without is absent. */
static void row_devices(struct row *row, const struct guest_state *s)
{
        uint64_t layers = s->layers;

        row->device_count = s->device_count;
        for (uint32_t i = 0; i < s->device_count; i++) {
                const struct device_state *d = &s->devices[i];

                memcpy(row->devices[i].id, d->id, sizeof(d->id));
                row->devices[i].pid = d->process.pid;
                row->devices[i].restarts = d->restarts;
                row->outside += d->outside && !d->given_up;
                if (d->process.pid > 0 && d->layers)
                        layers &= d->layers;
        }
        row->absent = __builtin_popcountll(LAYERS_ALL & ~layers);
}

/* Returns false for what is no living guest. */
static bool row_read(const struct state_dir *d, const char *name, struct row *ret)
{
        struct row row = {.phase = ROW_RUNNING};
        struct guest_state s;
        int r;

        if (!guest_name_valid(name) || state_lock_owner(d, name) == 0)
                return false;
        snprintf(row.name, sizeof(row.name), "%s", name);
        r = state_read(d, name, &s);
        if (r < 0)
                row.phase = r == -ENOENT ? ROW_STARTING : ROW_OTHER_VERSION;
        else {
                row.phase = s.alone ? ROW_DEVICE : ROW_RUNNING;
                row.vmm = s.vmm.pid;
                row.vcpus = s.spec.vcpus;
                row.resets = s.resets;
                row.memory_bytes = s.spec.memory_bytes;
                row.started_unix = s.started_unix;
                row_devices(&row, &s);
        }
        *ret = row;
        return true;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static int rows_read(const struct state_dir *d, struct rows *rows, struct err *e)
{
        int fd = openat(d->guests_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        struct row row;
        int r = 0;

        if (!dir) {
                r = err_set(e, -errno, "list %s/guests", d->path);
                fd_closep(&fd);
                return r;
        }
        while (r == 0 && (entry = readdir(dir)))
                if (row_read(d, entry->d_name, &row))
                        r = row_add(rows, &row, e);
        closedir(dir);
        if (r == 0 && rows->count > 0)
                qsort(rows->list, rows->count, sizeof(rows->list[0]), by_name);
        return r;
}

static void print_table(const struct rows *rows)
{
        int name_width = (int)strlen("NAME");

        for (size_t i = 0; i < rows->count; i++)
                if ((int)strlen(rows->list[i].name) > name_width)
                        name_width = (int)strlen(rows->list[i].name);
        printf("%-*s  %8s  %5s  %9s  %8s  %6s  %7s  %s\n", name_width, "NAME", "PID", "VCPUS", "MEMORY", "UPTIME",
               "RESETS", "DEVICES", "LAYERS");
        for (size_t i = 0; i < rows->count; i++) {
                const struct row *row = &rows->list[i];
                char memory[32] = "-", uptime[32], vcpus[16] = "-", resets[16] = "-", layers[32] = "all";

                if (row->phase > ROW_DEVICE) {
                        printf("%-*s  %s\n", name_width, row->name, phases[row->phase]);
                        continue;
                }
                if (row->phase == ROW_RUNNING) {
                        snprintf(vcpus, sizeof(vcpus), "%u", row->vcpus);
                        snprintf(resets, sizeof(resets), "%u", row->resets);
                        snprintf(memory, sizeof(memory), "%" PRIu64 "M", row->memory_bytes >> 20);
                }
                duration_print(uptime, sizeof(uptime), (int64_t)time(NULL) - row->started_unix);
                if (row->absent)
                        snprintf(layers, sizeof(layers), "%d absent", row->absent);
                if (row->outside)
                        snprintf(layers + strlen(layers), sizeof(layers) - strlen(layers), ", %u outside",
                                 row->outside);
                printf("%-*s  %8d  %5s  %9s  %8s  %6s  %7u  %s\n", name_width, row->name, (int)row->vmm, vcpus, memory,
                       uptime, resets, row->device_count, layers);
        }
}

/* What a device alone does not have. */
static void print_json_guest(struct report *rep, const struct row *row, size_t i)
{
        report_integer(rep, row->vmm, "guests/%zu/vmm_pid", i);
        report_integer(rep, row->vcpus, "guests/%zu/vcpus", i);
        report_integer(rep, (int64_t)row->memory_bytes, "guests/%zu/memory_bytes", i);
        report_integer(rep, row->resets, "guests/%zu/resets", i);
}

static int print_json(const struct rows *rows, struct err *e)
{
        struct report rep;
        int r = report_open(&rep, e);

        if (r < 0)
                return r;
        report_array(&rep, "guests");
        for (size_t i = 0; i < rows->count; i++) {
                const struct row *row = &rows->list[i];

                report_text(&rep, row->name, "guests/%zu/name", i);
                report_text(&rep, phases[row->phase], "guests/%zu/phase", i);
                if (row->phase > ROW_DEVICE)
                        continue;
                if (row->phase == ROW_RUNNING)
                        print_json_guest(&rep, row, i);
                report_integer(&rep, row->started_unix, "guests/%zu/started_unix", i);
                report_integer(&rep, row->absent, "guests/%zu/layers_absent", i);
                report_integer(&rep, row->outside, "guests/%zu/devices_outside", i);
                report_array(&rep, "guests/%zu/devices", i);
                for (uint32_t k = 0; k < row->device_count; k++) {
                        report_text(&rep, row->devices[k].id, "guests/%zu/devices/%u/id", i, k);
                        report_integer(&rep, row->devices[k].pid, "guests/%zu/devices/%u/pid", i, k);
                        report_integer(&rep, row->devices[k].restarts, "guests/%zu/devices/%u/restarts", i, k);
                }
        }
        return report_print(&rep, e);
}

int cmd_ps(int argc, char *argv[], struct err *e)
{
        struct state_dir d = {.fd = -1, .guests_fd = -1, .ids_fd = -1};
        struct rows rows = {0};
        struct report_options o;
        int r = report_options_parse(argc, argv, false, &o, e);

        if (r == 0 && o.help) {
                fputs(ps_help, stdout);
                return STATUS_OK;
        }
        if (r == 0)
                r = state_dir_open(&d, e);
        if (r == 0)
                r = rows_read(&d, &rows, e);
        if (r == 0) {
                if (o.json)
                        r = print_json(&rows, e);
                else
                        print_table(&rows);
        }
        free(rows.list);
        state_dir_close(&d);
        return r < 0 ? (int)e->status : STATUS_OK;
}
