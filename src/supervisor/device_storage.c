#include "supervisor/device_storage.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <sys/resource.h>

#include "spec/device_fds.h"
#include "spec/storage.h"

extern const struct jail_policy policy_storage_setup;

const struct device_role device_role_storage = {
        .number = 2,
        .virtio_id = VIRTIO_ID_BLOCK,
        .program = STORAGE_NAME,
        .policy = &policy_storage_setup,
        .without_layers = LAYER_BIT(LAYER_ROOT),
        .tasks = 2 + 64 + 2, /* the main thread, one that gives memory back; its pool, some of which may be ending */
        .file_size_bytes = RLIM_INFINITY,
};

int device_storage_allow(const struct guest_spec *spec, const struct device *dv, struct err *e)
{
        if (!spec->require_all_layers)
                return 0;
        err_bad(e, STATUS_ISOLATION,
                "the root of the process for disk %s, which is in format qcow2, would not be empty", dv->id);
        err_hint(e, "make a raw image of it with qemu-img convert -O raw, or leave out --require-all-layers");
        return -EPERM;
}

static const char *on_if(bool condition)
{
        return condition ? "true" : "false";
}

/*
 * Nothing is left to guess: both formats are said, the file has no other below it, and locks are not its matter,
 * because the supervisor has one, on the same open file description, also while no process is there (disk.h).
 * writethrough is for drivers that cannot flush, which the program would not notice.
 */
void device_storage_request(const struct storage_program *p, const struct device *dv, struct jail_request *req)
{
        static char file[256], image[256], export[192];
        static char *argv[] = {(char *)(uintptr_t)STORAGE_NAME,
                               (char *)(uintptr_t) "--blockdev",
                               file,
                               (char *)(uintptr_t) "--blockdev",
                               image,
                               (char *)(uintptr_t) "--export",
                               export,
                               NULL};
        /* The last one: else the C library would ask the host's files how many processors there are. */
        static char *envp[] = {(char *)(uintptr_t) "LD_LIBRARY_PATH=" STORAGE_LIBRARIES,
                               (char *)(uintptr_t) "LD_PRELOAD=" STORAGE_LIBRARIES "/" STORAGE_SEAL,
                               (char *)(uintptr_t) "MALLOC_ARENA_MAX=4", NULL};
        const char *const read_only = on_if(dv->disk->read_only), *const direct = on_if(dv->disk->direct);

        snprintf(file, sizeof(file),
                 "{\"driver\":\"file\",\"node-name\":\"file\",\"filename\":\"" STORAGE_IMAGE "\",\"locking\":\"off\","
                 "\"aio\":\"threads\",\"discard\":\"unmap\",\"read-only\":%s,\"cache\":{\"direct\":%s}}",
                 read_only, direct);
        snprintf(image, sizeof(image),
                 "{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"file\":\"file\",\"backing\":null,"
                 "\"discard\":\"unmap\",\"read-only\":%s,\"cache\":{\"direct\":%s}}",
                 read_only, direct);
        snprintf(export, sizeof(export),
                 "{\"type\":\"vhost-user-blk\",\"id\":\"export\",\"node-name\":\"disk\",\"writable\":%s,"
                 "\"writethrough\":true,\"num-queues\":%u,\"addr\":{\"type\":\"fd\",\"str\":\"%d\"}}",
                 on_if(!dv->disk->read_only), dv->queues, DEVICE_FD_FRONTEND);
        req->argv = argv;
        req->envp = envp;
        req->program_fd = p->program_fd;
        req->own_root = true;
        req->root_fd = p->root_fd;
}
