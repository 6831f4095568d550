/*
 * attempt-once ID NAME=VALUE...: makes one attempt where it stands, without any jail, and prints the result. It shows
 * that an attempt which the jail makes fail would reach its target otherwise.
 */
#include <stdio.h>
#include <string.h>

#include "escape.h"

int main(int argc, char *argv[])
{
        const struct attempt *attempt = argc > 1 ? attempt_find(argv[1]) : NULL;
        struct attempt_target target = {0};
        struct attempt_result result;
        char line[256];

        if (!attempt)
                return 2;
        for (int i = 2; i < argc; i++) {
                char *value = strchr(argv[i], '=');

                if (!value)
                        return 2;
                *value++ = '\0';
                target_set(&target, argv[i], value);
        }
        result = attempt->make(&target, attempt);
        result_line(&result, line, sizeof(line));
        return fputs(line, stdout) < 0;
}
