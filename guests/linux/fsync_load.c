/*
 * A load for tests of durability, run in a Linux guest: writes blocks of a file over and over and makes each durable,
 * and says on standard output what is durable by then.
 *
 * usage: fsync_load DIRECTORY BLOCKS ROUNDS
 *
 * A block is full of pairs of its index and its generation (two little-endian 64-bit numbers), which counts how often
 * it was written. Each round writes one to three blocks, calls fsync, and prints "ack INDEX GENERATION" for each of
 * them. Meanwhile other files are made, renamed and removed, so that the file system's journal has work. ROUNDS 0:
 * until it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 4096
#define BLOCKS_MAX  4096
#define TOGETHER    3

static uint64_t generations[BLOCKS_MAX];

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "fsync_load: %s: %s\n", what, strerror(errno));
        exit(1);
}

/* The next number of a fixed sequence (Knuth's MMIX), its good bits. */
static uint64_t number_next(uint64_t *state)
{
        *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
        return *state >> 33;
}

static void block_write(int fd, uint64_t index)
{
        static uint64_t block[BLOCK_BYTES / sizeof(uint64_t)];
        generations[index]++;
        for (size_t i = 0; i < BLOCK_BYTES / sizeof(uint64_t); i += 2) {
                block[i] = index;
                block[i + 1] = generations[index];
        }
        if (pwrite(fd, block, sizeof(block), (off_t)(index * BLOCK_BYTES)) != BLOCK_BYTES)
                fail("write");
}

/* Makes a file under one name and gives it another one, in the place of an older one. */
static void churn(uint64_t round)
{
        char name[32];
        snprintf(name, sizeof(name), "file%u", (unsigned)(round % 5));
        int fd = open("new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, name, sizeof(name)) < 0 || close(fd) < 0 || rename("new", name) < 0)
                fail(name);
        if (round % 7 == 0 && unlink(name) < 0)
                fail(name);
}

int main(int argc, char **argv)
{
        uint64_t blocks = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
        if (blocks < 1 || blocks > BLOCKS_MAX) {
                fputs("usage: fsync_load DIRECTORY BLOCKS ROUNDS\n", stderr);
                return 2;
        }
        uint64_t rounds = strtoull(argv[3], NULL, 10);
        if (chdir(argv[1]) < 0)
                fail(argv[1]);
        int fd = open("blocks", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                fail("blocks");
        uint64_t state = 1;
        for (uint64_t round = 0; rounds == 0 || round < rounds; round++) {
                uint64_t written[TOGETHER], count = 1 + number_next(&state) % TOGETHER;
                for (uint64_t i = 0; i < count; i++) {
                        written[i] = number_next(&state) % blocks;
                        block_write(fd, written[i]);
                }
                if (round % 3 == 0)
                        churn(round);
                if (fsync(fd) < 0)
                        fail("fsync");
                for (uint64_t i = 0; i < count; i++)
                        printf("ack %u %u\n", (unsigned)written[i], (unsigned)generations[written[i]]);
                fflush(stdout);
        }
        return 0;
}
