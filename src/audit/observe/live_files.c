/* Files of the live host, those of /proc and /sys above all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "audit/text.h"
#include "base/cleanup.h"

static int open2(int dirfd, const char *path, int flags, uint64_t resolve)
{
        struct open_how how = {.flags = (uint64_t)flags, .resolve = resolve};
        int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

/*
 * What is below /proc/PID/root belongs to a stranger, who may have put symbolic links there: from there on none is
 * followed, and nothing above is reached.
 */
static int path_open(struct live *l, const char *path, int flags)
{
        _cleanup_fd_ int root = -1;
        const char *rest;
        int dirfd, r = live_resolve(l, path, &dirfd, &rest);

        if (r < 0)
                return r;
        flags |= O_CLOEXEC;
        if (text_has_prefix(rest, "root/") && dirfd >= 0 && rest != path) {
                root = open2(dirfd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
                if (root < 0)
                        return root;
                return open2(root, rest + 5, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        }
        return open2(dirfd, rest, flags, 0);
}

/* Opens for reading what is a regular file or a directory, or with devices a block device: opening anything else can
 * wait for ever or have effects. */
static int path_open_read(struct live *l, const char *path, bool devices)
{
        _cleanup_fd_ int handle = path_open(l, path, O_PATH);
        char self[32];
        struct stat st;
        int fd;

        if (handle < 0)
                return handle;
        if (fstat(handle, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !(devices && S_ISBLK(st.st_mode)))
                return -ENXIO;
        snprintf(self, sizeof(self), "/proc/self/fd/%d", handle);
        fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int live_open_read(struct live *l, const char *path)
{
        return path_open_read(l, path, false);
}

static int fd_read(struct live *l, int fd, size_t max, bool cut, struct answer *ret)
{
        size_t room = 8192, len = 0;
        char *buf = malloc(room);
        int r = buf ? 0 : -ENOMEM;

        while (r == 0) {
                ssize_t n = read(fd, buf + len, (room < max ? room : max) - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        r = -errno;
                if (n <= 0)
                        break;
                len += (size_t)n;
                if (len == max) {
                        r = cut ? 0 : -EFBIG;
                        break;
                }
                if (len == room) {
                        char *more = realloc(buf, room * 2);

                        if (!more) {
                                r = -ENOMEM;
                                break;
                        }
                        buf = more;
                        room *= 2;
                }
        }
        if (r == 0) {
                ret->bytes = arena_copy(live_arena(l), buf, len);
                ret->len = len;
        }
        free(buf);
        return r;
}

static int answer_read(struct live *l, const char *path, struct answer *ret)
{
        _cleanup_fd_ int fd = path_open_read(l, path, false);

        return fd < 0 ? fd : fd_read(l, fd, OBSERVE_FILE_MAX, false, ret);
}

static int answer_head(struct live *l, const char *path, struct answer *ret)
{
        _cleanup_fd_ int fd = path_open_read(l, path, true);

        return fd < 0 ? fd : fd_read(l, fd, OBSERVE_HEAD_MAX, true, ret);
}

static int by_text(const void *a, const void *b)
{
        const char *x = *(char *const *)a, *y = *(char *const *)b;
        size_t n = strlen(x), k = strlen(y);
        bool numbers = strspn(x, "0123456789") == n && strspn(y, "0123456789") == k;

        return numbers && n != k ? (n > k) - (n < k) : strcmp(x, y);
}

static int answer_list(struct live *l, const char *path, struct answer *ret)
{
        struct arena *a = live_arena(l);
        struct name_list names = {0};
        struct dirent *entry;
        size_t bytes = 0;
        int fd = path_open_read(l, path, false);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        int r = 0;

        if (!dir) {
                r = fd < 0 ? fd : -errno;
                fd_closep(&fd);
                return r;
        }
        errno = 0;
        while (names.count <= OBSERVE_LIST_MAX && (entry = readdir(dir))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                        char *name = text_escape(a, entry->d_name, strlen(entry->d_name));

                        *GROW(a, &names) = name;
                        bytes += strlen(name) + 1;
                }
                errno = 0;
        }
        r = names.count > OBSERVE_LIST_MAX ? -E2BIG : -errno;
        closedir(dir);
        if (r < 0)
                return r;
        if (names.count > 0)
                qsort(names.items, names.count, sizeof(names.items[0]), by_text);
        ret->bytes = arena_alloc(a, bytes + 1);
        for (size_t i = 0; i < names.count; i++) {
                size_t n = strlen(names.items[i]);

                memcpy(ret->bytes + ret->len, names.items[i], n);
                ret->bytes[ret->len + n] = '\n';
                ret->len += n + 1;
        }
        return 0;
}

static int answer_link(struct live *l, const char *path, struct answer *ret)
{
        char target[4096];
        const char *rest;
        ssize_t n;
        int dirfd, r = live_resolve(l, path, &dirfd, &rest);

        if (r < 0)
                return r;
        if (text_has_prefix(rest, "root/") && rest != path) { /* of a stranger's tree: the link itself is opened */
                _cleanup_fd_ int fd = path_open(l, path, O_PATH | O_NOFOLLOW);

                if (fd < 0)
                        return fd;
                n = readlinkat(fd, "", target, sizeof(target));
        } else
                n = readlinkat(dirfd, rest, target, sizeof(target));
        if (n < 0)
                return -errno;
        ret->bytes = arena_copy(live_arena(l), target, (size_t)n);
        ret->len = (size_t)n;
        return 0;
}

static int stat_answer(struct live *l, const char *path, int flags, struct answer *ret)
{
        _cleanup_fd_ int fd = path_open(l, path, O_PATH | flags);
        struct stat st;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        return live_answer(l, ret, "%o %u %u %u:%u %" PRIu64 " %u:%u %" PRIu64 " %" PRIu64 " %" PRId64, st.st_mode,
                           st.st_uid, st.st_gid, major(st.st_dev), minor(st.st_dev), (uint64_t)st.st_ino,
                           major(st.st_rdev), minor(st.st_rdev), (uint64_t)st.st_size, (uint64_t)st.st_nlink,
                           (int64_t)st.st_mtim.tv_sec);
}

static int answer_stat(struct live *l, const char *path, struct answer *ret)
{
        return stat_answer(l, path, 0, ret);
}

static int answer_lstat(struct live *l, const char *path, struct answer *ret)
{
        return stat_answer(l, path, O_NOFOLLOW, ret);
}

/* The value of system.posix_acl_access: linux/posix_acl_xattr.h, a version and entries of tag, permissions, id. */
static int answer_acl(struct live *l, const char *path, struct answer *ret)
{
        static const char *const tags[] = {
                [0] = "user_obj", [1] = "user", [2] = "group_obj", [3] = "group", [4] = "mask", [5] = "other"};
        _cleanup_fd_ int fd = path_open(l, path, O_PATH);
        unsigned char value[4 + 8 * 64];
        char self[32], *text = arena_text(live_arena(l), "");
        ssize_t n;

        if (fd < 0)
                return fd;
        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        n = getxattr(self, "system.posix_acl_access", value, sizeof(value));
        if (n < 0)
                return errno == EOPNOTSUPP ? -ENODATA : -errno;
        for (ssize_t i = 4; i + 8 <= n; i += 8) {
                unsigned int tag = value[i] | (unsigned int)value[i + 1] << 8, perm = value[i + 2];
                uint32_t id = value[i + 4] | (uint32_t)value[i + 5] << 8 | (uint32_t)value[i + 6] << 16 |
                              (uint32_t)value[i + 7] << 24;
                int bit = tag ? __builtin_ctz(tag) : 6;

                text = arena_printf(live_arena(l), "%s%s:%u:%c%c%c\n", text, bit < 6 ? tags[bit] : "?", id,
                                    perm & 4 ? 'r' : '-', perm & 2 ? 'w' : '-', perm & 1 ? 'x' : '-');
        }
        ret->bytes = text;
        ret->len = strlen(text);
        return 0;
}

const struct live_verb live_file_verbs[] = {
        {"read", answer_read}, {"head", answer_head},   {"list", answer_list}, {"link", answer_link},
        {"stat", answer_stat}, {"lstat", answer_lstat}, {"acl", answer_acl},   {NULL, NULL},
};
