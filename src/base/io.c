#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int io_write_all(int fd, const void *buf, size_t len)
{
        const char *p = buf;

        while (len > 0) {
                ssize_t n = write(fd, p, len);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                len -= (size_t)n;
        }
        return 0;
}

int io_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
        char *p = buf;

        if (off > INT64_MAX || len > (uint64_t)INT64_MAX - off)
                return -ENODATA;
        while (len > 0) {
                ssize_t n = pread(fd, p, len, (off_t)off);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        return -ENODATA;
                p += n;
                off += (uint64_t)n;
                len -= (size_t)n;
        }
        return 0;
}

ssize_t io_read_file_at(int dirfd, const char *path, char *buf, size_t size)
{
        _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        size_t used = 0;

        if (fd < 0)
                return -errno;
        for (;;) {
                ssize_t n;

                if (used == size)
                        return -EFBIG;
                n = read(fd, buf + used, size - used);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        if (used > 0 && buf[used - 1] == '\n')
                used--;
        buf[used] = '\0';
        return (ssize_t)used;
}

int io_write_file_at(int dirfd, const char *path, const char *text)
{
        _cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return io_write_all(fd, text, strlen(text));
}
