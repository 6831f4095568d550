/* The other programs of this build stand beside this one, or in libexec of the same installation. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Opens program name for execveat(2) or fexecve(3). Returns an fd (close-on-exec) or a negative errno. */
int beside_open(const char *name, struct err *e);
