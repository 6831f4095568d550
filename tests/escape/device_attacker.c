/*
 * A device's program as if it were taken over: once its own filter is in force, it makes the attempt that the words
 * from its supervisor name (tests/leave_out), and nothing else happens any more.
 *
 *   role=rng|blk attempt=ID     which of the guest's devices makes which attempt (src/attempts)
 *
 * What the attacker knows of the host follows as name=value, see target_set(). The answer is why the device cannot
 * start, which its supervisor says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "escape.h"
#include "leave_out.h"
#include "spec/control.h"
#include "spec/device_fds.h"

#define PAGE 4096

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

static char words[LEAVE_OUT_WORDS_MAX]; /* the target points into it */
static struct attempt_target target;
static const struct attempt *attempt;
static bool by_this_role;

static void word_take(const char *name, const char *value)
{
        if (strcmp(name, "attempt") == 0)
                attempt = attempt_find(value);
        else if (strcmp(name, "role") == 0)
                by_this_role = strcmp(value, ESCAPE_ROLE) == 0;
        else
                target_set(&target, name, value);
}

/* Nobody has sent it the guest's memory yet: what is mapped here is of the same kind, made as an in-flight region is.
 */
static void *memory_like_the_guests(void)
{
        int fd = (int)syscall(SYS_memfd_create, "inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        void *at;

        if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
                fd = (int)syscall(SYS_memfd_create, "inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, PAGE) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return NULL;
        at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        return at == MAP_FAILED ? NULL : at;
}

void leave_out_after_filter(const struct jail_policy *policy)
{
        struct attempt_result result;
        struct err e = ERR_INIT;
        char line[256];

        (void)policy; /* its only one */
        snprintf(words, sizeof(words), "%s", leave_out_words);
        words_take(words, word_take);
        if (!attempt || !by_this_role)
                return;
        target.ram = memory_like_the_guests();
        result = attempt->make(&target, attempt);
        result_line(&result, line, sizeof(line));
        line[strcspn(line, "\n")] = '\0';
        err_bad(&e, STATUS_FAILURE, "%s", line);
        (void)control_send_failed(DEVICE_FD_CONTROL, &e); /* nobody else to tell */
        _exit(STATUS_OK);
}
