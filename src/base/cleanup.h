/* Cleanup by scope, and moving ownership out of a scope. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Closes *fd unless it is negative, keeps errno, leaves -1 behind. */
static inline void fd_closep(int *fd)
{
        int saved = errno;

        if (*fd >= 0)
                close(*fd);
        *fd = -1;
        errno = saved;
}

static inline void freep(void *p)
{
        int saved = errno;
        void **pp = p;

        free(*pp);
        *pp = NULL;
        errno = saved;
}

#define _cleanup_fd_   _cleanup_(fd_closep)
#define _cleanup_free_ _cleanup_(freep)

#define TAKE(p, none)                        \
        ({                                   \
                __typeof__(p) *_pp = &(p);   \
                __typeof__(p) _taken = *_pp; \
                *_pp = (none);               \
                _taken;                      \
        })
#define TAKE_FD(fd) TAKE(fd, -1)
#define TAKE_PTR(p) TAKE(p, NULL)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
