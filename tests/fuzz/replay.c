/* Runs a target on every file of the directories given: what fuzzing has found worth keeping. Fails where there is
 * nothing to run. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX (1U << 16) /* bytes: no corpus has larger files */

static void file_run(const char *path)
{
        FILE *f = fopen(path, "rbe");
        uint8_t *buf = malloc(INPUT_MAX), *exact;
        size_t len;

        if (!f || !buf) {
                perror(path);
                exit(1);
        }
        len = fread(buf, 1, INPUT_MAX, f);
        if (ferror(f) || fgetc(f) != EOF) {
                fprintf(stderr, "%s: unreadable, or larger than %u bytes\n", path, INPUT_MAX);
                exit(1);
        }
        fclose(f);
        exact = malloc(len); /* a read past its end is one that the sanitizer sees */
        if (len > 0)
                memcpy(exact, buf, len);
        free(buf);
        fprintf(stderr, "%s\n", path); /* the last one named is the one that fails */
        (void)LLVMFuzzerTestOneInput(exact, len);
        free(exact);
}

static unsigned int directory_run(const char *directory)
{
        struct dirent **entries;
        int n = scandir(directory, &entries, NULL, alphasort);
        unsigned int count = 0;

        if (n < 0) {
                perror(directory);
                exit(1);
        }
        for (int i = 0; i < n; i++) {
                char path[4096];

                if (entries[i]->d_name[0] != '.') {
                        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
                        file_run(path);
                        count++;
                }
                free(entries[i]);
        }
        free(entries);
        return count;
}

int main(int argc, char *argv[])
{
        unsigned int count = 0;

        for (int i = 1; i < argc; i++)
                count += directory_run(argv[i]);
        if (count == 0) {
                fprintf(stderr, "no inputs to replay\n");
                return 1;
        }
        printf("%u inputs\n", count);
        return 0;
}
