#include "supervisor/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

/* qapi/block-core.json and include/block/block-common.h of QEMU: the numbers of the permissions. */
enum { PERM_CONSISTENT_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3 };

#define LOCK_USED     100
#define LOCK_UNSHARED 200

/* A reader shares reading alone; a writer, too, but it is itself what no reader lets happen. */
static const int unshared[] = {PERM_WRITE, PERM_RESIZE};
static const int used_to_read[] = {PERM_CONSISTENT_READ};
static const int used_to_write[] = {PERM_CONSISTENT_READ, PERM_WRITE, PERM_RESIZE};

static int byte_lock(int fd, int base, int permission)
{
        struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = base + permission, .l_len = 1};

        return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

/* Would a lock of ours alone be possible? Ours of the same open file description do not count. */
static int byte_test(int fd, int base, int permission)
{
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + permission, .l_len = 1};

        if (fcntl(fd, F_OFD_GETLK, &l) < 0)
                return -errno;
        return l.l_type == F_UNLCK ? 0 : -EBUSY;
}

static int image_lock(int fd, bool read_only)
{
        const int *used = read_only ? used_to_read : used_to_write;
        const size_t used_count = read_only ? ARRAY_LEN(used_to_read) : ARRAY_LEN(used_to_write);
        int r = 0;

        /* First lock, then look: of two that come at the same time at least one sees the other. */
        for (size_t i = 0; i < used_count && r == 0; i++)
                r = byte_lock(fd, LOCK_USED, used[i]);
        for (size_t i = 0; i < ARRAY_LEN(unshared) && r == 0; i++)
                r = byte_lock(fd, LOCK_UNSHARED, unshared[i]);
        for (size_t i = 0; i < used_count && r == 0; i++)
                r = byte_test(fd, LOCK_UNSHARED, used[i]);
        for (size_t i = 0; i < ARRAY_LEN(unshared) && r == 0; i++)
                r = byte_test(fd, LOCK_USED, unshared[i]);
        return r == -EAGAIN || r == -EACCES ? -EBUSY : r;
}

static int open_failed(const struct disk_spec *d, int r, struct err *e)
{
        err_set(e, r, "open the disk %s%s", d->path, d->read_only ? "" : " for writing");
        if (r == -EINVAL && d->direct)
                err_hint(e, "its file system may not know direct; try without");
        if (e)
                e->status = STATUS_IMAGE;
        return r;
}

/* What the path names, looked at before it is opened: opening some devices has effects. */
static int resource_find(const struct disk_spec *d, int *ret_fd, struct state_resource *ret, struct err *e)
{
        _cleanup_fd_ int fd = open(d->path, O_PATH | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return open_failed(d, -errno, e);
        if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
                return err_bad(e, STATUS_IMAGE, "the disk %s is neither a regular file nor a block device", d->path);
        *ret = (struct state_resource){.device = st.st_dev,
                                       .inode = st.st_ino,
                                       .block_device = S_ISBLK(st.st_mode) ? st.st_rdev : 0};
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int disk_open(const struct disk_spec *d, int *ret_fd, struct state_resource *ret_resource, struct err *e)
{
        /* O_EXCL: a block device that is mounted, or that somebody else has open so (open(2)). */
        int flags = O_CLOEXEC | O_NONBLOCK | (d->read_only ? O_RDONLY : O_RDWR | O_EXCL) | (d->direct ? O_DIRECT : 0);
        _cleanup_fd_ int path_fd = -1, fd = -1;
        char link[40];
        int r = resource_find(d, &path_fd, ret_resource, e);

        if (r < 0)
                return r;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
        fd = open(link, flags);
        if (fd < 0)
                return errno == EBUSY ? -EBUSY : open_failed(d, -errno, e);
        r = image_lock(fd, d->read_only);
        if (r < 0 && r != -EBUSY) {
                err_set(e, r, "lock the disk %s", d->path);
                if (e)
                        e->status = STATUS_IMAGE;
        }
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

/* How long guests that are just starting, and have said nothing of their disks yet, are waited for. */
#define OWNER_TIMEOUT_MS 2000
#define OWNER_PAUSE_MS   20

int disk_refuse(const struct disk_spec *d, const struct state_resource *resource, const struct state_dir *dir,
                const char *own, struct err *e)
{
        const struct timespec pause = {.tv_nsec = OWNER_PAUSE_MS * 1000000L};
        char name[SPEC_NAME_MAX] = "";
        bool starting = true;

        for (int ms = 0; ms < OWNER_TIMEOUT_MS && starting; ms += OWNER_PAUSE_MS) {
                if (ms > 0)
                        nanosleep(&pause, NULL);
                if (state_resource_owner(dir, own, resource, name, &starting))
                        break;
        }
        if (name[0])
                err_bad(e, STATUS_IMAGE, "the disk %s is in use by guest \"%s\"", d->path, name);
        else
                err_bad(e, STATUS_IMAGE, "the disk %s is in use: something else holds it", d->path);
        err_hint(e, d->read_only ? "it can be shared only while nobody writes it"
                                 : "it can be shared only by guests that all have it read-only");
        return -EBUSY;
}

static int size_ask(int fd, uint64_t *ret_bytes, bool *ret_is_file)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        *ret_is_file = S_ISREG(st.st_mode);
        *ret_bytes = (uint64_t)st.st_size;
        if (!*ret_is_file && ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
                return -errno;
        return 0;
}

int disk_grow(const struct disk_spec *d, int fd, uint64_t bytes, struct err *e)
{
        struct rlimit most;
        uint64_t now = 0;
        bool is_file = false;
        int r = size_ask(fd, &now, &is_file);

        if (r < 0)
                return err_set(e, r, "ask for the size of the disk %s", d->id);
        if (bytes % 512 != 0 || bytes > INT64_MAX)
                return err_bad(e, STATUS_USAGE, "the size of a disk must be a multiple of 512 bytes");
        if (bytes < now)
                return err_bad(e, STATUS_USAGE, "the disk %s has %" PRIu64 " bytes and cannot be made smaller", d->id,
                               now);
        if (bytes == now)
                return 0;
        if (!is_file)
                return err_bad(e, STATUS_USAGE, "the block device of the disk %s has only %" PRIu64 " bytes", d->id,
                               now);
        if (d->read_only)
                return err_bad(e, STATUS_USAGE, "the disk %s is read-only", d->id);
        /* Beyond it the kernel would send a signal (getrlimit(2)). */
        if (getrlimit(RLIMIT_FSIZE, &most) < 0)
                return err_set(e, -errno, "ask how large a file may be");
        if (bytes > most.rlim_cur)
                return err_set(e, -EFBIG, "make the disk %s larger", d->id);
        return ftruncate(fd, (off_t)bytes) < 0 ? err_set(e, -errno, "make the disk %s larger", d->id) : 0;
}
